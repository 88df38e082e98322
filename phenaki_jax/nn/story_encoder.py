"""The story encoder: what the captions of earlier scenes say of a scene.

It is the global story encoder of StoryDALL-E (arXiv 2209.06192): each
caption of a story becomes one vector, a causal transformer block reads these in
order, and a scene takes the result at the place of its own caption. The mean of
a caption's vectors is here in the place of a sentence encoder.

In StoryDALL-E that vector is one more token before the text. Beside the text
of a trained network, another token would change the weights of attention, and
so all outputs, at once. Here it is added to all tokens of a latent frame, and
it is what the block adds to its input: zero at first, because its branches
start at zero.
"""

import dataclasses

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from phenaki_jax.nn.attention import Packing
from phenaki_jax.nn.blocks import Block
from phenaki_jax.nn.conditions import Entries
from phenaki_jax.nn.config import TransformerConfig
from phenaki_jax.nn.layers import Dense
from phenaki_jax.sharding import logical


class StoryEncoder(nn.Module):
  """Make one vector of the captions of a story for each latent frame.

  Attributes:
    config: the shape of the block.
    slots: number of earlier captions that are told apart.
    dropout: see `Block`.
  """

  config: TransformerConfig
  slots: int
  dropout: float = 0.0

  @nn.compact
  def __call__(
    self,
    history: Entries,
    text: Float[Array, 'S L E'],
    text_mask: Bool[Array, 'S L'],
    packing: Packing | None = None,
  ) -> Float[Array, 'B t D']:
    """Return the vectors; zeros where no earlier caption is visible.

    Args:
      history: the earlier captions, as vectors.
      text: vectors of each caption of the latent frames themselves.
      text_mask: True at vectors that are not padding.
      packing: the captions of the rows. None: row i has caption i.
    """
    visible, width = history.visible, self.config.width
    assert history.captions is not None, 'a network with text has captions'
    assert history.spoken is not None, 'captions are not encoded yet'
    batch, t, count = visible.shape
    own = _of_frames(_pooled(text, text_mask), (batch, t), packing)
    x = jnp.concatenate([_pooled(history.captions, history.spoken), own], 1)
    dtype = jnp.dtype(self.config.dtype)
    x = Dense(width, ('text', 'embed'), dtype=dtype, name='caption')(x)
    slots = jnp.broadcast_to(history.slots[:, None], visible.shape)
    # The place of a scene is the one after those that it sees.
    place = jnp.where(visible, slots + 1, 0).max(-1)
    of_slots = self.param(
      'slots_embedding',
      # Small beside the captions, as in `MemoryPort`.
      logical(nn.initializers.normal(0.1), None, 'embed'),
      (self.slots + 1, width),
      jnp.float32,
    )
    x = x + of_slots[jnp.concatenate([history.slots, place], 1)]
    # No output but that of the latent frames' own captions is read, so that
    # theirs are the only rows of the causal mask that matter.
    itself = jnp.broadcast_to(jnp.eye(t, dtype=bool)[None], (batch, t, t))
    mask = jnp.concatenate([visible, itself], -1)
    mask = jnp.pad(mask, ((0, 0), (count, 0), (0, 0)))
    # Fused kernels take no such mask.
    config = dataclasses.replace(self.config, attention_kernel='xla')
    y = Block(config, dropout=self.dropout, name='block')(x, mask)
    return jnp.where(visible.any(-1)[..., None], (y - x)[:, count:], 0.0)


def _pooled(
  vectors: Float[Array, '*b L E'], mask: Bool[Array, '*b L']
) -> Float[Array, '*b E']:
  """Return the mean of the vectors that are not padding, in float32."""
  total = jnp.where(mask[..., None], vectors.astype(jnp.float32), 0.0).sum(-2)
  return total / jnp.maximum(mask.sum(-1), 1)[..., None]


def _of_frames(
  texts: Float[Array, 'S E'], shape: tuple[int, int], packing: Packing | None
) -> Float[Array, 'B t E']:
  """Return the text of each latent frame of the rows."""
  (batch, t), width = shape, texts.shape[-1]
  groups, packed = (packing.groups, packing.packed) if packing else (1, 0)
  plain = batch // groups - packed
  texts = texts.reshape(groups, -1, width)
  of_rows = jnp.repeat(texts[:, :plain, None], t, axis=2)
  of_frames = texts[:, plain:].reshape(groups, packed, t, width)
  return jnp.concatenate([of_rows, of_frames], 1).reshape(batch, t, width)
