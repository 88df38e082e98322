"""Read colour and style: render all candidates and compare the pixels."""

import dataclasses
import operator
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


def _choose(costs):
  """Return the appearance of lowest cost of {(colour, style): cost}."""
  best = min(costs, key=costs.__getitem__)
  colour, style = best
  same_style = {key: cost for key, cost in costs.items() if key[1] == style}
  return Appearance(
    colour=colour,
    style=style,
    cost=costs[best],
    colour_margin=foreground.margin(same_style, best),
    style_margin=foreground.margin(costs, best, operator.itemgetter(1)),
  )


def match(
  frames: Float32[np.ndarray, 'T H W 3'],
  background: foreground.Background,
  candidates: Sequence[tuple[str, scene_lib.Track]],
  subset: subset_lib.Subset,
) -> list[Appearance]:
  """Find the best appearance of each candidate.

  Args:
    frames: the clip, in [0, 255].
    background: the place that it shows, which must be known.
    candidates: shapes that the object may have, with its tracks of T frames.
      The costs of all of them are computed over the same pixels.
    subset: gives the colours and styles to choose from.
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
  candidates = [
    (
      shape,
      scene_lib.Track(
        **{k: v[rows].astype(np.float32) for k, v in vars(track).items()}
      ),
    )
    for shape, track in candidates
  ]
  region = np.zeros(frames.shape[:3], bool)
  for shape, track in candidates:
    region |= renderer.coverage(shape, track, size) > 0.5
  region = ndimage.binary_dilation(region, np.ones((1, 3, 3)))
  seen = frames[region]
  appearances = []
  for shape, track in candidates:

    def cost(colour, style, scale, shape=shape, track=track):
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
