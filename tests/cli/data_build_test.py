"""`phenaki data build` with its limits, as a user calls it."""

import json
import shutil

import numpy as np
from PIL import Image

from phenaki_jax.cli import main
from phenaki_jax.data import manifest
from phenaki_jax.media.mp4 import write_mp4


def call(*words):
  return main.main(['data', *map(str, words)])


def _write_clip(path, count):
  frames = np.zeros((count, 64, 64, 3), np.uint8)
  write_mp4(
    path, frames, fps=8, provenance={'notice': 'rendered'}, min_height=1
  )


def test_limits_of_a_build_leave_out_what_they_name(tmp_path, capsys):
  folder, out = tmp_path / 'f', tmp_path / 'm'
  folder.mkdir()
  for name, count in (('short', 3), ('fit', 8), ('long', 24)):
    _write_clip(folder / f'{name}.mp4', count)
  for i, (name, side) in enumerate((('tiny', 39), ('plain', 40), ('dull', 40))):
    Image.new('RGB', (side, 50), (i, 0, 0)).save(folder / f'{name}.png')
  (folder / 'broken.png').write_bytes(b'')
  shutil.copy(folder / 'plain.png', folder / 'wordy.png')
  lines = [
    {
      'file_name': path.name,
      'text': path.stem * (50 if path.stem == 'wordy' else 1),
      'punsafe': 0,
      'aesthetic': 4 if path.stem == 'dull' else 6,
    }
    for path in sorted(folder.iterdir())
  ]
  text = ''.join(json.dumps(line) + '\n' for line in lines)
  (folder / 'metadata.jsonl').write_text(text)
  limits = (
    *('--allow-missing', 'pwatermark', '--min-aesthetic', 5, '--min-side', 40),
    *('--max-caption', 240, '--min-duration', 0.5, '--max-duration', 2),
  )
  words = ('build', '--jsonl', folder, '--out', out, '--storyworld', 1)
  assert call(*words, *limits, '--max-broken', 0.1) == 2
  assert '1 of the 8 records' in capsys.readouterr().err
  limits += ('--max-broken', 0.2, '--continuation-share', 1)
  assert call(*words, *limits) == 0
  found, world = manifest.Manifest(out).reports()
  assert found.filtered == {
    'aesthetic_under_5': 1,
    'caption_over_240': 1,
    'smaller_than_40px': 1,
    'too_long': 1,
    'too_short': 1,
  }
  assert found.broken == {'empty_file': 1} and world.kept == 2
  content = manifest.Manifest(out)
  assert [content.caption(row) for row in range(2)] == ['fit', 'plain']
  assert content.header['sources'][1]['continuation_share'] == 1
