"""The oracle: read the facts of a clip by classical image processing."""

import dataclasses

import numpy as np
from jaxtyping import Float64, Int

from phenaki_jax.storyworld import (
  appearance,
  foreground,
  silhouette,
  trajectory,
)
from phenaki_jax.storyworld import facts as facts_lib
from phenaki_jax.storyworld import scene as scene_lib
from phenaki_jax.storyworld import subset as subset_lib

# A shape is read if the similarity of its silhouette is above this.
_MIN_SIMILARITY = 0.8
# Shapes whose similarities differ by less than this are compared by rendering.
# The wide tie is for unclear silhouettes, as in a single compressed frame.
_TIE, _WIDE_TIE = 0.06, 0.14
_CLEAR = 0.96  # A silhouette of a higher similarity is clear.
# Colour and style are read if the cost of the appearance is at most this.
_MAX_COST = 85.0
# Margin of the mask around the object in pixels: the mask includes pixels that
# the object covers only partly.
_HALO = 0.35
# A size is read if its radius is 0.6 to 1.6 times the expected one.
_MAX_LOG_RATIO = 0.5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reading:
  """What a clip shows.

  Attributes:
    values: by fact, the value read, None where unsure.
    confidences: by fact, in [0, 1].
    x, y: centre of the object in [0, 1) of the frame; nan where it was not
      found.
    radius: in shorter sides of the frame; nan where it was not found.
    objects: number of separate objects in each frame, 0 if no place was read.
    similarity: of the object of each frame to its shape, in [-1, 1]; nan where
      it was not found.
  """

  values: dict[str, str | None]
  confidences: dict[str, float]
  x: Float64[np.ndarray, 'T']
  y: Float64[np.ndarray, 'T']
  radius: Float64[np.ndarray, 'T']
  objects: Int[np.ndarray, 'T']
  similarity: Float64[np.ndarray, 'T']

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
    frames: the clip, uint8 [T, H, W, 3], with T at least 1, and at least 2 to
      read the motion.
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
  count = len(frames)
  background = foreground.find_background(frames, subset)
  reading = Reading(
    values=dict.fromkeys(facts_lib.FACT_NAMES),
    confidences=dict.fromkeys(facts_lib.FACT_NAMES, 0.0),
    x=np.full(count, np.nan),
    y=np.full(count, np.nan),
    radius=np.full(count, np.nan),
    objects=np.zeros(count, int),
    similarity=np.full(count, np.nan),
  )
  if background.place is None:
    return reading
  values, confidences = reading.values, reading.confidences
  values['place'] = background.place
  confidences['place'] = background.confidence
  distances = foreground.difference(frames, background)
  reading.objects[:] = [foreground.count_objects(one) for one in distances]
  seen = ((t, foreground.find_blob(distances[t])) for t in range(count))
  blobs = {t: blob for t, blob in seen if blob is not None}
  # Ignore what is found in less than half of the frames.
  if 2 * len(blobs) < count or not blobs:
    return reading
  found = np.array(list(blobs))
  times = found * (scene_lib.REFERENCE_FPS / fps)
  ranked = silhouette.match(list(blobs.values()), times, subset)
  top = ranked[0].similarity
  tie = _TIE if top > _CLEAR and len(blobs) > 1 else _WIDE_TIE
  similar = [one for one in ranked if one.similarity >= top - tie]
  tracks = [_track(s, blobs.values(), frames.shape[1:3]) for s in similar]
  candidates = [(s.shape, t) for s, t in zip(similar, tracks, strict=True)]
  looks = appearance.match(frames[found], background, candidates, subset)
  best = min(range(len(looks)), key=lambda i: looks[i].cost)
  chosen, track, look = similar[best], tracks[best], looks[best]
  track = dataclasses.replace(track, radius=track.radius * look.scale)
  reading.x[found], reading.y[found] = track.x, track.y
  reading.radius[found] = track.radius
  reading.similarity[found] = chosen.similarities

  if chosen.similarity > _MIN_SIMILARITY:
    others = [one.similarity for one in ranked if one is not chosen]
    lead = chosen.similarity - max(others) if others else 1.0
    values['shape'] = chosen.shape
    confidences['shape'] = float(np.clip(4 * lead, 0.05, 1))
  values['motion'], confidences['motion'] = trajectory.name_motion(
    track, times, chosen.spin_gain, subset.motions
  )
  if values['motion'] not in facts_lib.SIZE_AFTER:
    values['size'], confidences['size'] = _name_size(track.radius, subset)
  if look.cost <= _MAX_COST:
    values['style'], values['colour'] = look.style, look.colour
    confidences['colour'] = look.colour_margin
    confidences['style'] = look.style_margin
    if 'pencil' in subset.values('style'):
      confidences['style'] = min(
        look.style_margin, background.pencil_confidence
      )
  return reading


def _track(matched, blobs, size):
  """Return the track of an object that has the shape of a silhouette."""
  height, width = size
  area, centroid = silhouette.area_and_centroid(matched.shape)
  x, y, areas = np.array([(blob.x, blob.y, blob.area) for blob in blobs]).T
  radius = np.sqrt(areas / area) - _HALO
  angle = matched.angles
  # The centroid of some shapes is not their centre.
  return scene_lib.Track(
    x=(x + centroid * np.sin(angle) * radius / width) % 1,
    y=(y - centroid * np.cos(angle) * radius / height) % 1,
    radius=radius / min(size),
    angle=angle,
  )


def _name_size(radius, subset):
  """Return the size of closest radius, None where unsure, and a confidence."""
  median = np.log(np.median(radius))
  costs = {
    size: abs(median - np.log(scene_lib.RADIUS[size]))
    for size in subset.values('size')
  }
  size = min(costs, key=costs.__getitem__)
  if costs[size] > _MAX_LOG_RATIO:
    return None, 0.0
  return size, foreground.margin(costs, size)
