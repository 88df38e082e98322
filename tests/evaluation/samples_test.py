import numpy as np
import pytest

from phenaki_jax.evaluation.samples import SampleEvaluator


def _sample(state, prompts, seeds):
  """Fill each clip with its state, the length of its prompt and its seed."""
  clips = np.zeros((len(prompts), 3, 8, 10, 3), np.uint8)
  for clip, prompt, seed in zip(clips, prompts, seeds, strict=True):
    clip[:] = (state, len(prompt), seed)
  return clips


def test_video_and_sheet_show_all_clips():
  evaluator = SampleEvaluator(
    sample=_sample, prompts=['a', 'bbb'], every=2, seed=5
  )
  found = dict(evaluator.run(10, 7))
  video = found['samples']
  assert video.shape == (3, 8, 20, 3)
  assert video[0, 0, 0].tolist() == [7, 1, 5]
  assert video[2, 7, 19].tolist() == [7, 3, 6]
  sheet = found['samples_sheet']
  assert sheet.dtype == np.uint8
  assert (sheet == [7, 1, 5]).all(-1).any()
  assert (sheet == [7, 3, 6]).all(-1).any()


def test_samples_are_the_same_at_every_run():
  evaluator = SampleEvaluator(sample=_sample, prompts=['a'], every=2)
  first, second = (dict(evaluator.run(4, 1)) for _ in range(2))
  np.testing.assert_array_equal(first['samples'], second['samples'])


def test_no_prompts_raises():
  with pytest.raises(ValueError, match='no prompts'):
    SampleEvaluator(sample=_sample, prompts=[], every=1)
