"""Conversion of decoded frames to RGB, as a player shows them.

Pixel aspect ratio, rotation, mirroring and interlacing are applied. Frames in
high dynamic range (PQ and HLG of ITU-R BT.2100) are tone-mapped. A frame that
cannot be shown correctly raises a DecodeError with a reason.
"""

import dataclasses
import threading
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from typing import Any

import av
import av.filter
import av.video.reformatter
import numpy as np
from jaxtyping import UInt8
from PIL import Image

from phenaki_jax.data import schema, tone_mapping, transforms

MAX_PIXELS = 2**24  # of one frame; 4096 x 4096

# Numbers of ITU-T H.273. Other colours would be converted as if they were
# BT.601, or camera and cinema curves shown without conversion.
_UNSPECIFIED, _BT709 = 2, 1
_BICUBIC = int(av.video.reformatter.Interpolation.BICUBIC)
_MATRICES = (0, 1, 2, 3, 4, 5, 6, 7, 9, 10)
_HDR = (tone_mapping.PQ, tone_mapping.HLG)
_TRANSFERS = (0, 1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 14, 15, *_HDR)
_ROUNDING = 1e-6  # of the edges of a part of a frame, in pixels
# A degree of rotation is not visible.
_MAX_SLANT = 0.0175
_MAX_CROPS = 64  # kept for each thread


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shown:
  """A decoded frame with its neighbours, which deinterlacing needs."""

  frame: Any
  before: Any = None
  after: Any = None


def with_neighbours(
  frames: Iterable[tuple[float, Any]],
) -> Iterator[tuple[float, Shown]]:
  """Yield (time, shown frame).

  Only interlaced frames are delayed by one frame.
  """
  frames = iter(frames)
  before = ahead = None
  while (item := ahead or next(frames, None)) is not None:
    time, frame = item
    ahead = next(frames, None) if frame.interlaced_frame else None
    after = ahead[1] if ahead else None
    yield time, Shown(frame=frame, before=before, after=after)
    before = frame


@dataclasses.dataclass(frozen=True, kw_only=True)
class Geometry:
  """How a frame is placed on the screen.

  Attributes:
    width, height: in square pixels, before the axes are swapped.
    swap: whether rows become columns.
    flip_x, flip_y: whether the result is then mirrored along an axis.
  """

  width: int
  height: int
  swap: bool = False
  flip_x: bool = False
  flip_y: bool = False

  @property
  def size(self) -> tuple[int, int]:
    """Return the width and the height on the screen."""
    size = (self.width, self.height)
    return size[::-1] if self.swap else size


@dataclasses.dataclass(frozen=True, kw_only=True)
class Way:
  """How frames of one format become RGB of a size.

  Attributes:
    placed: how they are placed on the screen.
    matrix: their colour matrix, if they do not name it.
    is_scaled: whether FFmpeg scales them down, which is faster than Pillow.
    crop: takes the part that is scaled; None for the whole frame.
  """

  placed: Geometry
  matrix: int | None
  is_scaled: bool = False
  crop: av.filter.Graph | None = None


class _Tools(threading.local):
  """Objects of FFmpeg that take long to make, of each thread."""

  def __init__(self) -> None:
    self.reformatter = av.video.reformatter.VideoReformatter()
    self._crops: dict[tuple[Any, ...], av.filter.Graph] = {}

  def crop(self, frame: Any, area: str) -> av.filter.Graph:
    """Return what cuts frames like this one to an area."""
    key = (frame.width, frame.height, frame.format.name, area)
    if key not in self._crops:
      if len(self._crops) >= _MAX_CROPS:
        self._crops.clear()
      self._crops[key] = _graph(frame, ('crop', area))
    return self._crops[key]


_tools = _Tools()


class Display:
  """Shows the frames of one stream. It is not shared between threads."""

  def __init__(self, stream: Any):
    self._aspect = (
      stream.sample_aspect_ratio
      or stream.codec_context.sample_aspect_ratio
      or Fraction(1)
    )
    self._ways: dict[tuple[Any, ...], Way] = {}

  def geometry(self, frame: Any) -> Geometry:
    """Return how a frame is placed, and check that it can be shown.

    Raises:
      schema.DecodeError: the reason is 'too_many_pixels',
        'rotation_not_supported', 'colour_not_supported' or
        'hdr_not_supported'.
    """
    width = max(1, int(frame.width * self._aspect))
    check_pixels(width, frame.height)
    side_data = frame.side_data
    _check_colour(frame, side_data)
    matrix = side_data.get('DISPLAYMATRIX')
    if matrix is None:
      return Geometry(width=width, height=frame.height)
    # A point (x, y) is shown at (a x + c y, b x + d y).
    a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5].tolist()
    swap = abs(b) > abs(a)
    x, y, slants = (c, b, (a, d)) if swap else (a, d, (b, c))
    if max(map(abs, slants)) > _MAX_SLANT * min(abs(x), abs(y)):
      raise schema.DecodeError(
        'rotation_not_supported', f'display matrix {a}, {b}, {c}, {d}'
      )
    return Geometry(
      width=width,
      height=frame.height,
      swap=swap,
      flip_x=x < 0,
      flip_y=y < 0,
    )

  def show(
    self, shown: Shown, size: tuple[int, int]
  ) -> UInt8[np.ndarray, 'H W 3']:
    """Convert a frame to RGB of a size; see `transforms.fit`.

    Raises:
      schema.DecodeError: as in `geometry`.
    """
    frame, transfer = shown.frame, shown.frame.color_trc
    shape = (frame.width, frame.height, frame.format.name)
    key = (*shape, frame.colorspace, transfer, size)
    way = self._ways.get(key)
    if way is None:
      way = self._ways[key] = _way(frame, self.geometry(frame), size)
    placed = way.placed
    if frame.interlaced_frame:
      frame = _deinterlaced(shown)
    if way.is_scaled:
      pixels = self._scaled(frame, way, size)
    elif transfer in _HDR:
      pixels = tone_mapping.to_sdr(
        self._rgb(frame, way, 'rgb48le'),
        transfer=transfer,
        primaries=shown.frame.color_primaries,
      )
    else:
      pixels = self._rgb(frame, way, 'rgb24')
    if placed.flip_y or placed.flip_x:
      pixels = pixels[
        :: -1 if placed.flip_y else 1, :: -1 if placed.flip_x else 1
      ]
    if pixels.shape[:2] == size:
      return pixels
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    return transforms.fit(picture, size)

  def _rgb(self, frame: Any, way: Way, name: str) -> np.ndarray:
    """Convert a whole frame."""
    placed = way.placed
    if name == 'rgb48le' and _is_yuv(frame.format):
      # The conversion to RGB would repeat subsampled colours.
      frame = _tools.reformatter.reformat(
        frame, format='yuv444p12le', threads=1
      )
    if placed.width != frame.width:
      swap = [('transpose', 'cclock_flip')] if placed.swap else []
      width, height = placed.size
      matrix = 'bt709' if way.matrix == _BT709 else 'auto'
      scale = ('scale', f'{width}:{height}:in_color_matrix={matrix}')
      rgb = _filtered([frame], *swap, scale, ('format', name))
      return rgb.to_ndarray()
    # By default the scaler starts a thread per core for every frame.
    rgb = _tools.reformatter.reformat(
      frame,
      format=name,
      src_colorspace=way.matrix,
      interpolation=_BICUBIC,
      threads=1,
    )
    pixels = rgb.to_ndarray()
    return pixels.transpose(1, 0, 2) if placed.swap else pixels

  def _scaled(self, frame: Any, way: Way, size: tuple[int, int]) -> np.ndarray:
    """Convert a part of a frame to a smaller size, in one pass."""
    if way.crop is not None:
      way.crop.vpush(frame)
      frame = way.crop.vpull()
    height, width = size[::-1] if way.placed.swap else size
    # With packed colours two neighbouring pixels would have one colour.
    rgb = _tools.reformatter.reformat(
      frame,
      width,
      height,
      'gbrp',
      src_colorspace=way.matrix,
      interpolation=_BICUBIC,
      threads=1,
    )
    pixels = rgb.to_ndarray()
    return pixels.transpose(1, 0, 2) if way.placed.swap else pixels


def _way(frame: Any, placed: Geometry, size: tuple[int, int]) -> Way:
  """Return how frames like this one become RGB of a size.

  FFmpeg can scale a part of them if it consists of whole samples of colour,
  which may be two pixels wide and high, and if pixels are square.
  """
  is_yuv = _is_yuv(frame.format)
  is_hd = frame.width >= 1280 or frame.height >= 720
  is_untagged = is_yuv and frame.colorspace == _UNSPECIFIED
  matrix = _BT709 if is_hd and is_untagged else None
  plain = Way(placed=placed, matrix=matrix)
  height, width = size[::-1] if placed.swap else size
  is_smaller = width < frame.width and height < frame.height
  is_square = placed.width == frame.width
  if not (is_yuv and is_smaller and is_square) or frame.color_trc in _HDR:
    return plain
  wide, high = frame.format.chroma_width(4), frame.format.chroma_height(4)
  edges = transforms.crop_box(frame.width, frame.height, (height, width))
  left, top, right, bottom = map(round, edges)
  fractions = [edge - round(edge) for edge in edges]
  is_odd = (left | top) % 2 or min(wide, high) < 2
  if is_odd or max(map(abs, fractions)) > _ROUNDING:
    return plain
  crop = None
  if (right - left, bottom - top) != (frame.width, frame.height):
    area = f'{right - left}:{bottom - top}:{left}:{top}'
    crop = _tools.crop(frame, area)
  return Way(placed=placed, matrix=matrix, is_scaled=True, crop=crop)


def check_pixels(width: int, height: int) -> None:
  """Check that a frame is not too large to be decoded."""
  if width * height > MAX_PIXELS:
    raise schema.DecodeError(
      'too_many_pixels', f'{width} x {height}, at most {MAX_PIXELS}'
    )


def _is_yuv(pixels: Any) -> bool:
  return not pixels.is_rgb and not pixels.has_palette


def _check_colour(frame: Any, side_data: Any) -> None:
  matrix, transfer = frame.colorspace, frame.color_trc
  # Dolby Vision without a compatible base layer has no colour tags.
  is_dolby = 'DOVI_METADATA' in side_data or 'DOVI_RPU_BUFFER' in side_data
  if is_dolby and transfer == _UNSPECIFIED:
    raise schema.DecodeError('hdr_not_supported', 'Dolby Vision alone')
  if transfer not in _TRANSFERS or matrix not in _MATRICES:
    raise schema.DecodeError(
      'colour_not_supported', f'matrix {matrix}, transfer {transfer}'
    )


def _deinterlaced(shown: Shown) -> Any:
  """Return a progressive frame, made by FFmpeg's filter `yadif`."""
  frame = shown.frame
  around = [
    other
    for other in (shown.before, frame, shown.after)
    if other is not None and _layout(other) == _layout(frame)
  ]
  place = around.index(frame)
  result = _filtered(around, ('yadif', 'deint=interlaced'), place=place)
  for name in ('colorspace', 'color_range', 'color_trc', 'color_primaries'):
    setattr(result, name, getattr(frame, name))
  return result


def _filtered(
  frames: Sequence[Any], *filters: tuple[str, str], place: int = 0
) -> Any:
  """Return the frame at `place` after a chain of (filter, its arguments)."""
  graph = _graph(frames[0], *filters)
  for frame in (*frames, None):
    graph.push(frame)
  for _ in range(place):
    graph.pull()
  return graph.pull()


def _graph(frame: Any, *filters: tuple[str, str]) -> av.filter.Graph:
  """Return a chain of (filter, its arguments) for frames like this one."""
  graph = av.filter.Graph()
  graph.threads = 1
  source = graph.add_buffer(
    width=frame.width,
    height=frame.height,
    format=frame.format,
    time_base=frame.time_base,
  )
  chain = [graph.add(name, arguments) for name, arguments in filters]
  graph.link_nodes(source, *chain, graph.add('buffersink')).configure()
  return graph


def _layout(frame: Any) -> tuple[int, int, str]:
  return frame.width, frame.height, frame.format.name
