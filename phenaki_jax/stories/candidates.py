"""Choose the best of several candidates of a scene."""

import logging
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from phenaki_jax.errors import UserError
from phenaki_jax.sampling.scored_clips import ScoredClips
from phenaki_jax.stories.judge import Judge
from phenaki_jax.stories.story import Story

_LOG = logging.getLogger(__name__)


def choose(
  candidates: Iterable[tuple[int, list[np.ndarray], list[ScoredClips]]],
  story: Story,
  number: int,
  judge: Judge | None,
) -> Iterator[np.ndarray]:
  """Yield the frames of the best candidate of a scene, window by window.

  The first of equally good ones is taken. Its seed is logged: a scene that has
  this seed and no candidates has the same frames.

  Args:
    candidates: the seed of each, and for each window its new frames and the
      scores of its clip.
    story: a resolved story.
    number: number of the scene, from 0.
    judge: for a story that chooses by 'oracle'.

  Raises:
    UserError: there is no critic or oracle, which the story asks for.
  """
  prompts = story.prompts_until(number)
  best: tuple[float, int, int, list[np.ndarray]] | None = None
  count = 0
  for seed, parts, clips in candidates:
    count += 1
    score = _score(story.choose, prompts, parts, clips, judge)
    if best is None or score > best[0]:
      best = score, count, seed, parts
  assert best is not None
  _LOG.info(
    'Scene %d: candidate %d of %d, with the seed %d, has the best score of '
    '%s, %.4g.',
    *(number + 1, best[1], count, best[2], story.choose, best[0]),
  )
  yield from best[3]


def _score(
  choice: str,
  prompts: Sequence[str],
  parts: Sequence[np.ndarray],
  clips: Sequence[ScoredClips],
  judge: Judge | None,
) -> float:
  """Return the score of a candidate; windows count by their new frames."""
  if choice == 'oracle':
    if judge is None:
      raise UserError(
        'choose is oracle, but the facts of this model cannot be read from '
        'frames; use likelihood'
      )
    return judge(prompts, np.concatenate(list(parts))).score
  scores = [
    one.likelihood if choice == 'likelihood' else one.critic for one in clips
  ]
  if any(score is None for score in scores):
    raise UserError(
      'choose is critic, but the model has no critic; use likelihood, or train '
      'a critic with --set generator.critic=token'
    )
  weights = [len(frames) for frames in parts]
  values = [float(score[0]) for score in scores if score is not None]
  return float(np.average(values, weights=weights))
