"""The five-minute story in short, by a small model."""

import json
import pathlib
import sys

import pytest

from phenaki_jax.stories.outputs import MIN_DRIFT_FRAMES

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / 'benchmarks'))

import long_story  # noqa: E402


def test_a_short_story_has_the_whole_row(tiny_bundle, tmp_path, capsys):
  frames = MIN_DRIFT_FRAMES + 8
  long_story.main(
    [
      *('--out', str(tmp_path), '--frames', str(frames)),
      *('--model', str(tiny_bundle), '--steps', '1'),
    ]
  )
  told = json.loads((tmp_path / 'story.json').read_text())
  row = json.loads(capsys.readouterr().out)
  assert {one['steps'] for one in told['story']['scenes']} == {1}
  assert row['frames'] == row['drift']['frames'] == frames
  # The first window has nine new frames, and the others four.
  assert row['drift']['seams']['joins'] == -(-(frames - 9) // 4)
  assert 0 < row['megabytes_at_half'] <= 1.5 * row['megabytes_at_the_end']
  assert 0 <= row['drift']['facts']['right'] <= 1
  assert (tmp_path / 'story.drift.png').is_file()


@pytest.mark.parametrize(('frames', 'lengths'), [(30, [30]), (120, [60, 60])])
def test_scenes_share_the_frames(frames, lengths):
  story = long_story.write_prompts(frames, 'easy', 0)
  assert [scene.frames for scene in story.scenes] == lengths
