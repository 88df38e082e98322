"""The masked transformer (Phenaki, section 2.2).

It reads a grid of tokens, some of them hidden, and text, and predicts every
token. A token attends to the tokens of its segment: a clip is one segment, and
a row of packed images has one segment per image, each with its own text.

Further conditions enter by the ports that its config names (see `nn.ports`): a
canvas and the story where token and position embeddings are summed, a memory
and scalars in the blocks.
"""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from phenaki_jax.masked_transformer.codes import CodeTable
from phenaki_jax.masked_transformer.config import GeneratorConfig
from phenaki_jax.nn.attention import Packing
from phenaki_jax.nn.blocks import Stack
from phenaki_jax.nn.conditions import Conditions, Entries
from phenaki_jax.nn.layers import Dense, RMSNorm, dropout
from phenaki_jax.nn.ports import CanvasPort, Memory, MemoryPort, ScalarPort
from phenaki_jax.nn.positions import (
  absolute_features,
  distance_features,
  grid_coordinates,
  rotary_angles,
)
from phenaki_jax.nn.story_encoder import StoryEncoder
from phenaki_jax.sharding import constrain, logical


class MaskedTransformer(nn.Module):
  """Predicts the tokens of a grid from the known tokens and text.

  Attributes:
    config: the shape of the model.
    features: return the features from which the logits are computed, and not
      the logits; the parameters are those of a model with logits, or without.
  """

  config: GeneratorConfig
  features: bool = False

  @nn.compact
  def __call__(
    self,
    ids: Int[Array, 'B t h w'],
    text: Float[Array, 'S L E'],
    text_mask: Bool[Array, 'S L'],
    segments: Int[Array, 'B t'] | None = None,
    frames_at: Int[Array, 'B t'] | None = None,
    packing: Packing | None = None,
    conditions: Conditions | None = None,
  ) -> Float[Array, 'B t h w out']:
    """Return the logits (out = V) or the features (out = D) of every token.

    Args:
      ids: token ids; `codebook_size` marks a hidden token.
      text: vectors of each distinct text; of width 0 for a model without text.
      text_mask: True at text vectors that are not padding.
      segments: segment of each latent frame; tokens of different segments do
        not attend to each other. None: one segment.
      frames_at: index of each latent frame in its clip, 0 to t - 1. None: its
        index in the row.
      packing: the texts of the rows. None: row i reads text i.
      conditions: what the ports read; absent parts change nothing. To create
        the parameters of all ports, give all (see `conditions.blank`).

    Raises:
      ValueError: learned positions and a grid other than the config's,
        vectors of another width than the config's, or conditions without a
        port.
    """
    config = self.config
    batch, t, h, w = ids.shape
    if config.text_width not in (None, text.shape[-1]):
      raise ValueError(
        f'the text vectors are {text.shape[-1]} wide, but text_width is '
        f'{config.text_width}'
      )
    dtype = jnp.dtype(config.dtype)
    codes = {
      'num': config.codebook_size,
      'features': config.width,
      'levels': config.code_levels,
    }
    # The standard deviation is that of the position embeddings. With the usual
    # 0.02, a small model needs hundreds of steps to distinguish tokens.
    table = CodeTable(**codes, name='tokens')()
    hidden = self.param(
      'hidden_embedding',
      logical(nn.initializers.normal(1.0), None, 'embed'),
      (1, config.width),
      jnp.float32,
    )
    # The gathers are in float32, because their gradients are sums over many
    # tokens, most of them at the one hidden vector; in bfloat16 such a sum
    # stops growing.
    table = jnp.concatenate([table, hidden])
    x = table[ids]
    positions = self._positions(t, h, w)
    x = x + (positions[None] if frames_at is None else positions[frames_at])
    conditions = conditions or Conditions()
    self._check(conditions)
    if conditions.canvas is not None:
      assert config.ports.patch is not None
      canvas = CanvasPort(config.width, config.ports.patch, name='canvas')
      x = x + canvas(conditions.canvas)
    history = conditions.memory.get('history')
    if config.ports.story and history is not None:
      encoder = StoryEncoder(
        config, config.ports.memory_slots, config.dropout, name='story'
      )
      # The vectors of a prompt stand before the caption, and are none of it.
      own = text[:, config.prompt :], text_mask[:, config.prompt :]
      x = x + encoder(history, *own, packing)[:, :, None, None]
    x = dropout(self, config.dropout)(x.astype(dtype))
    if not self.is_initializing():
      x = constrain(x, 'batch', 'frames', None, None, None)

    inputs = self._attention(segments, t, h, w) | {'packing': packing}
    if text.shape[-1]:
      inputs |= {'text': text.astype(dtype), 'text_mask': text_mask}
    if conditions.memory:
      place = positions[0].reshape(1, 1, h * w, config.width)
      inputs['memory'] = self._memory(conditions.memory, table, place)
    if conditions.scalars:
      scalars = ScalarPort(config.ports.scalars, name='scalars')
      inputs['scalars'] = scalars(conditions.scalars)
    if conditions.over_time is not None:
      inputs['time_switch'] = conditions.over_time
    x = x.reshape(batch, t, h * w, config.width)
    is_factorized = config.attention == 'factorized'
    stack = Stack(
      config,
      config.num_layers,
      is_factorized,
      config.dropout,
      config.ports.memory_every if 'memory' in inputs else 1,
      name='blocks',
    )
    x = RMSNorm(name='norm')(stack(x, **inputs))
    if self.features:
      return x.reshape(batch, t, h, w, config.width)
    table = CodeTable(**codes, stddev=0.1, name='logits')()
    logits = config.width**-0.5 * jnp.matmul(
      x, table.astype(dtype).T, preferred_element_type=jnp.float32
    )
    bias = self.param(
      'logits_bias',
      logical(nn.initializers.zeros, None),
      (config.codebook_size,),
      jnp.float32,
    )
    logits = logits + jnp.broadcast_to(bias, logits.shape)
    return logits.reshape(batch, t, h, w, -1)

  def _check(self, conditions: Conditions) -> None:
    """Raise a ValueError for conditions that the network cannot read."""
    if conditions.canvas is not None and not self.config.ports.canvas:
      raise ValueError('there is a canvas, but ports.canvas is False')
    is_factorized = self.config.attention == 'factorized'
    if conditions.over_time is not None and not is_factorized:
      raise ValueError(
        "layers over time can only be off where attention is 'factorized'"
      )

  def _memory(
    self,
    memory: dict[str, Entries],
    table: Float[Array, 'rows D'],
    place: Float[Array, '1 1 n D'],
  ) -> Memory:
    """Make the memory; images have the tables of the tokens (StoryDALL-E).

    Content is without its places: what is in an image, and not where.
    """
    ports, dtype = self.config.ports, jnp.dtype(self.config.dtype)

    def vectors(role: str, entries: Entries) -> Entries:
      values = entries.values
      if jnp.issubdtype(values.dtype, jnp.integer):
        values = table[values]
        if role != 'content':
          values = values + jnp.broadcast_to(place, values.shape)
      return dataclasses.replace(entries, values=values.astype(jnp.float32))

    given = {role: vectors(role, entries) for role, entries in memory.items()}
    found = MemoryPort(ports.memory, ports.memory_slots, name='memory')(given)
    return jax.tree.map(
      lambda x: x if x.dtype == bool else x.astype(dtype), found
    )

  def _attention(
    self, segments: Int[Array, 'B t'] | None, t: int, h: int, w: int
  ) -> dict[str, Any]:
    """Return masks and relative positions for the blocks."""
    config = self.config

    def places(grid: np.ndarray) -> dict[str, Array]:
      # Only differences matter, and packed segments do not attend to each
      # other, so that positions in the row are correct for every segment.
      if config.positions == 'learned':
        return {}
      return {
        'angles': jnp.asarray(rotary_angles(grid, config.head_dim)),
        'distances': jnp.asarray(distance_features(grid)),
      }

    grid = grid_coordinates(t, h, w)
    if config.attention == 'factorized':
      over_time = places(grid[:: h * w])
      if segments is not None:
        same = segments[:, :, None] == segments[:, None, :]
        over_time['mask'] = same[:, None]
      return {**places(grid[: h * w]), 'over_time': over_time}
    inputs = places(grid)
    if segments is not None:
      inputs['segments'] = segments
    return inputs

  def _positions(self, t: int, h: int, w: int) -> Float[Array, 't h w D']:
    """Embed each position of the grid."""
    config = self.config
    if config.positions == 'learned':
      if (t, h, w) != config.grid:
        raise ValueError(
          f'learned positions support the grid {config.grid} only, not '
          f'{(t, h, w)}; use positions="rotary" for other sizes.'
        )
      return self.param(
        'positions',
        # The standard deviation of the token embeddings; at the usual
        # 0.02 the positions would be negligible beside them.
        logical(nn.initializers.normal(1.0), 'frames', None, None, 'embed'),
        (t, h, w, config.width),
        jnp.float32,
      )
    return Dense(config.width, (None, 'embed'), hidden=False, name='place')(
      jnp.asarray(absolute_features(t, h, w))
    ).reshape(t, h, w, config.width)
