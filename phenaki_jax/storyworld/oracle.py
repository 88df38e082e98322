"""The oracle: read the facts of a clip by classical image processing."""

import dataclasses

import numpy as np
from jaxtyping import Float64

from phenaki_jax.storyworld import (
  appearance,
  foreground,
  silhouette,
  trajectory,
)
from phenaki_jax.storyworld import facts as facts_lib
from phenaki_jax.storyworld import scene as scene_lib
from phenaki_jax.storyworld import subset as subset_lib

_MIN_SIMILARITY = 0.8  # of a silhouette, to read a shape
# Shapes whose similarities differ by less than this are compared by rendering.
# The wide tie is for unclear silhouettes, as in a single compressed frame.
_TIE, _WIDE_TIE = 0.06, 0.14
_CLEAR = 0.96  # similarity of a clear silhouette
_MAX_COST = 85.0  # of an appearance, to read colour and style
# Margin of the mask around the object in pixels: the mask includes pixels that
# the object covers only partly.
_HALO = 0.35
_MAX_LOG_RATIO = 0.5  # of radii, to read a size: from 0.6 to 1.6 times as big


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reading:
  """What a clip shows.

  Attributes:
    values: by fact, the value read, None where unsure.
    confidences: by fact, in [0, 1].
    x, y: centre of the object in [0, 1) of the frame; nan where it was not
      found.
    radius: in shorter sides of the frame; nan where it was not found.
  """

  values: dict[str, str | None]
  confidences: dict[str, float]
  x: Float64[np.ndarray, 'T']
  y: Float64[np.ndarray, 'T']
  radius: Float64[np.ndarray, 'T']

  def __getitem__(self, fact: str) -> str | None:
    """Return the value that was read of `fact`."""
    return self.values[fact]


def read_clip(
  frames: np.ndarray,
  *,
  subset: str | subset_lib.Subset,
  fps: float | int = scene_lib.REFERENCE_FPS,
) -> Reading:
  """Read the facts of a clip that shows a single scene.

  Of two objects, only the larger one is read.

  Args:
    frames: the clip, uint8 [T, H, W, 3], with T at least 1. The motion is read
      from 2 frames on.
    subset: a name or a `Subset`; restricts the values to choose from, including
      the image-only ones.
    fps: frames per second, which gives the speed of motions.

  Raises:
    UserError: the subset is unknown.
    ValueError: the frames have another type or shape.
  """
  is_video = frames.ndim == 4 and frames.shape[-1] == 3 and len(frames)
  if not is_video or frames.dtype != np.uint8:
    raise ValueError(
      f'frames are {frames.dtype} of shape {frames.shape}, not uint8 of '
      '[T, H, W, 3] with T at least 1'
    )
  subset = subset_lib.subset_named(subset)
  frames = frames.astype(np.float32)
  count, height, width = frames.shape[:3]
  background = foreground.find_background(frames, subset)
  values = dict.fromkeys(facts_lib.FACT_NAMES)
  confidences = dict.fromkeys(facts_lib.FACT_NAMES, 0.0)
  x, y, radius = (np.full(count, np.nan) for _ in range(3))

  def reading():
    return Reading(
      values=values, confidences=confidences, x=x, y=y, radius=radius
    )

  if background.place is None:
    return reading()
  values['place'] = background.place
  confidences['place'] = background.confidence
  distances = foreground.difference(frames, background)
  seen = ((t, foreground.find_blob(distances[t])) for t in range(count))
  blobs = {t: blob for t, blob in seen if blob is not None}
  # Ignore what is found in less than half of the frames.
  if 2 * len(blobs) < count or not blobs:
    return reading()
  found = np.array(list(blobs))
  times = found * (scene_lib.REFERENCE_FPS / fps)
  candidates = _candidates(
    silhouette.match(
      list(blobs.values()),
      times,
      subset.values('shape'),
      may_spin='spin' in subset.motions,
    ),
    list(blobs.values()),
    (height, width),
  )
  looks = appearance.match(frames[found], background, candidates, subset)
  best = min(range(len(candidates)), key=lambda i: looks[i].cost)
  chosen, look = candidates[best], looks[best]
  x[found], y[found] = chosen.track.x, chosen.track.y
  radius[found] = chosen.track.radius * look.scale

  if chosen.silhouette.similarity > _MIN_SIMILARITY:
    values['shape'] = chosen.shape
    confidences['shape'] = chosen.confidence
  motion = trajectory.name_motion(
    x[found],
    y[found],
    radius[found],
    times,
    chosen.silhouette.spin_gain,
    subset.motions,
  )
  values['motion'], confidences['motion'] = motion.name, motion.confidence
  _read_size(values, confidences, radius[found], subset)
  _read_appearance(values, confidences, look, background, subset)
  return reading()


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Candidate(appearance.Candidate):
  """A shape that the object may have, its track, and how well it matches."""

  silhouette: silhouette.Silhouette
  confidence: float


def _candidates(ranked, blobs, size):
  """Return the candidates that silhouettes alone do not exclude."""
  top = ranked[0].similarity
  clear = top > _CLEAR and len(blobs) > 1
  tie = _TIE if clear else _WIDE_TIE
  height, width = size
  areas = np.array([blob.area for blob in blobs])
  x = np.array([blob.x for blob in blobs])
  y = np.array([blob.y for blob in blobs])
  candidates = []
  for one in ranked:
    if one.similarity < top - tie:
      break
    others = [other.similarity for other in ranked if other is not one]
    lead = one.similarity - max(others) if others else 1.0
    area, centroid = silhouette.area_and_centroid(one.shape)
    pixels = np.sqrt(areas / area) - _HALO
    # The centroid of some shapes is not their centre.
    track = scene_lib.Track(
      x=(x + centroid * np.sin(one.angles) * pixels / width) % 1,
      y=(y - centroid * np.cos(one.angles) * pixels / height) % 1,
      radius=pixels / min(size),
      angle=one.angles,
    )
    candidates.append(
      _Candidate(
        shape=one.shape,
        track=track,
        silhouette=one,
        confidence=float(np.clip(4 * lead, 0.05, 1)),
      )
    )
  return candidates


def _read_size(values, confidences, radius, subset):
  if not facts_lib.size_is_visible(values['motion']):
    return
  median = np.log(np.median(radius))
  costs = {
    size: abs(median - np.log(scene_lib.RADIUS[size]))
    for size in subset.values('size')
  }
  size = min(costs, key=costs.__getitem__)
  if costs[size] <= _MAX_LOG_RATIO:
    values['size'] = size
    confidences['size'] = foreground.margin(costs, size)


def _read_appearance(values, confidences, look, background, subset):
  if look.cost > _MAX_COST:
    return
  values['style'], values['colour'] = look.style, look.colour
  confidences['colour'] = look.colour_margin
  confidences['style'] = look.style_margin
  if 'pencil' in subset.values('style'):
    confidences['style'] = min(look.style_margin, background.pencil_confidence)
