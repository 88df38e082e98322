import dataclasses
import logging

import numpy as np
import pytest

from phenaki_jax.errors import UserError
from phenaki_jax.sampling.config import SamplingSettings
from phenaki_jax.sampling.scored_clips import ScoredClips
from phenaki_jax.stories.generate import generate, generate_batch
from phenaki_jax.stories.judge import Verdict
from phenaki_jax.stories.seeds import candidate_seed, scene_keys
from phenaki_jax.stories.story import ModelDefaults, Scene, Story, resolve

DEFAULTS = ModelDefaults(
  size=(8, 8),
  fps=8.0,
  context_frames=5,
  clip_frames=9,
  tubelet=2,
)


class Maker:
  """Its clips show their seed, modulo 256, and score by what they show."""

  clip_frames = 9

  def __init__(self, critic=True):
    self.critic = critic

  def frames_of(self, num_latent):
    return 1 + (num_latent - 1) * 2

  def clips(self, prompts, *, size, seeds, settings, context=None):
    grey = np.array(seeds).astype(np.uint8)
    shape = (len(prompts), 9, *size, 3)
    return np.broadcast_to(grey[:, None, None, None, None], shape).copy()

  def scored_clips(self, prompts, **options):
    frames = self.clips(prompts, **options)
    shown = frames[:, -1, 0, 0, 0].astype(float)
    critic = -shown if self.critic else None
    return ScoredClips(frames=frames, likelihood=shown, critic=critic)


def _story(count=5, **story):
  scenes = (
    Scene(prompt='a', frames=9),
    Scene(prompt='it turns', frames=6, candidates=count),
  )
  return resolve(Story(scenes=scenes, **story), DEFAULTS)


def _scenes(story, maker=None, **options):
  parts = list(generate(maker or Maker(), story, **options))
  return [
    np.concatenate([part.frames for part in parts if part.scene == i])
    for i in range(2)
  ]


def _alone(story, index):
  """Return the second scene with the seed of a candidate, and no others."""
  first, second = story.scenes
  seed = candidate_seed(second.seed, 1, index)
  second = dataclasses.replace(second, seed=seed, candidates=1)
  return _scenes(dataclasses.replace(story, scenes=(first, second)))[1]


def test_the_best_candidate_is_one_that_its_seed_gives(caplog):
  caplog.set_level(logging.INFO)
  story = _story(choose='likelihood')
  first, second = _scenes(story)
  several = [_alone(story, index) for index in range(5)]
  np.testing.assert_array_equal(first, _scenes(_story(1))[0])
  # Two windows of four and two frames.
  scores = [one[:, 0, 0, 0].mean() for one in several]
  best = int(np.argmax(scores))
  np.testing.assert_array_equal(second, several[best])
  seed = candidate_seed(0, 1, best)
  assert f'candidate {best + 1} of 5, with the seed {seed}' in caplog.text
  worst = _scenes(dataclasses.replace(story, choose='critic'))[1]
  np.testing.assert_array_equal(worst, several[int(np.argmin(scores))])


def test_a_judge_sees_the_prompts_of_the_take_and_the_frames():
  asked = []

  def judge(prompts, frames):
    asked.append((list(prompts), frames.shape))
    return Verdict(right={'colour': len(asked) == 3})

  story = _story(choose='oracle')
  second = _scenes(story, judge=judge)[1]
  np.testing.assert_array_equal(second, _alone(story, 2))
  assert asked == [(['a', 'it turns'], (6, 8, 8, 3))] * 5


@pytest.mark.parametrize(
  ('choice', 'words'),
  [('critic', 'the model has no critic'), ('oracle', 'cannot be read')],
)
def test_scores_that_do_not_exist_are_refused(choice, words):
  with pytest.raises(UserError, match=words):
    _scenes(_story(choose=choice), Maker(critic=False))


def test_a_batch_has_no_candidates():
  with pytest.raises(UserError, match='generate it alone'):
    list(generate_batch(Maker(), [_story()]))


def test_candidates_and_their_choice_are_part_of_the_key():
  keys = [
    scene_keys(story, {})
    for story in (
      _story(1),
      _story(1, choose='critic'),
      _story(),
      _story(choose='critic'),
    )
  ]
  assert keys[0] == keys[1]
  assert len({key[1] for key in keys}) == 3
  assert len({key[0] for key in keys}) == 1


def test_a_long_scene_has_no_candidates():
  with pytest.raises(UserError, match='at most 2000 frames'):
    scene = Scene(prompt='a', frames=3000, candidates=2)
    resolve(Story(scenes=(scene,)), DEFAULTS)


def test_real_clips_are_those_without_scores(tiny_sampler):
  options = {
    'size': (16, 16),
    'seeds': (1,),
    'settings': SamplingSettings(steps=3),
  }
  scored = tiny_sampler.scored_clips(['a red circle'], **options)
  clips = tiny_sampler.clips(['a red circle'], **options)
  np.testing.assert_array_equal(scored.frames, clips)
  # Of 16 codes; the guidance sharpens some predictions.
  assert scored.likelihood.shape == (1,)
  assert -20 < scored.likelihood[0] < 0
  assert scored.critic is None
