"""Each limit refuses what is beyond it, in one sentence, and nothing else."""

import dataclasses

import pytest

from phenaki_jax.errors import UserError
from phenaki_jax.sampling.config import SamplingSettings
from phenaki_jax.serving.limits import Limits, Programs, check
from phenaki_jax.stories.story import ModelDefaults, build, resolve

DEFAULTS = ModelDefaults(
  size=(16, 16),
  fps=8.0,
  context_frames=5,
  clip_frames=9,
  tubelet=2,
  settings=dataclasses.replace(SamplingSettings(), steps=4),
)
LIMITS = Limits(prompt=20, scenes=3, frames=30, steps=10, work=40)


def _check(**values):
  story = {'scenes': [{'prompt': 'a red circle'}], **values}
  check(resolve(build(story), DEFAULTS), LIMITS, DEFAULTS)


@pytest.mark.parametrize(
  ('values', 'sentence'),
  [
    ({'size': [8, 16]}, r'size is \[8, 16\].*\[16, 16\]'),
    ({'context_frames': 3}, 'context_frames is 3.* 5'),
    ({'context': 'tokens'}, 'context is tokens.*leave context out'),
    ({'scenes': [{'prompt': 'x' * 21}]}, 'scene 1: .* 21.*20 characters'),
    ({'scenes': [{'prompt': 'x'}] * 4}, '4.*at most 3 scenes'),
    ({'scenes': [{'prompt': 'x', 'frames': 31}]}, '31.*30 frames'),
    ({'scenes': [{'prompt': 'x', 'start': '/etc/passwd'}]}, 'scene 1 has a'),
    ({'scenes': [{'prompt': 'x', 'context_frames': 3}]}, 'context_frames is 3'),
    ({'scenes': [{'prompt': 'x', 'candidates': 2}]}, '2 candidates'),
    ({'scenes': [{'prompt': 'x', 'negative': 'y' * 21}]}, 'negative text.*20'),
    ({'scenes': [{'prompt': 'x'}], 'style': 'y' * 20}, 'prompt has 23.*20'),
    ({'candidates': 2}, '2 candidates'),
    ({'scenes': [{'prompt': 'x', 'steps': 11}]}, 'steps is 11.* 10'),
    # 30 frames of 3 scenes take up to 11 windows of 4 steps.
    ({'scenes': [{'prompt': 'x', 'frames': 30, 'steps': 9}]}, '72.*44'),
  ],
)
def test_beyond_a_limit_is_refused(values, sentence):
  with pytest.raises(UserError, match=sentence):
    _check(**values)


@pytest.mark.parametrize('frames', [30, 31, 1000])
def test_stories_of_the_own_steps_may_have_all_frames(frames):
  limits = dataclasses.replace(LIMITS, frames=frames)
  lengths = [frames - 18, 9, 9]
  scenes = [{'prompt': 'x', 'frames': length} for length in lengths]
  check(resolve(build({'scenes': scenes}), DEFAULTS), limits, DEFAULTS)


def test_number_of_compiled_combinations_is_bounded():
  programs = Programs(2, DEFAULTS.settings)

  def story(**values):
    return resolve(build({'scenes': [{'prompt': 'a', **values}]}), DEFAULTS)

  # The model's own is always allowed, with any value that is an input.
  own = [story(), story(guidance=1.5, temperature=0.5), story(steps=4)]
  for one in (*own, story(steps=5), story(negative='a')):
    programs.check(one)
    programs.add(one)
  for one in (*own, story(steps=5), story(negative='b')):
    programs.check(one)
  for values in ({'steps': 6}, {'order': 'halton'}, {'guidance': 0}):
    with pytest.raises(UserError, match='at most 2 comb.*use steps 4'):
      programs.check(story(**values))


def test_at_the_limits_is_accepted():
  _check(scenes=[{'prompt': 'x' * 20, 'frames': 10}] * 3)
  _check(scenes=[{'prompt': 'x', 'frames': 16, 'steps': 10}])
  _check(size=[16, 16], context_frames=5)
