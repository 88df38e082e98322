import dataclasses

import pytest

from phenaki_jax.errors import UserError
from phenaki_jax.sampling.config import SamplingSettings
from phenaki_jax.stories.story import (
  ModelDefaults,
  Scene,
  Story,
  resolve,
  with_options,
)

DEFAULTS = ModelDefaults(
  size=(16, 16),
  fps=8.0,
  context_frames=5,
  clip_frames=9,
  tubelet=2,
  settings=SamplingSettings(steps=2),
)


def _story(*scenes, **story):
  scenes = tuple(
    Scene(**{'prompt': f'scene {i}', **scene}) for i, scene in enumerate(scenes)
  )
  return Story(scenes=scenes, **story)


def _resolved(*scenes, **story):
  return resolve(_story(*scenes, **story), DEFAULTS)


@pytest.mark.parametrize(
  ('context', 'nearest'), [(2, 3), (4, 5), (8, 7), (9, 7), (40, 7), (6, 7)]
)
def test_impossible_context_names_the_nearest_possible(context, nearest):
  with pytest.raises(ValueError, match=f'use {nearest}[.]'):
    _resolved({'frames': 3}, context_frames=context)


def test_lengths_in_seconds_frames_or_neither():
  story = _resolved({'seconds': 0.5}, {'frames': 7}, {}, fps=6)
  assert [scene.frames for scene in story.scenes] == [3, 7, 9]


def test_scene_shorter_than_a_frame_is_refused():
  with pytest.raises(ValueError, match='scene 2 lasts 0.01 seconds'):
    _resolved({'frames': 7}, {'seconds': 0.01})


def test_story_too_long_is_refused():
  with pytest.raises(ValueError, match='has 200000 frames; .* 100000'):
    _resolved({'frames': 100_000}, {'frames': 100_000})


def test_settings_of_a_scene_override_the_defaults():
  story = _resolved({}, {'guidance': 6, 'steps': 4, 'temperature': 0.5})
  first, second = map(story.settings, story.scenes)
  assert first == DEFAULTS.settings
  assert second == dataclasses.replace(
    first, guidance=6.0, steps=4, temperature=0.5
  )


def test_resolved_story_has_no_open_values_and_stays_as_it_is():
  story = _resolved({}, {'seconds': 2, 'seed': 4}, {'cut': True}, seed=7)
  assert story.size == (16, 16) and story.fps == 8.0
  assert story.context_frames == 5 and story.num_frames == 34
  assert [scene.cut for scene in story.scenes] == [True, False, True]
  assert [scene.seed for scene in story.scenes] == [7, 4, 7]
  assert resolve(story, DEFAULTS) == story
  other = dataclasses.replace(
    DEFAULTS, size=(32, 32), fps=4.0, settings=SamplingSettings()
  )
  assert resolve(story, other) == story


def test_options_replace_the_seed_and_fill_open_values():
  story = with_options(
    _story({'guidance': 2, 'frames': 4}, {'seconds': 0.5}, {}, seed=3),
    seed=5,
    frames=7,
    guidance=9.0,
    temperature=None,
    fps=4.0,
  )
  assert story.fps == 4
  assert story.seed == 5
  assert [scene.guidance for scene in story.scenes] == [2, 9, 9]
  assert [scene.frames for scene in story.scenes] == [4, None, 7]
  assert story.scenes[1].seconds == 0.5
  assert {scene.temperature for scene in story.scenes} == {None}


@pytest.mark.parametrize(
  ('options', 'words'),
  [
    ({'seed': -1}, 'seed must be a whole number from 0 to 4294967295, not -1'),
    ({'frames': 0}, 'frames must be a whole number from 1 to 100000, not 0'),
    ({'steps': 1001}, 'steps must be a whole number from 1 to 1000'),
    ({'guidance': -1.0}, 'guidance must be a number from 0 to 100, not -1.0'),
    ({'temperature': float('nan')}, 'temperature must be .* not nan'),
  ],
)
def test_bad_option_is_refused_in_a_sentence(options, words):
  with pytest.raises(UserError, match=words):
    with_options(_story({}), **options)


def test_model_that_no_story_file_could_describe_is_refused():
  defaults = dataclasses.replace(DEFAULTS, fps=1000.0)
  with pytest.raises(UserError, match='fps must be a number from 0.01'):
    resolve(_story({}), defaults)
