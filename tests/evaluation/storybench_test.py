"""The tasks as published, in a few entries of each kind."""

import json

import numpy as np
import pytest

from phenaki_jax.errors import NotFoundError, UserError
from phenaki_jax.evaluation.storybench import read_tasks, side_by_side

# Fields as in the published files, with shorter texts.
ENTRY = {
  'texts': ['A person mixes something in a cup.', 'The cup rolls.'],
  'durations': None,
  'exact_frames_per_prompt': [28, 48],
  'background': None,
  'npz_video': 'storybench/npy_96x160pix_8fps/uvo-valid/videos/a.npy',
  'npz_video_start_frame': 0,
  'npz_video_end_frame': 4,
  'npz_gt_video_start_frame': 0,
  'npz_gt_video_end_frame': None,
  'skip_frames_after_generation': 4,
  'storybench_mode': 'story_cont',
  'indices_to_select': None,
  'comment': 'UVO_dense_val_0_0',
}
ACTION = {
  **ENTRY,
  'texts': ENTRY['texts'][:1],
  'exact_frames_per_prompt': [28],
  'npz_gt_video_start_frame': 4,
  'npz_gt_video_end_frame': 32,
  'storybench_mode': 'action_exe',
}
GENERATION = {
  **ENTRY,
  'exact_frames_per_prompt': [32, 48],
  'background': 'There are bottles.',
  'npz_video_end_frame': 0,
  'skip_frames_after_generation': None,
  'storybench_mode': 'story_gen',
}


def _tasks(tmp_path, *entries):
  path = tmp_path / 'tasks.json'
  path.write_text(json.dumps(entries))
  return read_tasks(path)


def _video(frames=80):
  grey = np.arange(frames, dtype=np.uint8)
  return np.broadcast_to(grey[:, None, None, None], (frames, 8, 8, 3))


@pytest.mark.parametrize(
  ('entry', 'given', 'true'),
  [
    (ENTRY, range(4), range(4, 80)),
    (ACTION, range(4), range(4, 32)),
    (GENERATION, range(0), range(80)),
  ],
)
def test_given_and_true_frames_follow_each_other(tmp_path, entry, given, true):
  (task,) = _tasks(tmp_path, entry)
  frames = [
    part[:, 0, 0, 0].tolist()
    for part in (task.given_frames(_video()), task.true_frames(_video()))
  ]
  assert frames == [list(given), list(true)]
  assert sum(task.frames) == len(true)


def test_a_story_has_the_prompts_and_lengths(tmp_path):
  going_on, generated = (
    _tasks(tmp_path, entry)[0].story(seed=3) for entry in (ENTRY, GENERATION)
  )
  assert [scene.frames for scene in going_on.scenes] == [28, 48]
  assert going_on.scenes[0].start == ENTRY['npz_video']
  assert going_on.fps == 8 and going_on.seed == 3
  prompts = [scene.prompt for scene in generated.scenes]
  assert prompts[0].endswith('in a cup. There are bottles.')
  assert prompts[1] == 'The cup rolls.' and generated.scenes[0].start is None


def test_names_are_unique(tmp_path):
  names = [task.name for task in _tasks(tmp_path, ENTRY, ENTRY)]
  assert names == ['00001_UVO_dense_val_0_0', '00002_UVO_dense_val_0_0']


def test_samples_are_side_by_side():
  one, other = _video(5), _video(5) + np.uint8(100)
  joined = side_by_side([one, other])
  assert joined.shape == (5, 8, 16, 3)
  parts = np.split(joined, 2, axis=2)  # As its metrics take them apart.
  np.testing.assert_array_equal(parts[0], one)
  np.testing.assert_array_equal(parts[1], other)


@pytest.mark.parametrize(
  ('entry', 'words'),
  [
    ({**ENTRY, 'storybench_mode': 'story'}, 'task 2: unknown storybench_mode'),
    ({**ENTRY, 'texts': ['a']}, '1 texts, but the lengths of 2'),
    ({**GENERATION, 'npz_video_end_frame': 4}, 'it starts from 0'),
    ({'texts': ['a']}, 'task 2'),
  ],
)
def test_broken_tasks_are_named(tmp_path, entry, words):
  with pytest.raises(UserError, match=words):
    _tasks(tmp_path, ENTRY, entry)


def test_other_files_are_refused(tmp_path):
  with pytest.raises(UserError, match='no list of tasks'):
    _tasks(tmp_path)
  with pytest.raises(NotFoundError, match='no file'):
    read_tasks(tmp_path / 'none.json')
  (task,) = _tasks(tmp_path, ACTION)
  with pytest.raises(UserError, match='has 20 frames'):
    task.true_frames(_video(20))
