"""Three ports by which a network reads conditions; each starts at zero.

A. The canvas: known pixels, cut into patches and added to the tokens.
B. The memory: images and vectors, read by a second cross-attention.
C. Scalars, which scale the norms of the blocks.

The last layer of each is zero at first, so that a trained network to which a
port is added gives the same outputs, to the last bit. The first step changes
that layer, and the second all layers of the port.
"""

from collections.abc import Mapping
from typing import no_type_check

import flax.linen as nn
import flax.struct
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from phenaki_jax.nn.attention import dot_product_attention, project_out
from phenaki_jax.nn.conditions import Canvas, Entries
from phenaki_jax.nn.config import TransformerConfig
from phenaki_jax.nn.layers import Dense, Kernel, RMSNorm, dropout, multiply
from phenaki_jax.nn.patches import patchify
from phenaki_jax.pixels import normalise
from phenaki_jax.sharding import logical

SCALAR_WIDTH = 128
"""Width of the vector of the scalars."""
CANVAS_CHANNELS = 6
"""Channels of a canvas: RGB, depth, and a mask of each."""
# Wavelengths of the sinusoids of a scalar: from twice the step between two
# levels to above the frame rates of films.
_SHORTEST, _LONGEST = 2.0, 256.0


class CanvasPort(nn.Module):
  """Embed the patches of a canvas; nothing known is a vector of zeros.

  Attributes:
    width: width of the network.
    patch: frames, rows and columns of a patch; the first frame has patches of
      its own, as in C-ViViT (Phenaki, section 2.1).
    dtype: dtype of the computation.
  """

  width: int
  patch: tuple[int, int, int]
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, canvas: Canvas) -> Float[Array, 'B t h w D']:
    """Return what is added to the tokens."""
    known = canvas.known[..., None]
    rgb = jnp.where(known, normalise(canvas.rgb), 0.0)
    depth, has_depth = jnp.zeros_like(rgb[..., :1]), jnp.zeros_like(known)
    if canvas.depth is not None:
      assert canvas.has_depth is not None, 'depth needs its mask'
      has_depth = canvas.has_depth[..., None]
      depth = jnp.where(has_depth, canvas.depth[..., None], 0.0)
    pixels = jnp.concatenate([rgb, known, depth, has_depth], -1)
    tubelet, plane = self.patch[0], self.patch[1:]
    parts = {
      'first': patchify(pixels[:, :1], 1, plane),
      'rest': patchify(pixels[:, 1:], tubelet, plane),
    }
    embedded = [
      Dense(
        self.width,
        (None, 'embed'),
        kernel_init=nn.initializers.zeros,
        hidden=False,
        dtype=self.dtype,
        name=name,
      )(patches)
      for name, patches in parts.items()
    ]
    return jnp.concatenate(embedded, 1)


# No type checks: JAX also builds it around leaves that are not arrays.
@no_type_check
@flax.struct.dataclass
class Memory:
  """Vectors that cross-attention reads, and which latent frame reads which.

  Attributes:
    vectors: of images, of the network's width; or of captions.
    visible: True where a latent frame may read a vector.
    captions: captions of the images, read by an attention of their own.
  """

  vectors: Float[Array, 'B M D']
  visible: Bool[Array, 'B t M']
  captions: 'Memory | None' = None


class MemoryPort(nn.Module):
  """Make one memory of entries of several roles and slots.

  The caption of an image is read beside it, under the same slot, in place of
  the vectors in which AR-LDM's BLIP fuses the two (arXiv 2211.10950, section
  3.2).

  Attributes:
    roles: names of the roles.
    slots: number of slots.
  """

  roles: tuple[str, ...]
  slots: int

  @nn.compact
  def __call__(self, memory: Mapping[str, Entries]) -> Memory:
    """Return the vectors of all entries, whose values are vectors.

    Raises:
      ValueError: a role is not one of the port.
    """
    if unknown := set(memory) - set(self.roles):
      raise ValueError(f'the memory has roles {self.roles}, not {unknown}')
    vectors, visible, captions = [], [], None
    init = logical(nn.initializers.normal(1.0), None, 'embed')
    for role in [role for role in self.roles if role in memory]:
      entries = memory[role]
      values = entries.values
      batch, images, n, width = values.shape
      of_slots = self.param(
        f'{role}_slots_embedding', init, (self.slots, width), jnp.float32
      )[entries.slots]
      vectors.append(
        (values + of_slots[:, :, None]).reshape(batch, images * n, width)
      )
      visible.append(jnp.repeat(entries.visible, n, axis=-1))
      if entries.captions is not None:
        assert entries.spoken is not None, 'captions are not encoded yet'
        captions = self._captions(role, entries)
    joined = RMSNorm(name='norm')(jnp.concatenate(vectors, 1))
    return Memory(
      vectors=joined,
      visible=jnp.concatenate(visible, -1),
      captions=captions,
    )

  def _captions(self, role: str, entries: Entries) -> Memory:
    """Return the captions; their vectors are those of the text encoder."""
    told, spoken = entries.captions, entries.spoken
    assert told is not None and spoken is not None
    # Small, so that what is known of these vectors by the attention to texts
    # holds for captions.
    init = logical(nn.initializers.normal(0.1), None, 'text')
    of_slots = self.param(
      f'{role}_captions_embedding',
      init,
      (self.slots, told.shape[-1]),
      jnp.float32,
    )[entries.slots]
    told = told + of_slots[:, :, None]
    seen = entries.visible[..., None] & spoken[:, None]
    return Memory(
      vectors=told.reshape(told.shape[0], -1, told.shape[-1]),
      visible=seen.reshape(*seen.shape[:2], -1),
    )


class MemoryAttention(nn.Module):
  """Cross-attention of tokens to the entries that their latent frame sees.

  Its retro-fit to a loaded network is that of StoryDALL-E (arXiv 2209.06192,
  section 3.2). Every token also sees an empty entry, whose key and value are
  zeros, so that a latent frame that sees nothing else reads nothing.

  Attributes:
    config: the shape of the block.
    dropout: rate of the attention weights.
    axis: logical name of the width of the vectors: 'embed', or 'text' of
      captions, whose heads have a gate, which is 1 at first (see
      `runs.retrofit`).
  """

  config: TransformerConfig
  dropout: float = 0.0
  axis: str = 'embed'

  @nn.compact
  def __call__(
    self, x: Float[Array, 'B t n D'], memory: Memory
  ) -> Float[Array, 'B t n D']:
    """Return the output, which is zero at initialisation."""
    batch, t, n, width = x.shape
    heads = (self.config.num_heads, self.config.head_dim)

    def projected(x: Array, name: str, axis: str = 'embed') -> Array:
      kernel = Kernel(
        (x.shape[-1], *heads),
        (axis, 'heads', 'kv'),
        dtype=self.config.dtype,
        name=name,
      )()
      return multiply(x, kernel)

    query = projected(x, 'query').reshape(batch, t * n, *heads)
    empty = ((0, 0), (1, 0), (0, 0), (0, 0))
    key, value = (
      jnp.pad(projected(memory.vectors, name, self.axis), empty)
      for name in ('key', 'value')
    )
    mask = jnp.pad(
      memory.visible, ((0, 0), (0, 0), (1, 0)), constant_values=True
    )
    drop = dropout(self, self.dropout)
    out = dot_product_attention(query, key, value, mask, drop=drop)
    if self.axis == 'text':
      ones = logical(nn.initializers.ones, 'heads')
      gate = self.param('gate', ones, heads[:1], jnp.float32)
      gate = jnp.broadcast_to(gate[:, None], out.shape)
      out = out * gate.astype(out.dtype)
    return project_out(self.config, out.reshape(batch, t, n, *heads))


def read_memory(
  y: Float[Array, 'B t n D'],
  memory: Memory,
  config: TransformerConfig,
  rate: float = 0.0,
) -> Float[Array, 'B t n D']:
  """Return what tokens read of the images of a memory, and of their captions.

  The layers belong to the module whose compact method calls this.

  Args:
    y: the tokens, after their norm.
    memory: what they may read.
    config: the shape of the block.
    rate: of the dropout of attention weights.
  """
  read = MemoryAttention(config, rate, name='memory')(y, memory)
  if memory.captions is None:
    return read
  captions = MemoryAttention(config, rate, 'text', name='captions')
  return read + captions(y, memory.captions)


def sinusoids(x: Float[Array, 'B']) -> Float[Array, 'B features']:
  """Return sines and cosines of numbers, with geometric wavelengths."""
  count = SCALAR_WIDTH // 2
  waves = _SHORTEST * (_LONGEST / _SHORTEST) ** (np.arange(count) / (count - 1))
  angles = x[:, None] * jnp.asarray(2 * np.pi / waves, jnp.float32)[None]
  return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], -1)


class ScalarPort(nn.Module):
  """Make one vector of named numbers; absent ones add nothing.

  Attributes:
    names: the names of the numbers.
  """

  names: tuple[str, ...]

  @nn.compact
  def __call__(
    self, scalars: Mapping[str, Float[Array, 'B']]
  ) -> Float[Array, 'B I']:
    """Return the vector, for `Gain`.

    Raises:
      ValueError: a name is not one of the port.
    """
    if unknown := set(scalars) - set(self.names):
      raise ValueError(f'the scalars are {self.names}, not {unknown}')
    vectors = []
    for name in [name for name in self.names if name in scalars]:
      is_given = scalars[name] >= 0
      options = {'names': (None, None), 'use_bias': True, 'hidden': False}
      x = sinusoids(jnp.where(is_given, scalars[name], 0.0))
      x = nn.gelu(Dense(SCALAR_WIDTH, **options, name=f'{name}_in')(x))
      x = Dense(SCALAR_WIDTH, **options, name=f'{name}_out')(x)
      vectors.append(jnp.where(is_given[:, None], x, 0.0))
    return sum(vectors[1:], vectors[0])


class Gain(nn.Module):
  """Scale normalised features by 1 plus a linear map of the scalars.

  It makes the norm before it an adaptive one, as in DiT (arXiv 2212.09748,
  section 3.2), and starts as the identity.
  """

  @nn.compact
  def __call__(
    self, x: Float[Array, 'B *r'], scalars: Float[Array, 'B I']
  ) -> Float[Array, 'B *r']:
    """Return the scaled features."""
    width = x.shape[-1]
    gain = Dense(
      width,
      (None, 'embed'),
      kernel_init=nn.initializers.zeros,
      hidden=False,
      name='scalars',
    )(scalars)
    gain = gain.reshape(x.shape[0], *[1] * (x.ndim - 2), width)
    return x * (1 + gain).astype(x.dtype)
