"""A record of a source and the example that it becomes.

Pixels are uint8 RGB, 0 to 255, channels last, from the decoder to the batch.
"""

import dataclasses
from typing import Any

import numpy as np

from phenaki_jax.errors import UserError

CLIP = 'clip'
IMAGE = 'image'


class DecodeError(UserError):
  """A record that cannot be used.

  Attributes:
    reason: short name under which such records are counted, for example
      'truncated_file'.
    detail: message of the decoder.
  """

  def __init__(self, reason: str, detail: str = ''):
    super().__init__(f'{reason}: {detail}' if detail else reason)
    self.reason = reason
    self.detail = detail


class EmptySplitError(UserError):
  """A split in which no source has an example of a kind."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class MediaInfo:
  """Information from decoding a whole record.

  Attributes:
    content_hash: SHA-256 of the encoded bytes, in hexadecimal.
    width, height: in pixels; 0 if examples are rendered at any size.
    num_frames: decoded frames; 1 for an image.
    duration: seconds from the first frame to the end of the last; 0 for an
      image.
  """

  content_hash: str
  width: int = 0
  height: int = 0
  num_frames: int = 1
  duration: float = 0.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record:
  """The metadata of one example, which is not decoded yet.

  Attributes:
    key: name of the record, unique within its source.
    kind: 'clip' or 'image'.
    caption: as given in the metadata.
    path: file that holds the record, relative to the folder of the source.
    offset: of the first byte in that file; for StoryWorld, the index.
    size: in bytes; -1 means up to the end of the file.
    columns: further metadata by column, for the filters.
    fault: why the source reports the record as unusable; empty if it is
      usable.
    detail: where the fault is: the metadata file and the row.
    start_frame, end_frame: the frames [start, end) of its file that the clip
      is, a scene of a longer film; an end of 0 means the whole file.
    info: of the whole file; None before the record was decoded.
  """

  key: str
  kind: str
  caption: str
  path: str = ''
  offset: int = 0
  size: int = -1
  columns: dict[str, Any] = dataclasses.field(default_factory=dict)
  fault: str = ''
  detail: str = ''
  start_frame: int = 0
  end_frame: int = 0
  info: MediaInfo | None = None

  def own_info(self, info: MediaInfo) -> MediaInfo:
    """Return the information of the frames of the clip itself.

    Args:
      info: of the whole file. A film has a constant frame rate.
    """
    if not self.end_frame:
      return info
    frames = self.end_frame - self.start_frame
    duration = info.duration * frames / info.num_frames
    return dataclasses.replace(info, num_frames=frames, duration=duration)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExampleRequest:
  """The size and the frames that are requested of a record.

  Attributes:
    size: height and width, in pixels.
    frames: frames of a clip, 1 + k * tubelet.
    fps: frames per second.
    tubelet: frames per latent frame; a shorter video gives the largest
      1 + k * tubelet frames that it has.
    position: start of a clip, in [0, 1): 0 is the earliest start, 1 the
      latest that still fills all frames.
    context_frames: frames before a scene with which its clip starts, if the
      film has as many; 0 requests a clip within the scene.
    depth: whether the depth of a clip is wanted, which only StoryWorld knows.
    history: most earlier scenes of its film that come with a clip.
  """

  size: tuple[int, int]
  frames: int
  fps: float
  tubelet: int = 1
  position: float = 0.0
  context_frames: int = 0
  depth: bool = False
  history: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class EarlierScene:
  """A scene before that of a clip: its first frame, [H, W, 3], and caption."""

  frame: np.ndarray
  caption: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Example:
  """One decoded example.

  Attributes:
    pixels: uint8 RGB, [T, H, W, 3] of a clip, [H, W, 3] of an image.
    caption: text that describes it.
    num_frames: number of leading frames that are not padding.
    context_frames: number of leading frames of an earlier scene.
    depth: uint8 [T, H, W] of a clip, 255 is near; None if it is not known.
    history: earlier scenes, in the order of their story.
  """

  pixels: np.ndarray
  caption: str
  num_frames: int = 1
  context_frames: int = 0
  depth: np.ndarray | None = None
  history: tuple[EarlierScene, ...] = ()
