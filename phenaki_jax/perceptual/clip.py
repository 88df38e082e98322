"""CLIP: images and texts as vectors of one space (arXiv 2103.00020).

The sizes of the two transformers are read from the weights, so that ViT-B/32,
B/16 and L/14 are all read.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

HEAD_WIDTH = 64
"""Width of an attention head in all published sizes."""
_EPSILON = 1e-5
# Of pixels in [0, 1].
_MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
_SCALE = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)
_PRECISION = jax.lax.Precision.HIGHEST
_LAYER = 'encoder.layers'
# Layers of a transformer, as they are published and here.
_NORMS = {'layer_norm1': 'norm1', 'layer_norm2': 'norm2'}
_DENSES = {
  'self_attn.q_proj': 'q',
  'self_attn.k_proj': 'k',
  'self_attn.v_proj': 'v',
  'self_attn.out_proj': 'out',
  'mlp.fc1': 'up',
  'mlp.fc2': 'down',
}


class ClipImage(nn.Module):
  """Return the embedding of frames.

  Attributes:
    width: of the model.
    depth: number of layers.
    patch: side of a patch in pixels.
    least_side: height and width of the frames, the only ones that it takes.
    embedding: width of the embedding.
  """

  width: int
  depth: int
  patch: int
  least_side: int
  embedding: int
  layers: ClassVar[tuple[str, ...]] = ('embedding',)
  dims: ClassVar[int] = 2

  @property
  def variant(self) -> str:
    """Return what the size is called, such as 'ViT-B/32 at 224 px'."""
    letter = {768: 'B', 1024: 'L'}.get(self.width, f'{self.width}')
    return f'ViT-{letter}/{self.patch} at {self.least_side} px'

  @nn.compact
  def __call__(self, pixels: Float[Array, 'B H W 3']) -> Mapping[str, Array]:
    """Return the embedding [B, E] of frames in [-1, 1]."""
    mean, scale = (jnp.broadcast_to(x, pixels.shape) for x in (_MEAN, _SCALE))
    x = nn.Conv(
      self.width,
      (self.patch, self.patch),
      strides=self.patch,
      padding='VALID',
      use_bias=False,
      precision=_PRECISION,
      name='patches',
    )(((pixels + 1) / 2 - mean) / scale)
    x = x.reshape(x.shape[0], -1, self.width)
    init = nn.initializers.normal(0.02)
    first = self.param('first', init, (self.width,), jnp.float32)
    first = jnp.broadcast_to(first, (x.shape[0], 1, self.width))
    x = jnp.concatenate([first, x], 1)
    places = self.param('places', init, x.shape[1:], jnp.float32)
    x = _norm('before')(x + places[None])
    for number in range(self.depth):
      x = _Layer(name=f'layer_{number}')(x)
    x = _norm('after')(x[:, 0])
    return {'embedding': _dense(self.embedding, 'embed', use_bias=False)(x)}


class ClipText(nn.Module):
  """Return the embedding of texts.

  Attributes:
    width: of the model.
    depth: number of layers.
    length: most tokens of a text.
    vocabulary: number of tokens; the last one ends a text.
    embedding: width of the embedding.
  """

  width: int
  depth: int
  length: int
  vocabulary: int
  embedding: int

  @nn.compact
  def __call__(self, ids: Int[Array, 'B L']) -> Float[Array, 'B E']:
    """Return the embedding of the token ids of texts, padded with any."""
    init = nn.initializers.normal(0.02)
    shapes = (self.vocabulary, self.width), (self.length, self.width)
    words = self.param('words', init, shapes[0], jnp.float32)
    places = self.param('places', init, shapes[1], jnp.float32)
    x = words[ids] + places[None, : ids.shape[1]]
    for number in range(self.depth):
      x = _Layer(name=f'layer_{number}')(x, nn.make_causal_mask(ids) > 0)
    x = _norm('after')(x)
    # Nothing after the end of a text changes it: no token looks ahead.
    last = (ids == self.vocabulary - 1).argmax(-1)
    x = jnp.take_along_axis(x, last[:, None, None], 1)[:, 0]
    return _dense(self.embedding, 'embed', use_bias=False)(x)


class _Layer(nn.Module):
  """Attention and an MLP, each after a norm."""

  @nn.compact
  def __call__(
    self,
    x: Float[Array, 'B N D'],
    mask: Bool[Array, 'B 1 N N'] | None = None,
  ) -> Float[Array, 'B N D']:
    width = x.shape[-1]
    y = _norm('norm1')(x)
    heads = (*x.shape[:2], width // HEAD_WIDTH, HEAD_WIDTH)
    q, k, v = (_dense(width, name)(y).reshape(heads) for name in 'qkv')
    y = nn.dot_product_attention(q, k, v, mask=mask, precision=_PRECISION)
    x = x + _dense(width, 'out')(y.reshape(x.shape))
    y = _dense(4 * width, 'up')(_norm('norm2')(x))
    # OpenAI's approximation of GELU.
    y = y * jax.nn.sigmoid(1.702 * y)
    return x + _dense(width, 'down')(y)


def _norm(name: str) -> nn.LayerNorm:
  return nn.LayerNorm(epsilon=_EPSILON, name=name)


def _dense(features: int, name: str, *, use_bias: bool = True) -> nn.Dense:
  return nn.Dense(features, use_bias, precision=_PRECISION, name=name)


def read_clip_image(
  tensors: Mapping[str, np.ndarray],
) -> tuple[ClipImage, dict[str, Any]]:
  """Read the network of images from the state of `transformers.CLIPModel`.

  Raises:
    KeyError: a tensor is missing.
  """
  at = 'vision_model'
  patches = tensors[f'{at}.embeddings.patch_embedding.weight']
  places = tensors[f'{at}.embeddings.position_embedding.weight']
  embed = tensors['visual_projection.weight']
  patch = patches.shape[-1]
  module = ClipImage(
    width=patches.shape[0],
    depth=_depth(tensors, at),
    patch=patch,
    least_side=patch * round((len(places) - 1) ** 0.5),
    embedding=embed.shape[0],
  )
  return module, {
    'patches': {'kernel': patches.transpose(2, 3, 1, 0)},
    'first': tensors[f'{at}.embeddings.class_embedding'],
    'places': places,
    # The name is misspelled where it is published.
    'before': _norm_params(tensors, f'{at}.pre_layrnorm'),
    **_layers(tensors, at, module.depth),
    'after': _norm_params(tensors, f'{at}.post_layernorm'),
    'embed': {'kernel': embed.T},
  }


def read_clip_text(
  tensors: Mapping[str, np.ndarray],
) -> tuple[ClipText, dict[str, Any]]:
  """Read the network of texts from the state of `transformers.CLIPModel`.

  Raises:
    KeyError: a tensor is missing.
  """
  at = 'text_model'
  words = tensors[f'{at}.embeddings.token_embedding.weight']
  places = tensors[f'{at}.embeddings.position_embedding.weight']
  embed = tensors['text_projection.weight']
  module = ClipText(
    width=words.shape[1],
    depth=_depth(tensors, at),
    length=len(places),
    vocabulary=len(words),
    embedding=embed.shape[0],
  )
  return module, {
    'words': words,
    'places': places,
    **_layers(tensors, at, module.depth),
    'after': _norm_params(tensors, f'{at}.final_layer_norm'),
    'embed': {'kernel': embed.T},
  }


def _depth(tensors: Mapping[str, np.ndarray], at: str) -> int:
  start = f'{at}.{_LAYER}.'
  numbers = [n.removeprefix(start) for n in tensors if n.startswith(start)]
  return len({name.partition('.')[0] for name in numbers})


def _layers(
  tensors: Mapping[str, np.ndarray], at: str, depth: int
) -> dict[str, Any]:
  found = {}
  for number in range(depth):
    prefix = f'{at}.{_LAYER}.{number}'
    layer = {
      ours: _norm_params(tensors, f'{prefix}.{name}')
      for name, ours in _NORMS.items()
    }
    for name, ours in _DENSES.items():
      layer[ours] = {
        'kernel': tensors[f'{prefix}.{name}.weight'].T,
        'bias': tensors[f'{prefix}.{name}.bias'],
      }
    found[f'layer_{number}'] = layer
  return found


def _norm_params(
  tensors: Mapping[str, np.ndarray], name: str
) -> dict[str, np.ndarray]:
  return {
    'scale': tensors[f'{name}.weight'],
    'bias': tensors[f'{name}.bias'],
  }
