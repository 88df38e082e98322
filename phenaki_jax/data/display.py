"""Conversion of decoded frames to RGB, as a player shows them.

Pixel aspect ratio, rotation, mirroring and interlacing are applied. Frames in
high dynamic range (PQ and HLG of ITU-R BT.2100) are tone-mapped. A frame that
cannot be shown correctly raises a DecodeError with a reason.
"""

import dataclasses
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
_MATRICES = (0, 1, 2, 3, 4, 5, 6, 7, 9, 10)
_HDR = (tone_mapping.PQ, tone_mapping.HLG)
_TRANSFERS = (0, 1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 14, 15, *_HDR)
# A degree of rotation is not visible.
_MAX_SLANT = 0.0175


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


class Display:
  """Shows the frames of one stream. It is not shared between threads."""

  def __init__(self, stream: Any):
    self._aspect = (
      stream.sample_aspect_ratio
      or stream.codec_context.sample_aspect_ratio
      or Fraction(1)
    )
    self._reformatter = av.video.reformatter.VideoReformatter()
    self._placed: dict[tuple[int, ...], Geometry] = {}

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
    key = (frame.width, frame.height, frame.colorspace, transfer)
    if key not in self._placed:
      self._placed[key] = self.geometry(frame)
    placed = self._placed[key]
    if frame.interlaced_frame:
      frame = _deinterlaced(shown)
    if transfer in _HDR:
      pixels = tone_mapping.to_sdr(
        self._rgb(frame, placed, 'rgb48le'),
        transfer=transfer,
        primaries=shown.frame.color_primaries,
      )
    else:
      pixels = self._rgb(frame, placed, 'rgb24')
    pixels = pixels[
      :: -1 if placed.flip_y else 1, :: -1 if placed.flip_x else 1
    ]
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    return transforms.fit(picture, size)

  def _rgb(self, frame: Any, placed: Geometry, name: str) -> np.ndarray:
    is_hd = frame.width >= 1280 or frame.height >= 720
    if name == 'rgb48le' and _is_yuv(frame.format):
      # The conversion to RGB would repeat subsampled colours.
      frame = self._reformatter.reformat(frame, format='yuv444p12le', threads=1)
    is_bt709 = (
      is_hd and frame.colorspace == _UNSPECIFIED and _is_yuv(frame.format)
    )
    if placed.width != frame.width:
      matrix = 'bt709' if is_bt709 else 'auto'
      swap = [('transpose', 'cclock_flip')] if placed.swap else []
      width, height = placed.size
      scale = ('scale', f'{width}:{height}:in_color_matrix={matrix}')
      rgb = _filtered([frame], *swap, scale, ('format', name))
      return rgb.to_ndarray()
    # By default the scaler starts a thread per core for every frame.
    rgb = self._reformatter.reformat(
      frame,
      format=name,
      src_colorspace=_BT709 if is_bt709 else None,
      interpolation=av.video.reformatter.Interpolation.BICUBIC,
      threads=1,
    )
    pixels = rgb.to_ndarray()
    return pixels.transpose(1, 0, 2) if placed.swap else pixels


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
  graph = av.filter.Graph()
  graph.threads = 1
  source = graph.add_buffer(
    width=frames[0].width,
    height=frames[0].height,
    format=frames[0].format,
    time_base=frames[0].time_base,
  )
  chain = [graph.add(name, arguments) for name, arguments in filters]
  graph.link_nodes(source, *chain, graph.add('buffersink')).configure()
  for frame in (*frames, None):
    graph.push(frame)
  for _ in range(place):
    graph.pull()
  return graph.pull()


def _layout(frame: Any) -> tuple[int, int, str]:
  return frame.width, frame.height, frame.format.name
