"""The transformer block, and a stack of blocks with scan and remat.

Blocks are pre-norm, with RMS norms and no biases. The last layer of every
residual branch is initialised to zero: with the usual initialisation, small
tokenizers collapsed to a few codes and did not recover.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int

from phenaki_jax.nn.attention import CrossAttention, SelfAttention
from phenaki_jax.nn.layers import MLP, RMSNorm

REMAT_POLICIES = {
  'none': None,
  'matmuls': jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
  'full': jax.checkpoint_policies.nothing_saveable,
}


class Block(nn.Module):
  """Self-attention, cross-attention if there is text, and an MLP."""

  num_heads: int
  head_dim: int
  mlp_dim: int
  dtype: DTypeLike = jnp.float32

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
    """
    heads = {
      'num_heads': self.num_heads,
      'head_dim': self.head_dim,
      'dtype': self.dtype,
    }
    y = RMSNorm(name='attention_norm')(x)
    if text is not None:
      y = y.reshape(y.shape[0], -1, y.shape[-1])
    y = SelfAttention(**heads, name='attention')(y, mask, angles, distances)
    x = x + y.reshape(x.shape)
    if text is not None:
      y = RMSNorm(name='cross_norm')(x)
      cross = CrossAttention(**heads, name='cross')
      x = x + cross(y, text, text_mask, text_index)
    y = RMSNorm(name='mlp_norm')(x)
    return x + MLP(self.mlp_dim, dtype=self.dtype, name='mlp')(y)


class Stack(nn.Module):
  """A sequence of equal blocks.

  Attributes:
    num_layers: number of blocks.
    num_heads: attention heads of a block.
    head_dim: width of a head.
    mlp_dim: hidden width of the MLP.
    scan: compile one block and loop over it, so that the compile time does
      not grow with depth; unrolled blocks run faster on a CPU.
    remat: what the backward pass recomputes: 'none' nothing, 'matmuls' all
      but the matrix products, 'full' everything.
    dtype: dtype of the computation.
  """

  num_layers: int
  num_heads: int
  head_dim: int
  mlp_dim: int
  scan: bool = False
  remat: str = 'none'
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self, x: Float[Array, '*b D'], **inputs: Any
  ) -> Float[Array, '*b D']:
    """Return the tokens after all blocks; each gets the same `inputs`."""
    if self.remat not in REMAT_POLICIES:
      raise ValueError(
        f'unknown remat {self.remat!r}; choose one of {list(REMAT_POLICIES)}'
      )
    block_type: Any = Block
    if self.remat != 'none':
      block_type = nn.remat(
        Block, policy=REMAT_POLICIES[self.remat], prevent_cse=not self.scan
      )
    shape = {
      'num_heads': self.num_heads,
      'head_dim': self.head_dim,
      'mlp_dim': self.mlp_dim,
      'dtype': self.dtype,
    }
    if not self.scan:
      for i in range(self.num_layers):
        x = block_type(**shape, name=f'block_{i}')(x, **inputs)
      return x

    def body(block: nn.Module, carry: Array, _: None) -> tuple[Array, None]:
      return block(carry, **inputs), None

    scanned = nn.scan(
      body,
      variable_axes={'params': 0},
      split_rngs={'params': True},
      length=self.num_layers,
      metadata_params={nn.PARTITION_NAME: 'layers'},
    )
    x, _ = scanned(block_type(**shape, name='blocks'), x, None)
    return x
