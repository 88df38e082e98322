"""Depth maps of clips: given, estimated, or read from a clip of StoryWorld."""

import dataclasses
import os
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from phenaki_jax import storyworld
from phenaki_jax.errors import UserError
from phenaki_jax.perceptual.weights import depth_network
from phenaki_jax.pixels import normalise
from phenaki_jax.runs.footage import WEIGHTS, find_maps, read_footage
from phenaki_jax.types import VideoU8


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Depth:
  """Depth of a clip.

  Attributes:
    maps: relative inverse depth, 0 to 1 over all frames, near is large.
    checksum: SHA-256 of the weights that estimated it; empty if it was given.
  """

  maps: Float[np.ndarray, 'T H W']
  checksum: str = ''


def depth_of(
  frames: VideoU8,
  source: str | os.PathLike[str] | None,
  *,
  fps: float | int,
  subset: str = '',
) -> Depth:
  """Return the relative inverse depth of a clip.

  Args:
    frames: the clip.
    source: an .npy of maps [T, H, W]; a folder of pictures, one for each frame
      in the order of their names; a picture or a film of maps, near is white;
      or a .safetensors of the weights of DPT. None: the clip is of StoryWorld,
      whose place is known.
    fps: frames per second of the clip, at which a film of maps is read.
    subset: of StoryWorld, for a model that was trained on it; or empty.

  Raises:
    UserError: the maps cannot be read, differ in number or size from the
      frames, or are not finite; or there is no source.
  """
  checksum = ''
  if source is not None and os.fspath(source).endswith(WEIGHTS):
    network = depth_network(os.fspath(source), field='--depth')
    checksum, features = network.checksum, jax.jit(network.features)
    # One frame at a time: the network is large.
    maps = np.concatenate(
      [
        np.asarray(features(network.params, normalise(frame))['depth'])
        for frame in jnp.asarray(frames)[:, None]
      ]
    )
  elif source is not None:
    maps = _read(find_maps(source), frames, fps)
  elif subset:
    maps = storyworld.read_depth(frames, subset)
  else:
    raise UserError(
      'the depth of the clip is not known; give --depth MAPS, pictures or a '
      'film in which near is white, or --depth DPT.safetensors, the weights '
      'of a network that estimates it'
    )
  if maps.shape != frames.shape[:3]:
    raise UserError(
      f'--depth has maps of shape {list(maps.shape)}, but the clip is '
      f'{list(frames.shape[:3])}; give one map of its size for each frame'
    )
  maps = maps.astype(np.float32)
  if not np.isfinite(maps).all():
    raise UserError(
      '--depth has values that are infinite or not numbers; give finite ones'
    )
  low, high = float(maps.min()), float(maps.max())
  return Depth(maps=(maps - low) / max(high - low, 1e-6), checksum=checksum)


def _read(
  parts: list[pathlib.Path], frames: VideoU8, fps: float | int
) -> np.ndarray:
  """Return maps as they are."""
  size, path = (frames.shape[1], frames.shape[2]), parts[0]
  if path.suffix == '.npy':
    maps = np.load(path, allow_pickle=False)
    return maps[None] if maps.ndim == 2 else maps
  found = [read_footage(part, size=size, fps=fps) for part in parts]
  return np.concatenate(found)[..., 0]
