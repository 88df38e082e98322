"""The arrays of a batch: their names, shapes and dtypes.

A batch is a nested dict of numpy arrays, part -> name -> array:

    clips:   pixels          uint8 [B, T, H, W, 3]
             text            int32 [B, L]: token ids, an end mark, zeros
             num_frames      int32 [B]: leading frames that are not padding,
                             1 + k * tubelet; padding repeats the last of them
             context_frames  int32 [B]: leading frames of an earlier scene
                             than the caption describes; 0 means none
             depth           uint8 [B, T, H, W]: relative inverse depth, 255 is
                             near; absent from a run that does not use it
    images:  pixels          uint8 [B, H, W, 3]
             text            int32 [B, L]

A batch of a cache of tokens holds tokens instead of pixels:

    clips:   tokens          int32 [B, t, h, w]
             reencoded       int32 [B, t, h, w]: as `tokens`, but those of the
                             context are encoded again from decoded frames;
                             absent from a run that does not use them
             history_tokens  int32 [B, S, h, w]: instead of `history_pixels`,
                             see below
    images:  tokens          int32 [B, h, w]

A batch of a cache of text vectors also holds, in each part:

             text_vectors    float32 [B, L, E]: of the ids in `text`, then zeros

Clips that come with earlier scenes of their stories also have, for S slots:

             history_pixels  uint8 [B, S, H, W, 3]: first frames, in order
             history_text    int32 [B, S, L]: captions, as `text`; with
                             `history_text_vectors` where there are vectors
             history_count   int32 [B]: leading slots that are not padding,
                             which is zero

A part without examples is absent. The parts of a batch that is split over
devices may end with padding, which repeats the first examples of the part.
"""

import dataclasses
from collections.abc import Mapping
from typing import TypeAlias

import numpy as np

from phenaki_jax.data import config as config_lib
from phenaki_jax.data import history as history_lib
from phenaki_jax.data import mixture
from phenaki_jax.errors import UserError

Batch: TypeAlias = dict[str, dict[str, np.ndarray]]
"""A batch as described above."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ArraySpec:
  """The shape and the dtype of one array."""

  shape: tuple[int, ...]
  dtype: np.dtype


BatchSpec: TypeAlias = dict[str, dict[str, ArraySpec]]
"""The spec of every array of a batch, by part and name."""


def composition(
  data: config_lib.DataConfig, *, tubelet: int
) -> mixture.Composition:
  """Return the numbers of clips and images of every batch.

  Args:
    data: the examples of the batch.
    tubelet: frames per latent frame of the tokenizer.
  """
  return mixture.compose(
    batch_size=data.batch_size,
    image_share=data.image_share,
    row_multiple=data.row_multiple,
    latent_frames=1 + (data.frames - 1) // tubelet,
  )


def batch_spec(
  data: config_lib.DataConfig,
  *,
  tubelet: int,
  text_length: int,
  grid: tuple[int, int, int] | None = None,
  reencoded: bool = False,
  text_width: int = 0,
  multiple: int = 1,
  depth: bool = False,
  history: int = 0,
) -> BatchSpec:
  """Describe every array of a global batch.

  Args:
    data: the examples of the batch.
    tubelet: frames per latent frame of the tokenizer.
    text_length: token ids of a caption.
    grid: token grid of a clip, for a batch of tokens instead of pixels.
    reencoded: whether a batch of tokens has `reencoded`.
    text_width: E, for a batch with text vectors.
    multiple: pad each part to a multiple of this number of examples.
    depth: whether clips have their depth.
    history: S, earlier scenes of a clip; 0 for a batch without them.

  Raises:
    UserError: data.frames or data.context_frames is not 1 + k * tubelet.
  """
  counts = {
    part: -(-count // multiple) * multiple
    for part, count in composition(data, tubelet=tubelet).counts.items()
  }
  parts: BatchSpec = {}
  if 'clips' in counts:
    for name in ['frames'] + ['context_frames'] * data.has_continuations:
      frames = getattr(data, name)
      if (frames - 1) % tubelet:
        raise UserError(
          f'data.{name} is {frames}; with a tubelet of {tubelet} it must be '
          f'1 + k * {tubelet} frames: 1, {1 + tubelet}, {1 + 2 * tubelet}, ...'
        )
    rows = counts['clips']
    media = {'pixels': _array(np.uint8, rows, data.frames, *data.size, 3)}
    if grid:
      names = ('tokens', 'reencoded')[: 1 + reencoded]
      media = {name: _array(np.int32, rows, *grid) for name in names}
    if depth:
      media['depth'] = _array(np.uint8, rows, data.frames, *data.size)
    parts['clips'] = {
      **media,
      'text': _array(np.int32, rows, text_length),
      'num_frames': _array(np.int32, rows),
      'context_frames': _array(np.int32, rows),
    }
  if 'images' in counts:
    rows = counts['images']
    media = {'pixels': _array(np.uint8, rows, *data.size, 3)}
    if grid:
      media = {'tokens': _array(np.int32, rows, *grid[1:])}
    parts['images'] = {
      **media,
      'text': _array(np.int32, rows, text_length),
    }
  if text_width:
    for part in parts.values():
      shape = (*part['text'].shape, text_width)
      part['text_vectors'] = _array(np.float32, *shape)
  if 'clips' in parts:
    arrays = history_lib.shapes(
      counts['clips'],
      history,
      size=data.size,
      grid=grid[1:] if grid else None,
      text_length=text_length,
      text_width=text_width,
    )
    for name, (dtype, shape) in arrays.items():
      parts['clips'][name] = _array(dtype, *shape)
  return parts


def process_spec(spec: BatchSpec, process_count: int) -> BatchSpec:
  """Return the spec of the rows that each of several processes loads.

  Raises:
    UserError: a part cannot be divided equally among the processes.
  """
  parts: BatchSpec = {}
  for part, arrays in spec.items():
    parts[part] = {}
    for name, array in arrays.items():
      rows, *inner = array.shape
      if rows % process_count:
        raise UserError(
          f'a batch has {rows} {part}, which {process_count} processes cannot '
          'share equally; change data.batch_size or data.image_share'
        )
      shape = (rows // process_count, *inner)
      parts[part][name] = dataclasses.replace(array, shape=shape)
  return parts


def check_batch(batch: Batch, spec: BatchSpec, *, tubelet: int) -> Batch:
  """Check a batch against its spec, and return it unchanged.

  Args:
    batch: the arrays.
    spec: their expected names, shapes and dtypes.
    tubelet: frames per latent frame of the tokenizer.

  Raises:
    ValueError: an array is missing, unexpected, of another shape or dtype, or
      has values that its spec does not allow.
  """
  expected, found = _flatten(spec), _flatten(batch)
  if found != expected or batch.keys() != spec.keys():
    raise ValueError(f'a batch must hold {expected}, not {found}')
  for part, arrays in batch.items():
    history_lib.check(arrays)
    if 'text' in arrays:
      text = arrays['text']
      if text.min() < 0 or not text.any(axis=1).all():
        raise ValueError(
          f'{part}.text holds a negative id or a row without an end mark'
        )
    if 'num_frames' in arrays:
      valid, context = arrays['num_frames'], arrays['context_frames']
      if 'pixels' in arrays:
        most = arrays['pixels'].shape[1]
      else:
        most = 1 + (arrays['tokens'].shape[1] - 1) * tubelet
      is_valid = (valid >= 1) & (valid <= most) & ((valid - 1) % tubelet == 0)
      if not is_valid.all():
        raise ValueError(
          f'{part}.num_frames must be 1 + k * {tubelet} and at most {most}, '
          f'not {valid.tolist()}'
        )
      if context.min() < 0 or (context >= valid).any():
        raise ValueError(
          f'{part}.context_frames must be 0 or less than num_frames, not '
          f'{context.tolist()}'
        )
  return batch


def _flatten(
  parts: Mapping[str, Mapping[str, ArraySpec | np.ndarray]],
) -> dict[str, str]:
  return {
    f'{part}.{name}': f'{array.dtype} {list(array.shape)}'
    for part, arrays in parts.items()
    for name, array in arrays.items()
  }


def _array(dtype: type, *shape: int) -> ArraySpec:
  return ArraySpec(shape=shape, dtype=np.dtype(dtype))
