"""The adversarial terms of the tokenizer's loss, and their settings.

Every term is a pure function of scores, which are high for what the
discriminator takes for real.
"""

from typing import Annotated, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from phenaki_jax.config import validated

AdversarialLoss = Literal['non_saturating', 'hinge']

LECAM_DECAY = 0.99
"""Decay of the mean scores that LeCAM compares with."""


@validated
class AdversaryConfig:
  """The discriminator and how it is trained; used if its weight is not 0.

  The paper states a StyleGAN discriminator with blur resampling and channel
  multiplier 1, and no more. The other defaults are those of MaskGIT's released
  code, whose discriminator has the same description.

  Attributes:
    judges: what is scored: 'frames' one by one, or whole 'clips' by
      convolutions that are inflated in time.
    channels: channels of the first convolution, and of each block, which halves
      the size.
    loss: 'non_saturating' or 'hinge'.
    r1: weight of the gradient penalty on real pixels.
    lecam: weight of the LeCAM regulariser.
    start: step at which the discriminator's training begins.
    ramp: steps after `start` over which the weight of the adversarial term
      rises linearly from 0.
  """

  judges: Literal['frames', 'clips'] = 'frames'
  channels: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (
    *(128, 256, 512, 512, 512, 512),
  )
  loss: AdversarialLoss = 'non_saturating'
  r1: NonNegativeFloat = 10.0
  lecam: NonNegativeFloat = 0.0
  start: NonNegativeInt = 0
  ramp: NonNegativeInt = 0


def model_loss(
  fake: Float[Array, '*b'], *, loss: AdversarialLoss
) -> Float[Array, '*b']:
  """Return the adversarial term of the tokenizer for each score.

  Non-saturating (arXiv 1406.2661): softplus(-D(fake)). Hinge (arXiv
  1705.02894): -D(fake).
  """
  return jax.nn.softplus(-fake) if loss == 'non_saturating' else -fake


def discriminator_loss(
  real: Float[Array, '*b'], fake: Float[Array, '*b'], *, loss: AdversarialLoss
) -> Float[Array, '*b']:
  """Return the discriminator's loss for each pair of scores.

  Non-saturating: softplus(-D(real)) + softplus(D(fake)). Hinge:
  max(0, 1 - D(real)) + max(0, 1 + D(fake)).
  """
  if loss == 'non_saturating':
    return jax.nn.softplus(-real) + jax.nn.softplus(fake)
  return jax.nn.relu(1.0 - real) + jax.nn.relu(1.0 + fake)


def r1_penalty(gradients: Float[Array, 'B *r']) -> Float[Array, 'B']:
  """Return half the squared norm of each real example's gradient.

  Args:
    gradients: of the scores with respect to the real pixels (arXiv 1801.04406,
      equation 9).
  """
  return 0.5 * jnp.sum(gradients**2, tuple(range(1, gradients.ndim)))


def lecam_penalty(
  real: Float[Array, '*b'], fake: Float[Array, '*b'], means: Float[Array, '2']
) -> Float[Array, '*b']:
  """Return the LeCAM regulariser (arXiv 2104.03310, equation 6).

  It is max(0, D(real) - m_fake)^2 + max(0, m_real - D(fake))^2, which bounds
  the distance between the scores of both.

  Args:
    real: scores of real examples.
    fake: scores of reconstructions.
    means: running means of the scores, of real ones and of reconstructions.
  """
  return jax.nn.relu(real - means[1]) ** 2 + jax.nn.relu(means[0] - fake) ** 2


def schedule(
  step: Float[Array, ''], config: AdversaryConfig
) -> tuple[Float[Array, ''], Float[Array, '']]:
  """Return the shares of the adversarial term and of the discriminator's loss.

  Args:
    step: completed steps.
    config: its `start` and `ramp`.
  """
  since = step - config.start
  share = jnp.clip(since / max(config.ramp, 1), 0.0, 1.0)
  begun = (since >= 0).astype(jnp.float32)
  return (share if config.ramp else begun), begun
