"""The transformer block, and a stack of blocks with scan and remat.

Blocks are pre-norm, with RMS norms and no biases. The last layer of every
residual branch is initialised to zero: with the usual initialisation, small
tokenizers collapsed to a few codes and did not recover.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from phenaki_jax.nn.attention import CrossAttention, Packing, SelfAttention
from phenaki_jax.nn.config import TransformerConfig
from phenaki_jax.nn.layers import MLP, RMSNorm, dropout
from phenaki_jax.nn.ports import Gain, Memory, read_memory

REMAT_POLICIES = {
  'none': None,
  'matmuls': jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
  'full': jax.checkpoint_policies.nothing_saveable,
}


class Block(nn.Module):
  """Self-attention, cross-attention if there is text, and an MLP.

  Attributes:
    config: the shape of the block, and how it is computed.
    factorized: whether self-attention is two layers: one within each latent
      frame, and one over the latent frames of each place (ViViT, arXiv
      2103.15691, model 3). Its cost grows with t * n^2 + n * t^2 instead of
      (t * n)^2.
    dropout: rate of the attention weights and of the output of each branch,
      where an rng 'dropout' is given.
  """

  config: TransformerConfig
  factorized: bool = False
  dropout: float = 0.0

  @nn.compact
  def __call__(
    self,
    x: Float[Array, '*b D'],
    mask: Bool[Array, '...'] | None = None,
    angles: Float[Array, 'N p'] | None = None,
    distances: Float[Array, '3 N boundaries'] | None = None,
    text: Float[Array, 'S L E'] | None = None,
    text_mask: Bool[Array, 'S L'] | None = None,
    packing: Packing | None = None,
    over_time: dict[str, Array] | None = None,
    segments: Int[Array, '...'] | None = None,
    time_switch: Bool[Array, 'B t'] | None = None,
    memory: Memory | None = None,
    scalars: Float[Array, 'B I'] | None = None,
    *,
    remembered: int = 0,
  ) -> Float[Array, '*b D']:
    """Return the tokens after one block.

    Args:
      x: [..., N, D] tokens, or [B, t, n, D] grouped by latent frame, and
        self-attention is over all t * n.
      mask: [..., N, N], True where a token may attend to another.
      angles: rotary angles of the N positions.
      distances: distance features of the N positions.
      text: see `CrossAttention`.
      text_mask: see `CrossAttention`.
      packing: see `CrossAttention` and `SelfAttention`.
      over_time: if factorized, `mask`, `angles` and `distances` of the layer
        over time; those above are of the layer within latent frames.
      segments: see `SelfAttention`; not if factorized.
      time_switch: if factorized, True at latent frames that the layer over time
        acts on; None: all.
      memory: what a second cross-attention reads; None: there is none.
      scalars: vector of the scalars, which scales the norms of tokens.
      remembered: see `SelfAttention`.
    """
    config, rate = self.config, self.dropout
    drop = dropout(self, rate)

    def norm(name: str, x: Array) -> Array:
      y = RMSNorm(name=f'{name}_norm')(x)
      return y if scalars is None else Gain(name=f'{name}_gain')(y, scalars)

    y = norm('attention', x)
    if x.ndim == 4 and not self.factorized:
      y = y.reshape(y.shape[0], -1, y.shape[-1])
    attention = SelfAttention(config, rate, name='attention')
    places = (angles, distances, segments, packing)
    y = attention(y, mask, *places, remembered=remembered)
    x = x + drop(y).reshape(x.shape)
    if self.factorized:
      y = jnp.swapaxes(norm('time', x), 1, 2)
      y = SelfAttention(config, rate, name='time')(y, **(over_time or {}))
      y = jnp.swapaxes(drop(y), 1, 2)
      if time_switch is not None:
        y = jnp.where(time_switch[:, :, None, None], y, 0.0)
      x = x + y
    if text is not None:
      y = RMSNorm(name='cross_norm')(x)
      cross = CrossAttention(config, rate, name='cross')
      x = x + drop(cross(y, text, text_mask, packing))
    if memory is not None:
      y = RMSNorm(name='memory_norm')(x)
      x = x + drop(read_memory(y, memory, config, rate))
    y = norm('mlp', x)
    return x + drop(MLP(config.mlp_dim, dtype=config.dtype, name='mlp')(y))


class Stack(nn.Module):
  """A sequence of equal blocks.

  Attributes:
    config: the shape of a block, and how it is computed.
    num_layers: number of blocks.
    factorized: see `Block`.
    dropout: see `Block`.
    memory_every: the last of so many blocks reads the memory; 1 with `scan`.
  """

  config: TransformerConfig
  num_layers: int
  factorized: bool = False
  dropout: float = 0.0
  memory_every: int = 1

  @nn.compact
  def __call__(
    self, x: Float[Array, '*b D'], **inputs: Any
  ) -> Float[Array, '*b D']:
    """Return the tokens after all blocks; each gets the same `inputs`.

    A memory is read only by some of them, see `memory_every`.
    """
    config, options = self.config, (self.factorized, self.dropout)
    block_type: Any = Block
    if config.remat != 'none':
      block_type = nn.remat(
        Block,
        policy=REMAT_POLICIES[config.remat],
        prevent_cse=not config.scan,
      )
    if not (config.scan and self.num_layers):
      for i in range(self.num_layers):
        block = block_type(config, *options, name=f'block_{i}')
        own = inputs
        if (i + 1) % self.memory_every:
          own = {name: x for name, x in inputs.items() if name != 'memory'}
        x = block(x, **own)
      return x
    assert self.memory_every == 1, 'scanned blocks are equal'

    def body(block: nn.Module, carry: Array, _: None) -> tuple[Array, None]:
      return block(carry, **inputs), None

    scanned = nn.scan(
      body,
      variable_axes={'params': 0, 'cache': 0},
      split_rngs={'params': True, 'dropout': True},
      length=self.num_layers,
      metadata_params={nn.PARTITION_NAME: 'layers'},
    )
    block = block_type(config, *options, name='blocks')
    x, _ = scanned(block, x, None)
    return x
