"""The earlier scenes of clips, as arrays of a batch."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

PREFIX = 'history_'


def shapes(
  rows: int,
  slots: int,
  *,
  size: tuple[int, int],
  grid: tuple[int, ...] | None,
  text_length: int,
  text_width: int = 0,
) -> dict[str, tuple[type, tuple[int, ...]]]:
  """Return the dtype and the shape of each array; none without slots.

  Args:
    rows: clips of the batch.
    slots: earlier scenes of a clip.
    size: height and width, in pixels.
    grid: rows and columns of tokens, for frames that are tokens; or None.
    text_length: token ids of a caption.
    text_width: width of the vectors of captions, if the batch has them.
  """
  if not slots:
    return {}
  texts = (rows, slots, text_length)
  frames: dict[str, tuple[type, tuple[int, ...]]] = {
    'history_pixels': (np.uint8, (rows, slots, *size, 3))
  }
  if grid:
    frames = {'history_tokens': (np.int32, (rows, slots, *grid))}
  found: dict[str, tuple[type, tuple[int, ...]]] = {
    **frames,
    'history_text': (np.int32, texts),
    'history_count': (np.int32, (rows,)),
  }
  if text_width:
    found['history_text_vectors'] = (np.float32, (*texts, text_width))
  return found


def fill(
  name: str,
  examples: Sequence[Any],
  array: np.ndarray,
  texts: Callable[[str], np.ndarray] | None,
) -> None:
  """Fill one of the arrays; slots without a scene stay zero.

  Args:
    name: of the array.
    examples: the `schema.Example` of each row, or `TokenExample`.
    array: zeros.
    texts: makes an array of a caption, for arrays of captions.
  """
  for row, example in enumerate(examples):
    if name == 'history_count':
      array[row] = len(example.history)
      continue
    for slot, scene in enumerate(example.history):
      array[row, slot] = texts(scene.caption) if texts else scene.frame


def check(batch: dict[str, np.ndarray]) -> None:
  """Raise a ValueError if more scenes are counted than there are slots."""
  count: Int[np.ndarray, 'B'] | None = batch.get('history_count')
  if count is None:
    return
  slots = batch['history_text'].shape[1]
  if count.min() < 0 or count.max() > slots:
    raise ValueError(
      f'clips.history_count must be 0 to {slots}, not {count.tolist()}'
    )
