"""What a record, an example and a batch contain, and the check at the border.

Pixels are uint8 RGB, 0 to 255, channels last, from the decoder to the batch.
A batch is a plain nested dict of numpy arrays:

    {'clips':  {'pixels':         uint8 [B, T, H, W, 3],
                'text':           int32 [B, L],
                'num_frames':     int32 [B],
                'context_frames': int32 [B]},
     'images': {'pixels':         uint8 [B, H, W, 3],
                'text':           int32 [B, L]}}

`num_frames` counts the leading frames that are real (1 + 2k); the rest repeat
the last of them. `context_frames` counts the leading frames that belong to an
earlier scene than the text speaks of; 0 means none. A part without examples
is absent. `check_batch` is the one place where all this is enforced; every
batch passes it on its way out of the loader.
"""

import dataclasses
from typing import Any, TypeAlias

import numpy as np

from phenaki_jax.errors import UserError

CLIP = 'clip'
IMAGE = 'image'

Batch: TypeAlias = dict[str, dict[str, np.ndarray]]
"""A batch as described above."""

_KEYS = {
  'clips': {'pixels', 'text', 'num_frames', 'context_frames'},
  'images': {'pixels', 'text'},
}


class DecodeError(UserError):
  """Say why a record cannot be used.

  Attributes:
    reason: short and countable, such as 'truncated_file'.
    detail: what the decoder said.
  """

  def __init__(self, reason: str, detail: str = ''):
    super().__init__(f'{reason}: {detail}' if detail else reason)
    self.reason = reason
    self.detail = detail


class EmptySplitError(UserError):
  """Report that a manifest holds no example of a kind in a split."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Facts:
  """Hold what a full decode of a record found.

  Attributes:
    content_hash: SHA-256 of the encoded bytes, in hexadecimal.
    width, height: in pixels; 0 where examples are made in any size.
    num_frames: that could be decoded; 1 for an image.
    duration: in seconds, from the first frame to the end of the last; 0 for
      an image.
  """

  content_hash: str
  width: int = 0
  height: int = 0
  num_frames: int = 1
  duration: float = 0.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record:
  """Hold what is known of one example before anything is decoded.

  Attributes:
    key: names the record within its source.
    kind: 'clip' or 'image'.
    caption: as it stands in the metadata.
    path: of the file that holds it, relative to the source's folder.
    offset: of its first byte in that file; for StoryWorld, the index.
    size: in bytes; -1 reads to the end of the file.
    columns: further metadata by column, for the filters.
    fault: why the source itself calls the record unusable; empty if not.
    facts: what a full decode found; None before there was one.
  """

  key: str
  kind: str
  caption: str
  path: str = ''
  offset: int = 0
  size: int = -1
  columns: dict[str, Any] = dataclasses.field(default_factory=dict)
  fault: str = ''
  facts: Facts | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class View:
  """Say which pixels of a record are wanted.

  Attributes:
    size: height and width, in pixels.
    frames: length of a clip, 1 + 2k.
    fps: frames per second.
    position: where a clip starts, in [0, 1): 0 is the earliest, 1 the latest
      start that still fills all the frames.
  """

  size: tuple[int, int]
  frames: int
  fps: float
  position: float = 0.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Example:
  """Hold one decoded example.

  Attributes:
    pixels: uint8 RGB, [T, H, W, 3] of a clip, [H, W, 3] of an image.
    caption: text that describes it.
    num_frames: leading frames that are real.
    context_frames: leading frames of an earlier scene.
  """

  pixels: np.ndarray
  caption: str
  num_frames: int = 1
  context_frames: int = 0


def check_batch(batch: Batch, *, size: tuple[int, int], frames: int) -> Batch:
  """Check a batch against the schema, and return it unchanged.

  Args:
    batch: what the loader is about to hand out.
    size: height and width that every pixel array must have.
    frames: length that every clip must have.

  Raises:
    UserError: a part, key, dtype, shape or count is not as documented.
  """
  if not batch or not set(batch) <= set(_KEYS):
    raise UserError(f'a batch holds clips, images or both, not {sorted(batch)}')
  for part, arrays in batch.items():
    if set(arrays) != _KEYS[part]:
      raise UserError(
        f'{part} must hold {sorted(_KEYS[part])}, not {sorted(arrays)}'
      )
    rows = len(arrays['pixels'])
    if not rows:
      raise UserError(f'{part} is empty; leave an empty part out')
    inner = (frames, *size, 3) if part == 'clips' else (*size, 3)
    _check(f'{part}.pixels', arrays['pixels'], np.uint8, (rows, *inner))
    length = arrays['text'].shape[-1]
    _check(f'{part}.text', arrays['text'], np.int32, (rows, length))
    if arrays['text'].min() < 0 or not arrays['text'].any(axis=1).all():
      raise UserError(
        f'{part}.text holds a negative id or a row without an end mark'
      )
  if 'clips' in batch:
    clips = batch['clips']
    rows = len(clips['pixels'])
    for name in ('num_frames', 'context_frames'):
      _check(f'clips.{name}', clips[name], np.int32, (rows,))
    valid, context = clips['num_frames'], clips['context_frames']
    if (valid < 1).any() or (valid > frames).any() or (valid % 2 == 0).any():
      raise UserError(
        f'clips.num_frames must be 1 + 2k in 1..{frames}, not {valid.tolist()}'
      )
    if (context < 0).any() or (context >= valid).any():
      raise UserError(
        'clips.context_frames must be 0 or less than num_frames, not '
        f'{context.tolist()}'
      )
  return batch


def _check(
  name: str, array: np.ndarray, dtype: type, shape: tuple[int, ...]
) -> None:
  if array.dtype != dtype or array.shape != shape:
    raise UserError(
      f'{name} must be {np.dtype(dtype)} {list(shape)}, not {array.dtype} '
      f'{list(array.shape)}'
    )
