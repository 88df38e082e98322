"""What the tokenizer learns: to reconstruct clips and images.

Clips and images are two parts of one batch, each of its own static shape,
so one compiled step serves both. An image is a one-frame video, or a clip that
stands still where the tokenizer gives it the same tokens.
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


def _psnr(mean_square: Float[Array, '*b']) -> Float[Array, '*b']:
  """Return the PSNR in dB of errors measured on the range [-1, 1]."""
  return 10.0 * jnp.log10(4.0 / jnp.maximum(mean_square, 1e-10))


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenizerTask:
  """Train a C-ViViT on clips and images.

  Attributes:
    config: the tokenizer's shape.
    weights: weights of the loss terms.
  """

  config: TokenizerConfig
  weights: TokenizerLossWeights = TokenizerLossWeights()

  @property
  def frozen(self) -> dict[str, Any]:
    """Return arrays that the step reads and never changes: none."""
    return {}

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
    """Compute the loss of a batch and its metrics.

    Args:
      params: the tokenizer's parameters.
      frozen: unused.
      batch: see `data.schema`.
      rng: unused; the loss draws nothing.
      deterministic: unused; there is no dropout.
    """
    del frozen, rng, deterministic
    terms: dict[str, list[tuple[Array, Array]]] = {}
    metrics: dict[str, Mean] = {}
    ids, weights = [], []
    for kind in ('clips', 'images'):
      if kind not in batch:
        continue
      pixels = normalise(batch[kind]['pixels'])
      if kind == 'images':
        # A clip that stands still has the tokens of its image, if the first
        # frame is repeated: then later steps learn from images as well.
        still = self.config.first_frame == 'repeated'
        frames = 1 + self.config.tubelet if still else 1
        pixels = jnp.repeat(pixels[:, None], frames, axis=1)
        num_frames = jnp.full(pixels.shape[0], frames, jnp.int32)
      else:
        num_frames = batch[kind]['num_frames']
      output = CViViT(self.config).apply({'params': params}, pixels)
      assert isinstance(output, TokenizerOutput)
      mask = frame_mask(num_frames, pixels.shape[1]).astype(jnp.float32)
      errors = pixel_errors(pixels, output.reconstruction)
      for name in ('l2', 'l1', 'edge'):
        terms.setdefault(name, []).append((getattr(errors, name), mask))
      steps = mask[:, :: self.config.tubelet]
      terms.setdefault('quantizer', []).append(
        (output.quantizer_loss.mean((2, 3)), steps)
      )
      ids.append(output.ids.reshape(-1))
      real = jnp.broadcast_to(steps[:, :, None, None], output.ids.shape)
      weights.append(real.reshape(-1))
      psnr = _psnr(errors.l2)
      first = jnp.ones_like(psnr[:, 0])
      metrics[f'psnr_{kind}_first'] = Mean(psnr[:, 0].sum(), first.sum())
      if kind == 'clips':
        rest = (psnr * mask)[:, 1:].sum(), mask[:, 1:].sum()
        metrics['psnr_clips_rest'] = Mean(*rest)
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
    one = jnp.ones(())
    metrics['codes/usage'] = Mean(use.usage, one)
    metrics['codes/perplexity'] = Mean(use.perplexity, one)
    metrics['loss'] = Mean(total, one)
    return total, jax.lax.stop_gradient(metrics)
