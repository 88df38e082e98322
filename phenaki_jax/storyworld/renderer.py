"""Render scenes: anti-aliased objects on a place, all frames at once."""

import numpy as np
from jaxtyping import Float32, UInt8

from phenaki_jax.errors import UserError
from phenaki_jax.storyworld import backdrop as backdrop_lib
from phenaki_jax.storyworld import outline, palette
from phenaki_jax.storyworld import scene as scene_lib
from phenaki_jax.types import VideoU8

_RIM = 0.03  # of the frame's shorter side, but at least a pixel
_CONTOUR = 0.27  # thickness of the outline style, in radii
_STROKE = (0.5, 1.0)  # share of colour between and on pencil strokes


def frame_size(size: int | tuple[int, int]) -> tuple[int, int]:
  """Return (height, width) in pixels of a size given as a side or a pair.

  Raises:
    UserError: a side is below 8 pixels.
  """
  height, width = (size, size) if isinstance(size, int) else size
  if min(height, width) < 8:
    raise UserError(
      f'frame size {height}x{width} is too small; give at least 8x8 pixels'
    )
  return int(height), int(width)


def _distances(shape, track, height, width):
  """Return the signed distances to the outline in pixels, [T, H, W]."""
  side = min(height, width)
  radius = track.radius[:, None] * side
  columns = (np.arange(width, dtype=np.float32) + 0.5) / width
  rows = (np.arange(height, dtype=np.float32) + 0.5) / height
  x = columns[None] - track.x[:, None]
  y = rows[None] - track.y[:, None]
  x = ((x - np.round(x)) * width / radius)[:, None, :]
  y = ((y - np.round(y)) * height / radius)[:, :, None]
  if track.angle.any():
    cosine = np.cos(track.angle)[:, None, None]
    sine = np.sin(track.angle)[:, None, None]
    x, y = x * cosine + y * sine, y * cosine - x * sine
  return outline.signed_distance(shape, x, y) * radius[:, :, None]


def _cover(distances):
  """Return the share of each pixel inside the outline, [..., 1]."""
  return np.clip(0.5 - distances, 0, 1)[..., None]


def coverage(
  shape: str, track: scene_lib.Track, size: int | tuple[int, int]
) -> Float32[np.ndarray, 'T H W']:
  """Return the share of each pixel that a shape covers."""
  height, width = frame_size(size)
  return _cover(_distances(shape, track, height, width))[..., 0]


def _draw(canvas, shape, colour, style, track):
  """Return `canvas`, [T, H, W, 3] in [0, 255], with an object drawn on it."""
  height, width = canvas.shape[-3:-1]
  side = min(height, width)
  distances = _distances(shape, track, height, width)
  outer = _cover(distances)
  fill = palette.object_rgb(colour)
  rim_width = max(1.0, _RIM * side)
  if style == 'outline':
    thick = np.maximum(1.2, _CONTOUR * track.radius * side)[:, None, None]
    inner = _cover(distances + thick)
    return canvas + (outer - inner) * (fill - canvas)
  inner = _cover(distances + rim_width)
  if style == 'pencil':
    strokes = backdrop_lib.hatching(height, width)
    share = _STROKE[0] + (_STROKE[1] - _STROKE[0]) * strokes
    paper = np.array(palette.PAPER_RGB, np.float32)
    fill = paper + share * (fill - paper)
    rim = np.array(palette.GRAPHITE_RGB, np.float32)
  else:
    rim = palette.rim_rgb(colour)
  return canvas + outer * (rim - canvas) + inner * (fill - rim)


def render_track(
  scene: scene_lib.Scene,
  track: scene_lib.Track,
  size: int | tuple[int, int],
) -> VideoU8:
  """Render a scene with its object moved along a given track."""
  height, width = frame_size(size)
  facts = scene.facts
  canvas = backdrop_lib.backdrop(
    facts.place, height, width, pencil=facts.style == 'pencil'
  )[None]
  if facts.second is not None:
    second = (facts.second.shape, facts.second.colour, facts.style)
    canvas = _draw(canvas, *second, _spot(scene))
  frames = _draw(canvas, facts.shape, facts.colour, facts.style, track)
  return (frames + 0.5).astype(np.uint8)


def render_depth(
  scene: scene_lib.Scene,
  frames: int,
  size: int | tuple[int, int],
  fps: float | int = scene_lib.REFERENCE_FPS,
  *,
  start: int = 0,
) -> UInt8[np.ndarray, 'T H W']:
  """Return the relative inverse depth of the frames of `render_clip`.

  The place is 0 and objects are 255, the second one, too: `read_depth` cannot
  tell which of two objects in a clip is behind the other.
  """
  facts = scene.facts
  track = scene_lib.track(scene, start, start + frames, fps)
  near = coverage(facts.shape, track, size)
  if facts.second is not None:
    second = coverage(facts.second.shape, _spot(scene), size)
    near = np.maximum(near, np.broadcast_to(second, near.shape))
  return (255 * near + 0.5).astype(np.uint8)


def _spot(scene: scene_lib.Scene) -> scene_lib.Track:
  """Return where the second object stands."""
  return scene_lib.Track(
    x=np.array([scene.second_x], np.float32),
    y=np.array([scene.second_y], np.float32),
    radius=np.array([scene_lib.SECOND_RADIUS], np.float32),
    angle=np.zeros(1, np.float32),
  )


def render_clip(
  scene: scene_lib.Scene,
  frames: int,
  size: int | tuple[int, int],
  fps: float | int = scene_lib.REFERENCE_FPS,
  *,
  start: int = 0,
) -> VideoU8:
  """Render frames [start, start + frames) of a scene.

  Args:
    scene: what to render.
    frames: number of frames, at least 1.
    size: side in pixels, or (height, width).
    fps: frames per second; speeds per second do not depend on it.
    start: the first frame, 0 or more.

  Raises:
    UserError: `fps` is not positive, or a side is below 8 pixels.
  """
  track = scene_lib.track(scene, start, start + frames, fps)
  return render_track(scene, track, size)
