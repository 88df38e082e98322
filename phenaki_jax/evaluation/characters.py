"""Whether frames show the characters that they should (StoryGAN's scores).

Papers report one F1 and do not say which; both are given here. StoryViz, whose
code most of them use, pools all characters (micro).
"""

import dataclasses
import math

import numpy as np
from jaxtyping import Bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class CharacterScores:
  """How often characters are right.

  Attributes:
    micro_f1: F1 of all pairs of a frame and a character together, in [0, 1];
      nan if no character is shown or found.
    macro_f1: mean of the F1 of each character; those that are neither shown nor
      found are left out.
    frame_accuracy: share of the frames whose characters are all right.
    frames: number of frames.
    f1: of each character; nan for those that are left out.
  """

  micro_f1: float
  macro_f1: float
  frame_accuracy: float
  frames: int
  f1: tuple[float, ...]


def score_characters(
  found: Bool[np.ndarray, 'frames characters'],
  shown: Bool[np.ndarray, 'frames characters'],
) -> CharacterScores:
  """Compare what a classifier finds in frames with what they should show.

  Args:
    found: whether the classifier finds each character.
    shown: the labels.

  Raises:
    ValueError: there is no frame.
  """
  if not len(shown):
    raise ValueError('there is no frame to score')
  both = (found & shown).sum(0)
  either = found.sum(0) + shown.sum(0)
  each = tuple(
    2 * int(hits) / int(count) if count else math.nan
    for hits, count in zip(both, either, strict=True)
  )
  known = [value for value in each if not math.isnan(value)]
  return CharacterScores(
    micro_f1=2 * int(both.sum()) / int(either.sum()) if known else math.nan,
    macro_f1=sum(known) / len(known) if known else math.nan,
    frame_accuracy=float((found == shown).all(1).mean()),
    frames=len(shown),
    f1=each,
  )


def to_markdown(scores: CharacterScores, names: tuple[str, ...]) -> str:
  """Return the scores as a table."""
  rows = [
    ('F1, all characters together (micro)', scores.micro_f1),
    ('F1, mean of the characters (macro)', scores.macro_f1),
    ('frames whose characters are all right', scores.frame_accuracy),
    *((f'F1 of {name}', f1) for name, f1 in zip(names, scores.f1, strict=True)),
  ]
  lines = [f'| {scores.frames} frames | score |', '| --- | --- |']
  return '\n'.join([*lines, *(f'| {name} | {x:.3f} |' for name, x in rows)])
