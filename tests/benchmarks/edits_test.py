"""Edits of held-out clips are compared with plain ways, and drawn."""

import pathlib
import sys

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / 'benchmarks'))

import edits  # noqa: E402

from phenaki_jax.storyworld import Facts, Scene, render_clip  # noqa: E402

FACTS = Facts(shape='circle', colour='red', place='grass', motion='right')


def _clip(**values):
  return render_clip(Scene(facts=FACTS, x=0.3, **values), 9, 32, 8)


def test_plain_ways_know_every_fourth_frame_alone():
  clip = _clip()
  other = clip.copy()
  other[np.arange(9) % 4 > 0] = 0
  for way in (edits.held, edits.blended):
    made = way(clip)
    np.testing.assert_array_equal(made[::4], clip[::4])
    np.testing.assert_array_equal(way(other), made)
  np.testing.assert_array_equal(edits.held(clip)[1:4], clip[[0] * 3])
  middle = (clip[0].astype(int) + clip[4] + 1) // 2
  np.testing.assert_array_equal(edits.blended(clip)[2], middle)


def test_overlaps_are_of_the_objects():
  clip = _clip()
  np.testing.assert_array_equal(edits.overlaps(clip, clip, 'easy'), 1)
  # Of another colour in the same places, and in other places.
  blue = render_clip(Scene(facts=FACTS.replace(colour='blue'), x=0.3), 9, 32, 8)
  assert edits.overlaps(blue, clip, 'easy').min() > 0.8
  assert edits.overlaps(_clip(y=0.0), clip, 'easy').max() == 0


def test_tables_and_pictures_hold_all_that_was_measured():
  clips = [_clip(), _clip()]
  rows = [
    edits.Row(name='clip', values={}, clips=clips),
    edits.Row(name='ours', values={'PSNR': [30.0, 32.0]}, clips=clips),
  ]
  table = edits.to_markdown(rows)
  assert '| ours | 31.00 ± 1.00 |' in table and 'clip' not in table
  sheet = edits.picture(rows, min_height=32)
  assert sheet.shape[1] > 9 * 32 and sheet.shape[0] > 4 * 32
  one = [edits.Row(name=x, values={}, clips=[clips[0][:1]]) for x in 'abc']
  assert 3 * 32 < edits.picture(one, min_height=32).shape[1] < 6 * 32


@pytest.mark.slow
def test_the_shipped_model_is_measured(tmp_path, capsys):
  out = tmp_path / 'fps.png'
  argv = ['fps', '--model', 'storyworld', '--clips', '2', '--out', str(out)]
  edits.main(argv)
  table = capsys.readouterr().out
  assert '| blend both frames |' in table and '| phenaki edit fps |' in table
  with Image.open(out) as picture:
    assert picture.width > 9 * 64
