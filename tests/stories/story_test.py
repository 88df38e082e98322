import dataclasses
import json

import pytest

from phenaki_jax.sampling.sampler import SamplingSettings
from phenaki_jax.stories import script as script_lib
from phenaki_jax.stories.story_file import Scene, Story

DEFAULTS = script_lib.StoryDefaults(
  size=(16, 16),
  fps=8.0,
  context_frames=5,
  settings=SamplingSettings(steps=2),
)


class Lengths:
  """Know how long clips are; no test here makes any."""

  clip_frames = 9

  def frames_of(self, steps):
    return 1 + (steps - 1) * 2

  def clips(self, prompts, *, size, seeds, settings, context=None):
    raise AssertionError('a script makes no clips')


def _script(*scenes, **story):
  scenes = tuple(
    Scene(**{'prompt': f'scene {i}', **scene}) for i, scene in enumerate(scenes)
  )
  return script_lib.write_script(
    Story(scenes=scenes, **story), Lengths(), DEFAULTS
  )


@pytest.mark.parametrize(
  ('context', 'nearest'), [(2, 3), (4, 5), (8, 7), (9, 7), (40, 7), (6, 7)]
)
def test_impossible_context_names_the_nearest_possible(context, nearest):
  with pytest.raises(ValueError, match=f'use {nearest}[.]'):
    _script({'frames': 3}, context_frames=context)


def test_lengths_in_seconds_frames_or_neither():
  script = _script({'seconds': 0.5}, {'frames': 7}, {}, fps=6)
  assert [shot.frames for shot in script.shots] == [3, 7, 9]


def test_scene_shorter_than_a_frame_is_refused():
  with pytest.raises(ValueError, match='scene 2 lasts 0.01 seconds'):
    _script({'frames': 7}, {'seconds': 0.01})


def test_story_too_long_is_refused():
  with pytest.raises(ValueError, match='200000 frames; give at most 100000'):
    _script({'frames': 100_000}, {'frames': 100_000})


def test_settings_of_a_scene_override_the_defaults():
  script = _script({}, {'guidance': 6, 'steps': 4, 'temperature': 0.5})
  first, second = (shot.settings for shot in script.shots)
  assert first == DEFAULTS.settings
  assert second == dataclasses.replace(
    first, guidance=6.0, steps=4, temperature=0.5
  )


def test_window_seeds_depend_on_seed_scene_and_window_alone():
  seeds = {
    script_lib.window_seed(seed, scene, window)
    for seed in (0, 1, 2**32 - 1)
    for scene in range(5)
    for window in range(5)
  }
  assert len(seeds) == 75
  assert all(0 <= seed < 2**32 for seed in seeds)
  # A golden value: stories must come out the same in every release.
  assert script_lib.window_seed(7, 2, 1) == 246509110


def test_reroll_changes_one_seed_and_twice_is_another():
  script = _script({}, {}, {'seed': 4}, seed=7)
  once = script_lib.reroll(script, [2])
  twice = script_lib.reroll(once, [2])
  assert twice == script_lib.reroll(script, [2, 2])
  seeds = [[shot.seed for shot in s.shots] for s in (script, once, twice)]
  assert [s[0] for s in seeds] == [7, 7, 7]
  assert [s[2] for s in seeds] == [4, 4, 4]
  assert len({s[1] for s in seeds}) == 3
  assert script_lib.reroll(script, []) == script


@pytest.mark.parametrize('number', [0, 4, -1])
def test_reroll_of_no_scene_is_refused(number):
  with pytest.raises(ValueError, match='scenes 1 to 3'):
    script_lib.reroll(_script({}, {}, {}), [number])


def test_description_survives_json_and_tells_where_scenes_start():
  script = _script({'frames': 9}, {'frames': 3, 'guidance': 5})
  found = json.loads(json.dumps(script_lib.describe(script)))
  assert found == script_lib.describe(script)
  assert [scene['start'] for scene in found['scenes']] == [0, 9]
  assert found['frames'] == 12
  assert found['scenes'][1]['guidance'] == 5.0


def test_seeds_are_taken_from_the_same_story_only():
  script = _script({'frames': 9}, {'frames': 3})
  rolled = script_lib.reroll(script, [2])
  description = json.loads(json.dumps(script_lib.describe(rolled)))
  assert script_lib.take_seeds(script, description) == rolled
  others = [
    _script({'frames': 9}, {'frames': 4}),
    _script({'frames': 9}, {'frames': 3, 'prompt': 'other'}),
    _script({'frames': 9}, {'frames': 3}, fps=9),
    _script({'frames': 9}),
  ]
  for other in others:
    assert script_lib.take_seeds(other, description) is None
  for broken in (None, {}, {'scenes': 3}, {'scenes': [{'seed': 'x'}] * 2}):
    assert script_lib.take_seeds(script, broken) is None
