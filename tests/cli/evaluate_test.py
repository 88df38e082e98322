"""`phenaki evaluate` writes numbers, tables and pictures."""

import json

import pytest
from PIL import Image

from phenaki_jax.cli.main import main
from phenaki_jax.media.provenance import read_provenance

FEW = [
  # Two at once everywhere, so that each program compiles for one size.
  *('--prompts', '4', '--stories', '2', '--scenes', '2'),
  *('--image-only-prompts', '1', '--batch-size', '2'),
  *('--changes', '1', '--reconstructions', '2'),
]


def test_evaluate_writes_numbers_tables_and_pictures(
  tiny_bundle, tmp_path, capsys
):
  out = tmp_path / 'scores'
  call = ['evaluate', '--model', str(tiny_bundle), '--out', str(out), *FEW]
  assert main([*call, '--image-only']) == 0
  assert sorted(path.name for path in out.iterdir()) == [
    'changes.png',
    'clips.png',
    'image_only.png',
    'reconstructions.png',
    'scores.json',
    'scores.md',
    'stories.png',
  ]
  found = json.loads((out / 'scores.json').read_text())
  assert found['clips']['facts']['shape']['asked'] == 4
  assert len(found['stories']['scenes']) == 2
  assert all(v['asked'] == 1 for v in found['image_only']['values'].values())
  assert list(found['changes']) == ['shape', 'colour', 'motion', 'place']
  assert found['changes']['shape']['changed']['asked'] == 1
  assert len(found['reconstruction']['psnr_by_frame']) == 9
  assert 0 < found['reconstruction']['psnr'] < 30
  protocol = found['protocol']
  assert protocol['split'] == 'heldout' and protocol['subset'] == 'easy'
  assert protocol['settings']['steps'] == 2
  # Two windows: clips of 9 frames less a context of 5, twice.
  assert protocol['frames_per_scene'] == 8
  # The model is untrained.
  assert found['clips']['total']['accuracy'] < 0.7
  printed = capsys.readouterr().out
  assert (out / 'scores.md').read_text() in printed
  with Image.open(out / 'clips.png') as picture:
    assert picture.height > 9 * 96
  assert (
    read_provenance(out / 'clips.png')['fingerprint']
    == (protocol['fingerprint'])
  )

  # A second call has the same numbers, whatever else it measures.
  few = ['--stories', '0', '--changes', '0', '--reconstructions', '0']
  assert main([*call, *few]) == 0
  again = json.loads((out / 'scores.json').read_text())
  assert again['clips'] == found['clips']
  assert 'stories' not in again and 'changes' not in again


BAD = {
  'nothing': (
    [
      *('--prompts', '0', '--stories', '0'),
      *('--changes', '0', '--reconstructions', '0'),
    ],
    'there is nothing to evaluate',
  ),
  'below zero': (['--prompts', '-1'], 'prompts is -1; it must be at least 0'),
  'no reconstructions': (
    ['--reconstructions', '-2'],
    'reconstructions is -2; it must be at least 0',
  ),
  'no stories': (['--stories', '-1'], 'stories is -1; it must be at least 0'),
  'no image-only prompts': (
    ['--image-only', '--image-only-prompts', '0'],
    'image_only_prompts is 0; it must be at least 1',
  ),
  'no clips to compare': (
    ['--frechet', '--prompts', '0'],
    'frechet compares the clips of single prompts, but prompts is 0',
  ),
  'no batch': (['--batch-size', '0'], 'batch_size is 0; it must be at least 1'),
  'no scenes': (['--scenes', '0'], 'scenes is 0; it must be at least 1'),
  'unknown subset': (['--subset', 'hard'], "unknown subset 'hard'"),
  'a file': (['--out', 'file'], 'is a file'),
  'no model': (['--model', 'none'], 'there is no folder none'),
}


@pytest.mark.parametrize(('flags', 'words'), BAD.values(), ids=BAD)
def test_wrong_arguments_end_in_one_sentence(
  tiny_bundle, tmp_path, monkeypatch, capsys, flags, words
):
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'file').write_text('x')
  call = ['evaluate', '--model', str(tiny_bundle), '--out', 'scores', *flags]
  assert main(call) == 2
  error = capsys.readouterr().err
  assert words in error and 'Traceback' not in error
  assert [path.name for path in tmp_path.iterdir()] == ['file']
