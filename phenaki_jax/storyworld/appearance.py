"""Read colour and style: render all candidates and compare the pixels."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32
from scipy import ndimage

from phenaki_jax.storyworld import facts as facts_lib
from phenaki_jax.storyworld import foreground, renderer
from phenaki_jax.storyworld import scene as scene_lib
from phenaki_jax.storyworld import subset as subset_lib

_MAX_DISTANCE = 140.0  # RGB distances of pixels are clipped here
_NUM_FRAMES = 3  # frames that are compared
_SCALES = np.array((1.0, 0.8, 0.86, 0.92, 0.96, 1.05, 1.1), np.float32)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Appearance:
  """The colour and style whose rendering is most similar to a clip.

  Attributes:
    colour, style: names of the best values.
    cost: mean RGB distance between the rendering and the clip, over the pixels
      of the object.
    colour_margin, style_margin: margins to the second best value, in [0, 1].
    scale: factor by which the radius of the track was corrected.
  """

  colour: str
  style: str
  cost: float
  colour_margin: float
  style_margin: float
  scale: float = 1.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Candidate:
  """A shape that the object may have, and its track."""

  shape: str
  track: scene_lib.Track


def _at(track, frames):
  """Return a track at some of its frames, in float32."""
  return scene_lib.Track(
    **{
      field.name: getattr(track, field.name)[frames].astype(np.float32)
      for field in dataclasses.fields(track)
    }
  )


def _choose(costs):
  """Return the appearance of lowest cost of {(colour, style): cost}."""
  colour, style = min(costs, key=costs.__getitem__)
  by_style: dict[str, float] = {}
  for (_, other), cost in costs.items():
    by_style[other] = min(cost, by_style.get(other, np.inf))
  of_style = {c: cost for (c, s), cost in costs.items() if s == style}
  return Appearance(
    colour=colour,
    style=style,
    cost=costs[colour, style],
    colour_margin=foreground.margin(of_style, colour),
    style_margin=foreground.margin(by_style, style),
  )


def match(
  frames: Float32[np.ndarray, 'T H W 3'],
  background: foreground.Background,
  candidates: Sequence[Candidate],
  subset: subset_lib.Subset,
) -> list[Appearance]:
  """Find the best appearance of each candidate.

  Args:
    frames: the clip, in [0, 255].
    background: the place that it shows, which must be known.
    candidates: shapes with tracks of T frames. Their costs are computed over
      the same pixels, so that they can be compared.
    subset: gives the colours and styles to choose from.

  Returns:
    One appearance for each candidate.
  """
  place = background.place
  assert place is not None
  styles = tuple(
    s for s in subset.values('style') if (s == 'pencil') == background.pencil
  )
  rows = np.linspace(0, len(frames) - 1, min(_NUM_FRAMES, len(frames)))
  rows = np.unique(rows.round().astype(int))
  frames = frames[rows]
  size = frames.shape[1:3]
  tracks = [_at(candidate.track, rows) for candidate in candidates]
  region = np.zeros(frames.shape[:3], bool)
  for candidate, track in zip(candidates, tracks, strict=True):
    region |= renderer.coverage(candidate.shape, track, size) > 0.5
  region = ndimage.binary_dilation(region, np.ones((1, 3, 3)))
  seen = frames[region]
  appearances = []
  for candidate, track in zip(candidates, tracks, strict=True):

    def cost(colour, style, scale, shape=candidate.shape, track=track):
      facts = facts_lib.Facts(
        shape=shape, colour=colour, place=place, style=style
      )
      scaled = dataclasses.replace(track, radius=track.radius * scale)
      scene = scene_lib.Scene(facts=facts)
      drawn = renderer.render_track(scene, scaled, size)[region]
      distances = np.sqrt(((drawn - seen) ** 2).sum(-1))
      return float(np.minimum(distances, _MAX_DISTANCE).mean())

    found = _choose(
      {
        (colour, style): cost(colour, style, np.float32(1))
        for style in styles
        for colour in subset.values('colour')
      }
    )
    if len(candidates) > 1:
      # A small error of the radius would decide between similar shapes.
      costs = [cost(found.colour, found.style, s) for s in _SCALES]
      least = int(np.argmin(costs))
      found = dataclasses.replace(
        found, cost=costs[least], scale=float(_SCALES[least])
      )
    appearances.append(found)
  return appearances
