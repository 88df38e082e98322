"""Train the tokenizer to reconstruct clips and images.

Clips and images are two parts of one batch, each of its own static shape, so
that one compiled step serves both. An image is a one-frame clip, or, where the
tokenizer repeats the first frame, a still clip with the same tokens.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from phenaki_jax.pixels import normalise
from phenaki_jax.tokenizer.config import TokenizerConfig
from phenaki_jax.tokenizer.cvivit import CViViT, TokenizerOutput
from phenaki_jax.tokenizer.losses import (
  TokenizerLossWeights,
  frame_mask,
  pixel_errors,
)
from phenaki_jax.tokenizer.quantizers.base import code_use
from phenaki_jax.training.metrics import Mean
from phenaki_jax.training.state import Task


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenizerTask(Task):
  """Train a C-ViViT on clips and images.

  Attributes:
    config: the tokenizer's shape.
    weights: weights of the loss terms.
  """

  config: TokenizerConfig
  weights: TokenizerLossWeights = TokenizerLossWeights()

  def init(self, rng: PRNGKeyArray) -> Any:
    """Create the parameters, boxed with their logical names."""
    shape = (1, 1 + self.config.tubelet, *self.config.patch, 3)
    return CViViT(self.config).init(rng, jnp.zeros(shape))['params']

  def loss(
    self,
    params: Any,
    frozen: Any,
    batch: dict[str, Any],
    rng: PRNGKeyArray,
    *,
    deterministic: bool = False,
  ) -> tuple[Float[Array, ''], dict[str, Mean]]:
    """Compute the loss of a batch and its metrics; nothing is random."""
    del frozen, rng, deterministic
    terms: dict[str, list[tuple[Array, Array]]] = {}
    metrics: dict[str, Mean] = {}
    ids, weights = [], []
    for kind in ('clips', 'images'):
      if kind not in batch:
        continue
      pixels = normalise(batch[kind]['pixels'])
      if kind == 'images':
        # If the first frame is repeated, a still clip has the tokens of its
        # image, so that later latent frames learn from images as well.
        repeated = self.config.first_frame == 'repeated'
        frames = 1 + self.config.tubelet if repeated else 1
        pixels = jnp.repeat(pixels[:, None], frames, axis=1)
        num_frames = jnp.full(pixels.shape[0], frames, jnp.int32)
      else:
        num_frames = batch[kind]['num_frames']
      output = CViViT(self.config).apply({'params': params}, pixels)
      assert isinstance(output, TokenizerOutput)
      mask = frame_mask(num_frames, pixels.shape[1]).astype(jnp.float32)
      errors = pixel_errors(pixels, output.reconstruction)
      for name in ('l2', 'l1', 'edge', 'detail'):
        terms.setdefault(name, []).append((getattr(errors, name), mask))
      # One entry per latent frame.
      latent_mask = mask[:, :: self.config.tubelet]
      terms.setdefault('quantizer', []).append(
        (output.quantizer_loss.mean((2, 3)), latent_mask)
      )
      ids.append(output.ids.reshape(-1))
      real = jnp.broadcast_to(latent_mask[:, :, None, None], output.ids.shape)
      weights.append(real.reshape(-1))
      # In dB, of values in [-1, 1].
      psnr = 10.0 * jnp.log10(4.0 / jnp.maximum(errors.l2, 1e-10))
      metrics[f'psnr_{kind}_first'] = Mean.of(psnr[:, 0])
      if kind == 'clips':
        metrics['psnr_clips_rest'] = Mean.of(psnr[:, 1:], mask[:, 1:])
    total = jnp.zeros(())
    for name, parts in terms.items():
      weight = getattr(self.weights, name)
      value = sum(jnp.sum(x * m) for x, m in parts)
      count = sum(jnp.sum(m) for _, m in parts)
      metrics[name] = Mean(jnp.asarray(value), jnp.asarray(count))
      if weight:
        total = total + weight * value / count
    use = code_use(
      jnp.concatenate(ids), jnp.concatenate(weights), self.config.codebook_size
    )
    metrics['codes/usage'] = Mean.of(use.usage)
    metrics['codes/perplexity'] = Mean.of(use.perplexity)
    metrics['loss'] = Mean.of(total)
    return total, jax.lax.stop_gradient(metrics)
