"""The transformer block, and a stack of blocks with scan and remat.

Blocks are pre-norm, with RMS norms and no biases. The last layer of every
residual branch is initialised to zero: with the usual initialisation, small
tokenizers collapsed to a few codes and did not recover.
"""

from typing import Any

import flax.linen as nn
import jax
from jaxtyping import Array, Bool, Float, Int

from phenaki_jax.nn.attention import CrossAttention, SelfAttention
from phenaki_jax.nn.config import TransformerConfig
from phenaki_jax.nn.layers import MLP, RMSNorm

REMAT_POLICIES = {
  'none': None,
  'matmuls': jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
  'full': jax.checkpoint_policies.nothing_saveable,
}


class Block(nn.Module):
  """Self-attention, cross-attention if there is text, and an MLP."""

  config: TransformerConfig

  @nn.compact
  def __call__(
    self,
    x: Float[Array, '*b D'],
    mask: Bool[Array, '...'] | None = None,
    angles: Float[Array, 'N p'] | None = None,
    distances: Float[Array, '3 N boundaries'] | None = None,
    text: Float[Array, 'S L E'] | None = None,
    text_mask: Bool[Array, 'S L'] | None = None,
    text_index: Int[Array, 'B *r'] | None = None,
    *,
    remembered: int = 0,
  ) -> Float[Array, '*b D']:
    """Return the tokens after one block.

    Args:
      x: [..., N, D] tokens; with text, [B, t, n, D] grouped by latent frame,
        and self-attention is over all t * n.
      mask: [..., N, N], True where a token may attend to another.
      angles: rotary angles of the N positions.
      distances: distance features of the N positions.
      text: see `CrossAttention`.
      text_mask: see `CrossAttention`.
      text_index: see `CrossAttention`.
      remembered: see `SelfAttention`.
    """
    config = self.config
    y = RMSNorm(name='attention_norm')(x)
    if text is not None:
      y = y.reshape(y.shape[0], -1, y.shape[-1])
    attention = SelfAttention(config, name='attention')
    y = attention(y, mask, angles, distances, remembered=remembered)
    x = x + y.reshape(x.shape)
    if text is not None:
      y = RMSNorm(name='cross_norm')(x)
      cross = CrossAttention(config, name='cross')
      x = x + cross(y, text, text_mask, text_index)
    y = RMSNorm(name='mlp_norm')(x)
    return x + MLP(config.mlp_dim, dtype=config.dtype, name='mlp')(y)


class Stack(nn.Module):
  """A sequence of equal blocks.

  Attributes:
    config: the shape of a block, and how it is computed.
    num_layers: number of blocks.
  """

  config: TransformerConfig
  num_layers: int

  @nn.compact
  def __call__(
    self, x: Float[Array, '*b D'], **inputs: Any
  ) -> Float[Array, '*b D']:
    """Return the tokens after all blocks; each gets the same `inputs`."""
    config = self.config
    block_type: Any = Block
    if config.remat != 'none':
      block_type = nn.remat(
        Block,
        policy=REMAT_POLICIES[config.remat],
        prevent_cse=not config.scan,
      )
    if not config.scan:
      for i in range(self.num_layers):
        x = block_type(config, name=f'block_{i}')(x, **inputs)
      return x

    def body(block: nn.Module, carry: Array, _: None) -> tuple[Array, None]:
      return block(carry, **inputs), None

    scanned = nn.scan(
      body,
      variable_axes={'params': 0, 'cache': 0},
      split_rngs={'params': True},
      length=self.num_layers,
      metadata_params={nn.PARTITION_NAME: 'layers'},
    )
    x, _ = scanned(block_type(config, name='blocks'), x, None)
    return x
