"""Positions on a grid of time, height and width.

Three kinds are used together: smooth absolute features at the input of the
model, and axial rotary angles and distances in every attention. All are
functions of the grid coordinates, so that they extend to lengths and grids not
seen in training.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def grid_coordinates(t: int, h: int, w: int, *, start: int = 0) -> np.ndarray:
  """List the coordinates of a latent grid in raster order, time outermost.

  Args:
    t: latent frames.
    h: rows.
    w: columns.
    start: the first latent frame.

  Returns:
    int32 [t * h * w, 3], columns time, height, width.
  """
  frames = np.arange(start, start + t)
  axes = np.meshgrid(frames, np.arange(h), np.arange(w), indexing='ij')
  return np.stack([axis.reshape(-1) for axis in axes], -1).astype(np.int32)


def distance_features(coordinates: np.ndarray) -> np.ndarray:
  """Compute features whose inner products are distances along each axis.

  An axis of extent E has E - 1 boundaries between neighbouring positions; a
  feature is -1 before a boundary and 1 after it. Positions at distance d differ
  in d of the features, so that their inner product is E - 1 - 2 d.

  Args:
    coordinates: [N, A] integer coordinates, from 0.

  Returns:
    float32 [A, N, boundaries], with one column for each boundary of any axis;
    the columns of other axes are 0.
  """
  extents = coordinates.max(0)
  features = np.zeros(
    (len(extents), len(coordinates), extents.sum()), np.float32
  )
  start = 0
  for axis, extent in enumerate(extents):
    after = coordinates[:, axis : axis + 1] > np.arange(extent)
    features[axis, :, start : start + extent] = np.where(after, 1, -1)
    start += extent
  return features


def absolute_features(
  t: int, h: int, w: int, *, time: bool = True, start: int = 0
) -> np.ndarray:
  """Compute smooth features of each grid position.

  Height and width are relative to the frame (0 at one edge, 1 at the other),
  so that a larger grid is a finer sampling of the same image. Time is counted
  in latent frames. One feature marks the first latent frame, which is a single
  frame.

  Args:
    t: latent frames.
    h: rows.
    w: columns.
    time: include the features of time.
    start: the first latent frame.

  Returns:
    float32 [t * h * w, 43], without time [t * h * w, 32], in [-1, 1].
  """
  coordinates = grid_coordinates(t, h, w, start=start).astype(np.float64)
  features = [(coordinates[:, :1] == 0).astype(np.float64)] if time else []
  for column, extent in ((1, h), (2, w)):
    place = (coordinates[:, column : column + 1] + 0.5) / extent
    angles = np.pi * place * np.array([1, 2, 3, 4, 6, 8, 12.0, 16])
    features += [np.sin(angles), np.cos(angles)]
  if time:
    wave = coordinates[:, :1] / np.array([1.0, 2.0, 4.0, 8.0, 16.0])
    features += [np.sin(wave), np.cos(wave)]
  return np.concatenate(features, -1).astype(np.float32)


def rotary_angles(coordinates: np.ndarray, head_dim: int) -> np.ndarray:
  """Compute the rotary angles of each position.

  The angle pairs are divided evenly among the axes (the last axes get the
  remainder), with geometrically increasing wavelengths.

  Args:
    coordinates: [N, A] integer coordinates on A axes.
    head_dim: even width of an attention head, at least 2 * A.

  Returns:
    float32 [N, head_dim // 2] angles in radians.
  """
  num_axes = coordinates.shape[-1]
  pairs = head_dim // 2
  if head_dim % 2 or pairs < num_axes:
    raise ValueError(
      f'rotary positions on {num_axes} axes need an even head width of at '
      f'least {2 * num_axes}, but it is {head_dim}; use fewer heads.'
    )
  split = np.array_split(np.arange(pairs), num_axes)
  angles = []
  # The smallest part goes to the first axis (time).
  for axis, part in enumerate(sorted(split, key=len)):
    frequency = 100.0 ** (-np.arange(len(part)) / max(1, len(part)))
    angles.append(coordinates[:, axis : axis + 1] * frequency)
  return np.concatenate(angles, -1).astype(np.float32)


def rotate(
  x: Float[Array, '*b N K d'], angles: Float[Array, 'N p']
) -> Float[Array, '*b N K d']:
  """Rotate pairs of head dimensions by the angles of their position.

  Dimension i is paired with i + d/2 (RoFormer, arXiv 2104.09864).
  """
  cos = jnp.cos(angles)[:, None, :].astype(x.dtype)
  sin = jnp.sin(angles)[:, None, :].astype(x.dtype)
  shape = (*x.shape[:-1], x.shape[-1] // 2)
  cos, sin = jnp.broadcast_to(cos, shape), jnp.broadcast_to(sin, shape)
  first, second = jnp.split(x, 2, axis=-1)
  return jnp.concatenate(
    [first * cos - second * sin, second * cos + first * sin], axis=-1
  )
