"""Reading clips back into facts by ordinary image processing."""

import dataclasses

import numpy as np

from phenaki_jax.errors import UserError
from phenaki_jax.storyworld import facts as facts_lib
from phenaki_jax.storyworld import foreground, paint, silhouette, trajectory
from phenaki_jax.storyworld import scene as scene_lib
from phenaki_jax.storyworld import subset as subset_lib

_UNLIKE_SHAPE = 0.8
# Shapes this nearly alike by outline are told apart by drawing them; more of
# them where the outline is poor, as in a single compressed frame.
_TIE, _WIDE_TIE = 0.06, 0.14
_CLEAR = 0.96
_UNLIKE_PAINT = 85.0
# The mask is that much wider than the object, in pixels: pixels that it
# covers only a little already stand out.
_HALO = 0.35


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reading:
  """Hold what a clip shows.

  Attributes:
    values: by fact, the value read, None where unsure.
    confidences: by fact, in [0, 1].
    x, y: the object's middle per frame in [0, 1) of the frame, nan where it
      was not found; float64 [T].
    radius: per frame, in shorter sides of the frame; nan likewise.
  """

  values: dict[str, str | None]
  confidences: dict[str, float]
  x: np.ndarray
  y: np.ndarray
  radius: np.ndarray

  def __getitem__(self, fact: str) -> str | None:
    """Return the value read of a fact."""
    return self.values[fact]


def _check(frames):
  if (
    frames.ndim != 4
    or frames.shape[-1] != 3
    or frames.dtype != np.uint8
    or not frames.shape[0]
  ):
    raise UserError(
      f'frames are {frames.dtype} of shape {frames.shape}; give uint8 '
      '[T, H, W, 3] with T at least 1'
    )


def read_clip(
  frames: np.ndarray,
  *,
  subset: str | subset_lib.Subset,
  fps: float | int = scene_lib.REFERENCE_FPS,
) -> Reading:
  """Read the facts of a clip that shows one scene.

  Nothing but the pixels is used; `subset` only restricts the values to
  choose from (all of them, image-only ones too). Where there are two
  objects, only the bigger is read.

  Args:
    frames: uint8 [T, H, W, 3] with T at least 1. Of a single frame no motion
      is read.
    subset: a name or a `Subset`.
    fps: frames per second, by which motions are told from noise.
  """
  _check(frames)
  subset = subset_lib.subset_named(subset)
  frames = frames.astype(np.float32)
  count, height, width = frames.shape[:3]
  ground = foreground.find_ground(frames, subset)
  values = dict.fromkeys(facts_lib.FACT_NAMES)
  confidences = dict.fromkeys(facts_lib.FACT_NAMES, 0.0)
  x, y, radius = (np.full(count, np.nan) for _ in range(3))

  def reading():
    return Reading(
      values=values, confidences=confidences, x=x, y=y, radius=radius
    )

  if ground.place is None:
    return reading()
  values['place'], confidences['place'] = ground.place, ground.confidence
  distances = foreground.difference(frames, ground)
  seen = ((t, foreground.find_blob(distances[t])) for t in range(count))
  blobs = {t: blob for t, blob in seen if blob is not None}
  # An object seen in less than half of the frames is no object.
  if 2 * len(blobs) < count or not blobs:
    return reading()
  found = np.array(list(blobs))
  times = found * (scene_lib.REFERENCE_FPS / fps)
  likely = _likely_shapes(
    silhouette.match(
      list(blobs.values()),
      times,
      subset.values('shape'),
      may_spin='spin' in subset.motions,
    ),
    list(blobs.values()),
    (height, width),
  )
  paints = paint.match(
    frames[found], ground, [one.candidate for one in likely], subset
  )
  best = min(range(len(likely)), key=lambda i: paints[i].cost)
  chosen = likely[best]
  x[found], y[found] = chosen.candidate.track.x, chosen.candidate.track.y
  radius[found] = chosen.candidate.track.radius * paints[best].scale

  if chosen.outlines.likeness > _UNLIKE_SHAPE:
    values['shape'] = chosen.outlines.shape
    confidences['shape'] = chosen.confidence
  motion = trajectory.name_motion(
    x[found],
    y[found],
    radius[found],
    times,
    chosen.outlines.spin_gain,
    subset.motions,
  )
  values['motion'], confidences['motion'] = motion.name, motion.confidence
  _read_size(values, confidences, radius[found], subset)
  _read_paint(values, confidences, paints[best], ground, subset)
  return reading()


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Likely:
  """Hold a shape the object may have and where it would then be."""

  outlines: silhouette.Silhouette
  candidate: paint.Candidate
  confidence: float


def _likely_shapes(ranked, blobs, size):
  """Return those of the ranked shapes that outlines alone do not rule out."""
  top = ranked[0].likeness
  clear = top > _CLEAR and len(blobs) > 1
  tie = _TIE if clear else _WIDE_TIE
  height, width = size
  areas = np.array([blob.area for blob in blobs])
  x = np.array([blob.x for blob in blobs])
  y = np.array([blob.y for blob in blobs])
  likely = []
  for one in ranked:
    if one.likeness < top - tie:
      break
    others = [other.likeness for other in ranked if other is not one]
    apart = one.likeness - max(others) if others else 1.0
    area, low = silhouette.mass(one.shape)
    pixels = np.sqrt(areas / area) - _HALO
    # The middle of mass of some shapes is off their own middle.
    track = scene_lib.Track(
      x=(x + low * np.sin(one.angles) * pixels / width) % 1,
      y=(y - low * np.cos(one.angles) * pixels / height) % 1,
      radius=pixels / min(size),
      angle=one.angles,
    )
    likely.append(
      _Likely(
        outlines=one,
        candidate=paint.Candidate(shape=one.shape, track=track),
        confidence=float(np.clip(4 * apart, 0.05, 1)),
      )
    )
  return likely


def _read_size(values, confidences, radius, subset):
  if not facts_lib.size_is_visible(values['motion']):
    return
  usual = np.log(np.median(radius))
  away = {
    size: abs(usual - np.log(scene_lib.RADIUS[size]))
    for size in subset.values('size')
  }
  size = min(away, key=away.__getitem__)
  if away[size] > 0.5:  # Less than 0.6 or more than 1.6 times as big.
    return
  values['size'] = size
  others = [cost for name, cost in away.items() if name != size]
  confidences['size'] = float(1 - away[size] / min(others)) if others else 1.0


def _read_paint(values, confidences, found, ground, subset):
  if found.cost > _UNLIKE_PAINT:
    return
  values['style'], values['colour'] = found.style, found.colour
  confidences['colour'] = found.colour_margin
  confidences['style'] = found.style_margin
  if 'pencil' in subset.values('style'):
    confidences['style'] = min(found.style_margin, ground.pencil_confidence)
