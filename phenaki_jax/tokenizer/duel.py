"""Score clips and their reconstructions, for both players at once."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from phenaki_jax.tokenizer.adversarial import (
  LECAM_DECAY,
  AdversaryConfig,
  discriminator_loss,
  lecam_penalty,
  model_loss,
  r1_penalty,
)
from phenaki_jax.tokenizer.discriminator import Discriminator


@flax.struct.dataclass
class Pair:
  """Clips, or images as clips of one frame, and their reconstructions.

  Attributes:
    target: [B, T, H, W, C] in [-1, 1]; padding repeats the last real frame.
    output: the reconstructions, of the same shape and with the same padding.
    mask: [B, T], 1 at real frames and 0 at padding.
  """

  target: Any
  output: Any
  mask: Any


@flax.struct.dataclass
class DuelTerms:
  """The terms of both players, each a mean over frames or clips.

  Attributes:
    model: the adversarial term of the tokenizer.
    discriminator: the discriminator's loss, without regularisers.
    r1: gradient penalty on real pixels; 0 without weight.
    lecam: LeCAM regulariser; 0 without weight.
    real: mean score of real frames or clips.
    fake: mean score of reconstructions.
  """

  model: Any
  discriminator: Any
  r1: Any
  lecam: Any
  real: Any
  fake: Any


def make_discriminator(config: AdversaryConfig) -> Discriminator:
  """Build the discriminator of a config."""
  over_time = config.judges == 'clips'
  return Discriminator(channels=config.channels, over_time=over_time)


def duel(
  config: AdversaryConfig,
  params: Any,
  pairs: Sequence[Pair],
  means: Float[Array, '2'],
) -> DuelTerms:
  """Compute the terms of both players from one forward pass.

  The gradient of `model` is the tokenizer's, through the reconstructions; the
  gradient of the other terms with respect to `params` is the discriminator's.

  Args:
    config: the discriminator and its loss.
    params: the discriminator's parameters.
    pairs: clips and images.
    means: running means of the scores of real and reconstructed examples.
  """
  module = make_discriminator(config)
  by_frame = config.judges == 'frames'

  def score(pixels: Array) -> Array:
    return jnp.asarray(module.apply({'params': params}, pixels))

  sums: dict[str, Any] = {}
  total: Any = 0.0
  for pair in pairs:
    target, output, weights = pair.target, pair.output, pair.mask
    if by_frame:
      target, output, weights = (
        x.reshape(-1, *x.shape[2:]) for x in (target, output, weights)
      )
    else:
      weights = jnp.ones(len(target))
    real, fake = jnp.split(score(jnp.concatenate([target, output])), 2)
    values = {
      'model': model_loss(fake, loss=config.loss),
      'discriminator': discriminator_loss(real, fake, loss=config.loss),
      'real': real,
      'fake': fake,
    }
    if config.r1:
      slopes = jax.grad(lambda x: score(x).sum())(target)
      values['r1'] = r1_penalty(slopes)
    if config.lecam:
      values['lecam'] = lecam_penalty(real, fake, means)
    for name, value in values.items():
      sums[name] = sums.get(name, 0.0) + (weights * value).sum()
    total = total + weights.sum()
  names = [field.name for field in dataclasses.fields(DuelTerms)]
  return DuelTerms(
    **{name: sums.get(name, jnp.zeros(())) / total for name in names}
  )


def follow(means: Float[Array, '2'], terms: DuelTerms) -> Float[Array, '2']:
  """Return the running means of the scores after a step."""
  found = jnp.stack([terms.real, terms.fake])
  return LECAM_DECAY * means + (1.0 - LECAM_DECAY) * found
