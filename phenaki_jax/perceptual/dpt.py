"""DPT: relative depth of pictures by a vision transformer (arXiv 2103.13413).

The shape is that of MiDaS' DPT-Large, whose weights are published, or of a
smaller one. Depth is relative and inverse: near is large.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from phenaki_jax.perceptual.network import Conv
from phenaki_jax.sharding import logical

_HEAD_DIM = 64
# Of the four taps of the transformer, in patches.
_FACTORS = (4.0, 2.0, 1.0, 0.5)
# Tensors that nothing reads: the first fusion has no skip connection.
_UNUSED = ('dpt.layernorm.', 'neck.fusion_stage.layers.0.residual_layer1.')
_EMBEDDINGS = 'dpt.embeddings.'


class Linear(nn.Module):
  """A dense layer over the last axis, in full precision.

  Attributes:
    shape: of the output, whose last axis has a bias.
  """

  shape: tuple[int, ...]

  @nn.compact
  def __call__(self, x: Float[Array, '*b I']) -> Float[Array, '...']:
    """Return the output, [..., *shape]."""
    shape = (x.shape[-1], *self.shape)
    init = logical(nn.initializers.lecun_normal(), *(None,) * len(shape))
    kernel = self.param('kernel', init, shape, jnp.float32)
    zeros = logical(nn.initializers.zeros, None)
    bias = self.param('bias', zeros, self.shape[-1:], jnp.float32)
    y = jnp.tensordot(x, kernel, 1, precision=jax.lax.Precision.HIGHEST)
    return y + jnp.broadcast_to(bias, y.shape)


class Norm(nn.Module):
  """A layer norm with the epsilon of the published weights."""

  @nn.compact
  def __call__(self, x: Float[Array, '*b D']) -> Float[Array, '*b D']:
    """Return the normalised features."""
    width = x.shape[-1:]
    ones = logical(nn.initializers.ones, None)
    scale = self.param('kernel', ones, width, jnp.float32)
    zeros = logical(nn.initializers.zeros, None)
    bias = self.param('bias', zeros, width, jnp.float32)
    x = x - x.mean(-1, keepdims=True)
    x = x * jax.lax.rsqrt((x**2).mean(-1, keepdims=True) + 1e-12)
    scale, bias = (jnp.broadcast_to(one, x.shape) for one in (scale, bias))
    return x * scale + bias


class DPT(nn.Module):
  """Return the relative inverse depth of frames, by the name 'depth'.

  Frames are resized to the square that the network was trained with, and their
  depth to the size of the frames.

  Attributes:
    width: of the transformer.
    depth: number of its layers, of which every quarter is tapped.
    mlp_dim: hidden width of its MLPs.
    side: patches in a row, an even number.
    patch: side of a patch in pixels.
    channels: of the four taps.
    fusion: channels of the fusion.
  """

  width: int = 1024
  depth: int = 24
  mlp_dim: int = 4096
  side: int = 24
  patch: int = 16
  channels: tuple[int, ...] = (256, 512, 1024, 1024)
  fusion: int = 256

  layers: ClassVar[tuple[str, ...]] = ('depth',)
  dims: ClassVar[int] = 2
  least_side: ClassVar[int] = 32

  @nn.compact
  def __call__(self, pixels: Float[Array, 'B H W 3']) -> Mapping[str, Array]:
    """Return the depth of frames in [-1, 1], [B, H, W]."""
    batch, *size, _ = pixels.shape
    square = (self.side * self.patch,) * 2
    if tuple(size) != square:
      pixels = jax.image.resize(pixels, (batch, *square, 3), 'cubic')
    taps = self._taps(pixels)
    fused = None
    for number in range(len(taps)):
      of = len(taps) - 1 - number
      name = f'neck_fusion_stage_layers_{number}'
      x = Conv(self.fusion, (3, 3), bias=False, name=f'neck_convs_{of}')(
        taps[of]
      )
      if fused is not None:
        x = fused + self._residual(x, f'{name}_residual_layer1')
      x = _doubled(self._residual(x, f'{name}_residual_layer2'))
      fused = Conv(self.fusion, (1, 1), name=f'{name}_projection')(x)
    x = Conv(self.fusion // 2, (3, 3), name='head_head_0')(fused)
    x = nn.relu(Conv(32, (3, 3), name='head_head_2')(_doubled(x)))
    depth = nn.relu(Conv(1, (1, 1), name='head_head_4')(x))[..., 0]
    if depth.shape != (batch, *size):
      depth = jax.image.resize(depth, (batch, *size), 'linear')
    return {'depth': depth}

  def _taps(self, pixels: Float[Array, 'B H W 3']) -> list[Array]:
    """Return the features of four layers, in four resolutions."""
    width, side, batch = self.width, self.side, pixels.shape[0]
    name = 'dpt_embeddings_patch_embeddings_projection'
    x = Conv(width, (self.patch,) * 2, self.patch, 0, name=name)(pixels)
    x = x.reshape(batch, side**2, width)
    normal = nn.initializers.normal(0.02)
    init = logical(normal, None, None, None)
    first = self.param('cls_token', init, (1, 1, width), jnp.float32)
    places = (1, 1 + side**2, width)
    places = self.param('position_embeddings', init, places, jnp.float32)
    first = jnp.broadcast_to(first, (batch, 1, width))
    x = jnp.concatenate([first, x], 1)
    x = x + jnp.broadcast_to(places, x.shape)
    taps: list[Array] = []
    for number in range(self.depth):
      x = self._layer(x, f'dpt_encoder_layer_{number}')
      if (number + 1) % (self.depth // 4) == 0:
        taps.append(self._reassembled(x, len(taps)))
    return taps

  def _layer(self, x: Float[Array, 'B N D'], name: str) -> Array:
    heads = (self.width // _HEAD_DIM, _HEAD_DIM)
    y = Norm(name=f'{name}_layernorm_before')(x)
    query, key, value = (
      Linear((self.width,), name=f'{name}_attention_attention_{part}')(
        y
      ).reshape(*y.shape[:2], *heads)
      for part in ('query', 'key', 'value')
    )
    y = jax.nn.dot_product_attention(query, key, value).reshape(x.shape)
    x = x + Linear((self.width,), name=f'{name}_attention_output_dense')(y)
    y = Norm(name=f'{name}_layernorm_after')(x)
    y = Linear((self.mlp_dim,), name=f'{name}_intermediate_dense')(y)
    y = nn.gelu(y, approximate=False)
    return x + Linear((self.width,), name=f'{name}_output_dense')(y)

  def _reassembled(self, x: Float[Array, 'B N D'], number: int) -> Array:
    """Make an image of a layer's tokens, each of which reads the first one."""
    stage = 'neck_reassemble_stage'
    first = jnp.broadcast_to(x[:, :1], x[:, 1:].shape)
    x = jnp.concatenate([x[:, 1:], first], -1)
    x = Linear((self.width,), name=f'{stage}_readout_projects_{number}_0')(x)
    x = nn.gelu(x, approximate=False)
    x = x.reshape(x.shape[0], self.side, self.side, self.width)
    channels, factor = self.channels[number], _FACTORS[number]
    name = f'{stage}_layers_{number}'
    x = Conv(channels, (1, 1), name=f'{name}_projection')(x)
    if factor > 1:
      times = int(factor)
      batch, rows, columns, _ = x.shape
      x = Linear((times, times, channels), name=f'{name}_resize')(x)
      x = x.transpose(0, 1, 3, 2, 4, 5)
      return x.reshape(batch, rows * times, columns * times, channels)
    if factor < 1:
      return Conv(channels, (3, 3), 2, 1, name=f'{name}_resize')(x)
    return x

  def _residual(self, x: Float[Array, 'B H W C'], name: str) -> Array:
    y = x
    for number in (1, 2):
      conv = Conv(self.fusion, (3, 3), name=f'{name}_convolution{number}')
      y = conv(nn.relu(y))
    return x + y


def _doubled(x: Float[Array, 'B H W C']) -> Float[Array, '...']:
  """Double both sides by linear interpolation between aligned corners."""
  rows, columns = (_between(side) for side in x.shape[1:3])
  return jnp.einsum(
    'ph,bhwc,qw->bpqc', rows, x, columns, precision=jax.lax.Precision.HIGHEST
  )


def _between(side: int) -> np.ndarray:
  """Return the matrix of that interpolation."""
  place = np.arange(2 * side) * (side - 1) / (2 * side - 1)
  distance = np.abs(place[:, None] - np.arange(side)[None])
  return np.maximum(0.0, 1.0 - distance).astype(np.float32)


def dpt_of(tensors: Mapping[str, np.ndarray]) -> DPT:
  """Return the network of a file of weights.

  Raises:
    KeyError: a tensor is missing.
  """
  patch = tensors[f'{_EMBEDDINGS}patch_embeddings.projection.weight']
  places = tensors[f'{_EMBEDDINGS}position_embeddings']
  layers = {
    name.split('.')[3] for name in tensors if name.startswith('dpt.encoder.')
  }
  hidden = tensors['dpt.encoder.layer.0.intermediate.dense.weight']
  convs = [tensors[f'neck.convs.{number}.weight'] for number in range(4)]
  return DPT(
    width=patch.shape[0],
    depth=len(layers),
    mlp_dim=hidden.shape[0],
    side=round((places.shape[1] - 1) ** 0.5),
    patch=patch.shape[-1],
    channels=tuple(conv.shape[1] for conv in convs),
    fusion=convs[0].shape[0],
  )


def dpt_params(tensors: Mapping[str, np.ndarray]) -> dict[str, Any]:
  """Turn the state of `transformers.DPTForDepthEstimation` into parameters."""
  params: dict[str, Any] = {}
  for name, value in tensors.items():
    if name.startswith(_UNUSED):
      continue
    module, _, kind = name.rpartition('.')
    if f'{module}.' == _EMBEDDINGS:
      params[kind] = value
      continue
    if kind == 'weight' and value.ndim == 2:
      value = value.T
    if kind == 'weight' and value.ndim == 4:
      # Those of transposed convolutions have inputs first.
      is_transposed = module.endswith(('layers.0.resize', 'layers.1.resize'))
      value = value.transpose((0, 2, 3, 1) if is_transposed else (2, 3, 1, 0))
    kind = {'weight': 'kernel'}.get(kind, kind)
    params.setdefault(module.replace('.', '_'), {})[kind] = value
  return params
