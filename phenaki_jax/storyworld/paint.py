"""Naming colour and style by drawing every candidate and comparing."""

import dataclasses

import numpy as np
from scipy import ndimage

from phenaki_jax.errors import UserError
from phenaki_jax.storyworld import facts as facts_lib
from phenaki_jax.storyworld import foreground, renderer
from phenaki_jax.storyworld import scene as scene_lib
from phenaki_jax.storyworld import subset as subset_lib

_FAR = 140.0  # RGB distance beyond which pixels are simply different
_FRAMES = 3  # enough to compare
_SCALES = np.array((1.0, 0.8, 0.86, 0.92, 0.96, 1.05, 1.1), np.float32)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Paint:
  """Hold the colour and style that drawn anew look most like a clip.

  Attributes:
    colour, style: the names.
    cost: mean RGB distance of the object's pixels that is left.
    colour_margin, style_margin: by how much of its cost the next best falls
      behind, in [0, 1].
    scale: by which the radius of the track had to be corrected.
  """

  colour: str
  style: str
  cost: float
  colour_margin: float
  style_margin: float
  scale: float = 1.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Candidate:
  """Hold a shape and the track of it that is to be painted."""

  shape: str
  track: scene_lib.Track


def _thinned(track, rows):
  return scene_lib.Track(
    **{
      field.name: getattr(track, field.name)[rows].astype(np.float32)
      for field in dataclasses.fields(track)
    }
  )


def _margin(costs, best):
  others = [cost for key, cost in costs.items() if key != best]
  return float(1 - costs[best] / max(min(others), 1e-6)) if others else 1.0


def _choose(costs):
  """Return the paint of least cost of {(colour, style): cost}."""
  colour, style = min(costs, key=costs.__getitem__)
  by_style: dict[str, float] = {}
  for (_, other), cost in costs.items():
    by_style[other] = min(cost, by_style.get(other, np.inf))
  of_style = {c: cost for (c, s), cost in costs.items() if s == style}
  return Paint(
    colour=colour,
    style=style,
    cost=costs[colour, style],
    colour_margin=_margin(of_style, colour),
    style_margin=_margin(by_style, style),
  )


def match(
  frames: np.ndarray,
  ground: foreground.Ground,
  candidates: list[Candidate],
  subset: subset_lib.Subset,
) -> list[Paint]:
  """Return the paint in which each candidate looks most like the frames.

  Args:
    frames: float32 [T, H, W, 3] in [0, 255].
    ground: the place they show.
    candidates: shapes with tracks of T frames. Their costs are taken over
      the same pixels, so that they can be compared.
    subset: gives the colours and styles to choose from.
  """
  if ground.place is None:
    raise UserError('the place is not known; find it before the paint')
  place = ground.place
  styles = tuple(
    s for s in subset.values('style') if (s == 'pencil') == ground.pencil
  )
  rows = np.linspace(0, len(frames) - 1, min(_FRAMES, len(frames)))
  rows = np.unique(rows.round().astype(int))
  frames = frames[rows]
  size = frames.shape[1:3]
  tracks = [_thinned(candidate.track, rows) for candidate in candidates]
  region = np.zeros(frames.shape[:3], bool)
  for candidate, track in zip(candidates, tracks, strict=True):
    region |= renderer.coverage(candidate.shape, track, size) > 0.5
  region = ndimage.binary_dilation(region, np.ones((1, 3, 3)))
  seen = frames[region]
  paints = []
  for candidate, track in zip(candidates, tracks, strict=True):

    def cost(colour, style, scale, shape=candidate.shape, track=track):
      facts = facts_lib.Facts(
        shape=shape, colour=colour, place=place, style=style
      )
      scaled = dataclasses.replace(track, radius=track.radius * scale)
      scene = scene_lib.Scene(facts=facts)
      drawn = renderer.render_track(scene, scaled, size)[region]
      off = np.sqrt(((drawn - seen) ** 2).sum(-1))
      return float(np.minimum(off, _FAR).mean())

    found = _choose(
      {
        (colour, style): cost(colour, style, np.float32(1))
        for style in styles
        for colour in subset.values('colour')
      }
    )
    if len(candidates) > 1:
      # Between shapes nearly alike a radius slightly off would decide.
      costs = [cost(found.colour, found.style, s) for s in _SCALES]
      least = int(np.argmin(costs))
      found = dataclasses.replace(
        found, cost=costs[least], scale=float(_SCALES[least])
      )
    paints.append(found)
  return paints
