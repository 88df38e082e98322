"""The structure of a clip: its depth, blurred to a level (Gen-1, 2302.03011).

A low level keeps shapes exactly, and a high one keeps little but where things
are. Blurring alone could be undone by a network, so that depth is also reduced,
which loses detail.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from phenaki_jax.nn.conditions import Canvas

MAX_LEVEL = 7
"""The highest level of Gen-1 (section 3.4)."""


def blurred(
  depth: Float[Array, 'B T H W'], level: Float[Array, 'B']
) -> Float[Array, 'B T H W']:
  """Blur depth, reduce it by 2 to the power of its level, and enlarge it again.

  Args:
    depth: relative inverse depth, 0 to 1.
    level: of each clip, a whole number from 0, which changes nothing, to
      `MAX_LEVEL`.
  """
  number = level.astype(jnp.int32)
  rows, columns = (
    jnp.asarray(_table(side))[number] for side in depth.shape[2:]
  )
  return jnp.einsum(
    'bhr,btrc,bwc->bthw',
    rows,
    depth,
    columns,
    precision=jax.lax.Precision.HIGHEST,
  )


@functools.cache
def _table(side: int) -> np.ndarray:
  """Return what each level does to a line of pixels, float32 [levels, N, N]."""
  matrices = []
  for level in range(MAX_LEVEL + 1):
    small = -(-side // 2**level)
    matrices.append(_resized(small, side) @ _resized(side, small))
  return np.stack(matrices).astype(np.float32)


def _resized(size: int, new: int) -> np.ndarray:
  """Return the matrix of linear interpolation, with a triangle to reduce."""
  scale = size / new
  centre = (np.arange(new) + 0.5) * scale - 0.5
  distance = np.abs(centre[:, None] - np.arange(size)[None])
  weights = np.maximum(0.0, 1.0 - distance / max(scale, 1.0))
  return weights / weights.sum(1, keepdims=True)


def with_structure(
  canvas: Canvas,
  depth: Float[Array, 'B T H W'],
  level: Float[Array, 'B'],
  shown: Bool[Array, 'B T'],
) -> Canvas:
  """Show depth on a canvas.

  Args:
    canvas: known pixels.
    depth: relative inverse depth, 0 to 1.
    level: of each clip.
    shown: True at frames whose depth is shown.
  """
  has_depth = jnp.broadcast_to(shown[:, :, None, None], depth.shape)
  soft = blurred(depth, level)
  return dataclasses.replace(
    canvas, depth=jnp.where(has_depth, soft, 0.0), has_depth=has_depth
  )
