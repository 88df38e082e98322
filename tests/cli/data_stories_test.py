"""`phenaki data stories`, as a user calls it."""

import json

import numpy as np
from PIL import Image

from phenaki_jax.cli import data_stories, main
from phenaki_jax.data.story_sets import sets


def test_a_set_becomes_a_file_and_the_file_becomes_films(tmp_path, capsys):
  folder, path = tmp_path / 'didemo', tmp_path / 'stories.h5'
  folder.mkdir()
  Image.fromarray(np.full((12, 20, 3), 90, np.uint8)).save(folder / 'a.png')
  pairs = [[f'scene {i}', 'didemo/a.png'] for i in range(3)]
  stories = [{'desc_to_frame': pairs}, {'desc_to_frame': pairs[:2]}]
  for split in ('train', 'val', 'test'):
    (folder / f'{split}.json').write_text(json.dumps(stories))

  def call(*words):
    return main.main(['data', 'stories', *map(str, words)])

  assert call('--set', 'didemo', '--path', folder, '--out', path) == 0
  said = capsys.readouterr().out
  assert '2 train stories' in said and '-1 too_few_scenes' in said
  assert call('--set', 'didemo', '--path', folder, '--out', path) == 2
  assert 'exists; name a new file' in capsys.readouterr().err
  for option in ('--frames', '--fps'):
    new = ('--out', tmp_path / 'new.h5', option, 8)
    assert call('--set', 'didemo', '--path', folder, *new) == 2
    assert '--frames and --fps are of films' in capsys.readouterr().err
  out = tmp_path / 'films'
  small = ('--size', 16, '--frames', 2)
  assert call('--set', 'hdf5', '--path', path, '--out', out, *small) == 0
  assert '1 train stories' in capsys.readouterr().out
  assert len((out / 'test/stories.jsonl').read_text().splitlines()) == 1
  assert call('--set', 'pororo', '--path', tmp_path, '--out', out / 'x') == 2
  assert 'there is no file' in capsys.readouterr().err


def test_the_choices_are_the_sets():
  assert data_stories._NAMES == sets.NAMES
