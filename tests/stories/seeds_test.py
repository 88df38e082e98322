import json

import pytest

from phenaki_jax.sampling.config import SamplingSettings
from phenaki_jax.stories import seeds as seeds_lib
from phenaki_jax.stories.story import ModelDefaults, Scene, Story, resolve

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
  return resolve(Story(scenes=scenes, **story), DEFAULTS)


def test_window_seeds_depend_on_seed_scene_and_window_alone():
  seeds = {
    seeds_lib.window_seed(seed, scene, window)
    for seed in (0, 1, 2**32 - 1)
    for scene in range(5)
    for window in range(5)
  }
  assert len(seeds) == 75
  assert all(0 <= seed < 2**32 for seed in seeds)
  # A golden value: a story must have the same frames in every release.
  assert seeds_lib.window_seed(7, 2, 1) == 246509110


def test_each_reroll_changes_one_seed():
  story = _story({}, {}, {'seed': 4}, seed=7)
  once = seeds_lib.reroll(story, [2])
  twice = seeds_lib.reroll(once, [2])
  assert twice == seeds_lib.reroll(story, [2, 2])
  seeds = [[scene.seed for scene in s.scenes] for s in (story, once, twice)]
  assert [s[0] for s in seeds] == [7, 7, 7]
  assert [s[2] for s in seeds] == [4, 4, 4]
  assert len({s[1] for s in seeds}) == 3
  assert seeds_lib.reroll(story, []) == story


@pytest.mark.parametrize('number', [0, 4, -1])
def test_reroll_of_no_scene_is_refused(number):
  with pytest.raises(ValueError, match='scenes 1 to 3'):
    seeds_lib.reroll(_story({}, {}, {}), [number])


def test_description_is_json_and_counts_the_start_of_scenes():
  story = _story({'frames': 9}, {'frames': 3, 'guidance': 5})
  found = json.loads(json.dumps(seeds_lib.describe(story)))
  assert found == seeds_lib.describe(story)
  assert [scene['start'] for scene in found['scenes']] == [0, 9]
  assert found['frames'] == 12
  assert found['scenes'][1]['guidance'] == 5.0


def test_seeds_are_taken_from_the_same_story_only():
  story = _story({'frames': 9}, {'frames': 3})
  rolled = seeds_lib.reroll(story, [2])
  description = json.loads(json.dumps(seeds_lib.describe(rolled)))
  assert seeds_lib.take_seeds(story, description) == rolled
  others = [
    _story({'frames': 9}, {'frames': 4}),
    _story({'frames': 9}, {'frames': 3, 'prompt': 'other'}),
    _story({'frames': 9}, {'frames': 3}, fps=9),
    _story({'frames': 9}),
  ]
  for other in others:
    assert seeds_lib.take_seeds(other, description) is None
  for broken in (None, {}, {'scenes': 3}, {'scenes': [{'seed': 'x'}] * 2}):
    assert seeds_lib.take_seeds(story, broken) is None
