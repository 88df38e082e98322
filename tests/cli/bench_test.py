import json

import numpy as np
import pytest

from phenaki_jax.cli.main import main

TASK = {
  'texts': ['a red circle', 'it turns green'],
  'exact_frames_per_prompt': [4, 2],
  'background': None,
  'npz_video': 'videos/a.npy',
  'npz_video_start_frame': 0,
  'npz_video_end_frame': 4,
  'npz_gt_video_start_frame': 0,
  'npz_gt_video_end_frame': None,
  'storybench_mode': 'story_cont',
  'comment': 'one',
}


def test_stories_are_written_once_in_the_format_of_the_metrics(
  tiny_bundle, tmp_path, capsys
):
  (tmp_path / 'tasks.json').write_text(
    json.dumps([TASK, {**TASK, 'comment': 'two'}])
  )
  (tmp_path / 'videos').mkdir()
  video = np.random.default_rng(0).integers(0, 256, (10, 24, 40, 3), np.uint8)
  np.save(tmp_path / 'videos' / 'a.npy', video)
  call = ['bench', str(tmp_path / 'tasks.json'), '--samples', '2']
  call += ['--videos', str(tmp_path), '--out', str(tmp_path / 'out')]
  call += ['--model', str(tiny_bundle), '--truth']
  assert main([*call, '--first', '1']) == 0
  folder = tmp_path / 'out' / 'phenaki' / 'story_cont' / 'raw'
  assert [path.name for path in folder.iterdir()] == ['one.npz']
  with np.load(folder / 'one.npz') as content:
    made = content['video']
  assert made.shape == (6, 16, 32, 3) and made.dtype == np.uint8
  assert (made[:, :, :16] != made[:, :, 16:]).any()
  truth = tmp_path / 'out' / 'ground_truth' / 'story_cont' / 'raw' / 'one.npz'
  with np.load(truth) as content:
    assert content['video'].shape == (6, 16, 16, 3)
  # The second call makes the second story alone.
  before = (folder / 'one.npz').stat().st_mtime_ns
  assert main(call) == 0
  assert sorted(path.name for path in folder.iterdir()) == [
    *('one.npz', 'two.npz')
  ]
  assert (folder / 'one.npz').stat().st_mtime_ns == before
  assert f'2 stories in {folder}' in capsys.readouterr().out
  for other in (['--seed', '1'], ['--samples', '1']):
    assert main([*call, *other]) == 2
    assert 'not made by this model with' in capsys.readouterr().err


@pytest.mark.parametrize(
  ('out', 'words'),
  [
    ('out', 'there is no video'),
    ('gs://bucket/out', 'must be on a local disk'),
  ],
)
def test_wrong_folders_end_in_one_sentence(
  tiny_bundle, tmp_path, monkeypatch, capsys, out, words
):
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'tasks.json').write_text(json.dumps([TASK]))
  call = ['bench', 'tasks.json', '--out', out, '--model', str(tiny_bundle)]
  assert main(call) == 2
  assert words in capsys.readouterr().err
  assert not (tmp_path / 'gs:').exists()
