"""The Inception-v3 of FID (arXiv 1512.00567), as TensorFlow published it.

It differs from the usual one: average pooling leaves padding out of the mean,
the last block pools by the maximum, and there are 1008 classes.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from phenaki_jax.perceptual.network import Conv, folded_conv
from phenaki_jax.sharding import logical

_BN_EPSILON = 1e-3
_CLASSES = 1008
# A branch is a chain of steps: a pooling layer, or a convolution with its
# name, channels and kernel (one number for a square), of stride 1 and padded;
# 'down' is of stride 2 and not padded. A set of steps is applied side by side.
_STEM = (
  ('Conv2d_1a_3x3', 32, 3, 'down'),
  ('Conv2d_2a_3x3', 32, 3, 'valid'),
  ('Conv2d_2b_3x3', 64, 3),
  'halve',
  ('Conv2d_3b_1x1', 80, 1),
  ('Conv2d_4a_3x3', 192, 3, 'valid'),
  'halve',
)
_DOUBLE = (('branch3x3dbl_1', 64, 1), ('branch3x3dbl_2', 96, 3))


def _block_a(pooled: int) -> tuple:
  return (
    (('branch1x1', 64, 1),),
    (('branch5x5_1', 48, 1), ('branch5x5_2', 64, 5)),
    (*_DOUBLE, ('branch3x3dbl_3', 96, 3)),
    ('mean', ('branch_pool', pooled, 1)),
  )


def _block_c(inner: int) -> tuple:
  double = [('1', 1), ('2', (7, 1)), ('3', (1, 7)), ('4', (7, 1))]
  return (
    (('branch1x1', 192, 1),),
    (
      ('branch7x7_1', inner, 1),
      ('branch7x7_2', inner, (1, 7)),
      ('branch7x7_3', 192, (7, 1)),
    ),
    (
      *((f'branch7x7dbl_{name}', inner, kernel) for name, kernel in double),
      ('branch7x7dbl_5', 192, (1, 7)),
    ),
    ('mean', ('branch_pool', 192, 1)),
  )


def _block_e(pooling: str) -> tuple:
  def both(name: str) -> tuple:
    return ((f'{name}a', 384, (1, 3)), (f'{name}b', 384, (3, 1)))

  return (
    (('branch1x1', 320, 1),),
    (('branch3x3_1', 384, 1), both('branch3x3_2')),
    (
      ('branch3x3dbl_1', 448, 1),
      ('branch3x3dbl_2', 384, 3),
      both('branch3x3dbl_3'),
    ),
    (pooling, ('branch_pool', 192, 1)),
  )


_BLOCKS = {
  'Mixed_5b': _block_a(32),
  'Mixed_5c': _block_a(64),
  'Mixed_5d': _block_a(64),
  'Mixed_6a': (
    (('branch3x3', 384, 3, 'down'),),
    (*_DOUBLE, ('branch3x3dbl_3', 96, 3, 'down')),
    ('halve',),
  ),
  'Mixed_6b': _block_c(128),
  'Mixed_6c': _block_c(160),
  'Mixed_6d': _block_c(160),
  'Mixed_6e': _block_c(192),
  'Mixed_7a': (
    (('branch3x3_1', 192, 1), ('branch3x3_2', 320, 3, 'down')),
    (
      ('branch7x7x3_1', 192, 1),
      ('branch7x7x3_2', 192, (1, 7)),
      ('branch7x7x3_3', 192, (7, 1)),
      ('branch7x7x3_4', 192, 3, 'down'),
    ),
    ('halve',),
  ),
  'Mixed_7b': _block_e('mean'),
  'Mixed_7c': _block_e('max'),
}


class Inception(nn.Module):
  """Return the features before the classifier, averaged over positions.

  Batch norms are folded into the convolutions when the weights are read.
  """

  layers: ClassVar[tuple[str, ...]] = ('pool3',)
  dims: ClassVar[int] = 2
  least_side: ClassVar[int] = 75

  @nn.compact
  def __call__(self, pixels: Float[Array, 'B H W 3']) -> Mapping[str, Array]:
    """Return [B, 2048] features of frames in [-1, 1], and [B, 1008] logits.

    The logits are without the biases of the classes, as the Inception score
    takes them (arXiv 1606.03498, the authors' code).
    """
    x = _chain(pixels, _STEM)
    for name, branches in _BLOCKS.items():
      x = _Block(branches, name=name)(x)
    x = x.mean((1, 2))
    kernel = self.param(
      'classes',
      logical(nn.initializers.lecun_normal(), None, None),
      (x.shape[-1], _CLASSES),
      jnp.float32,
    )
    return {'pool3': x, 'logits': x @ kernel}


class _Block(nn.Module):
  """Branches, side by side."""

  branches: tuple

  @nn.compact
  def __call__(self, x: Float[Array, 'B H W I']) -> Float[Array, 'B _ _ O']:
    return jnp.concatenate([_chain(x, steps) for steps in self.branches], -1)


def _chain(x: Array, steps: tuple) -> Array:
  """Apply steps one after the other, inside a module."""
  for step in steps:
    if step == 'halve':
      x = nn.max_pool(x, (3, 3), (2, 2))
    elif step == 'mean':
      x = nn.avg_pool(x, (3, 3), padding='SAME', count_include_pad=False)
    elif step == 'max':
      x = nn.max_pool(x, (3, 3), padding='SAME')
    elif isinstance(step[0], tuple):
      x = jnp.concatenate([_chain(x, (one,)) for one in step], -1)
    else:
      name, features, kernel, *way = step
      sides = kernel if isinstance(kernel, tuple) else (kernel, kernel)
      conv = Conv(
        features,
        sides,
        strides=2 if 'down' in way else 1,
        padding=0 if way else 'SAME',
        name=name,
      )
      x = jax.nn.relu(conv(x))
  return x


def inception_params(tensors: Mapping[str, np.ndarray]) -> dict[str, Any]:
  """Turn the state of pytorch-fid's `fid_inception_v3()` into parameters.

  Raises:
    KeyError: a tensor is missing.
  """

  def folded(prefix: str, steps: tuple) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for step in steps:
      if isinstance(step, str):
        continue
      if isinstance(step[0], tuple):
        found |= folded(prefix, step)
        continue
      found[step[0]] = folded_conv(
        tensors,
        norm=f'{prefix}{step[0]}.bn',
        conv=f'{prefix}{step[0]}.conv',
        epsilon=_BN_EPSILON,
      )
    return found

  params = folded('', _STEM)
  for name, branches in _BLOCKS.items():
    params[name] = {}
    for steps in branches:
      params[name] |= folded(f'{name}.', steps)
  return {**params, 'classes': tensors['fc.weight'].T}
