"""`phenaki reader` measures a file of weights, which `evaluate` reads with."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from phenaki_jax import sharding
from phenaki_jax.cli.main import main
from phenaki_jax.lpc.facts import FACT_NAMES
from phenaki_jax.reader import reader as reader_lib
from phenaki_jax.reader.config import ReaderConfig
from phenaki_jax.reader.network import FrameReader

CONFIG = ReaderConfig(side=16, widths=(8, 8, 8), depth=1, features=8)


@pytest.fixture
def weights(tmp_path):
  """Write an untrained reader, which has no thresholds."""
  frames = jnp.zeros((1, 16, 16, 3), np.uint8)
  boxed = jax.eval_shape(FrameReader(CONFIG).init, jax.random.key(0), frames)
  rng = np.random.default_rng(0)
  params = jax.tree.map(
    lambda leaf: rng.normal(0, 0.5, leaf.shape).astype(np.float32),
    sharding.unbox(boxed)['params'],
  )
  path = tmp_path / 'untrained.safetensors'
  reader_lib.Reader(config=CONFIG, params=params).save(path)
  return path


def test_reader_is_measured_written_and_used(
  weights, sprite_sheets, tiny_bundle, tmp_path, capsys
):
  out = tmp_path / 'reader.safetensors'
  few = ['--examples', '2', '--size', '16', '--seed', '3']
  few += ['--sheets', str(sprite_sheets)]
  call = ['reader', '--reader', str(weights), *few, '--out', str(out)]
  assert main(call) == 0
  printed = capsys.readouterr().out
  assert '| clips, blur and H.264 |' in printed and f'{out}\n' in printed
  written = reader_lib.load(out)
  assert set(written.thresholds) == set(FACT_NAMES)

  # The file reads as the reader did from which it was written.
  assert main(['reader', '--reader', str(out), *few]) == 0
  assert printed == capsys.readouterr().out + f'{out}\n'

  call = ['evaluate', '--model', str(tiny_bundle), '--world', 'lpc']
  call += ['--prompts', '2', '--stories', '0', '--changes', '0']
  call += ['--reconstructions', '0', '--out', str(tmp_path / 'scores')]
  assert main([*call, '--reader', str(out)]) == 0
  found = json.loads((tmp_path / 'scores' / 'scores.json').read_text())
  assert found['protocol']['world'] == 'LPC'
  assert found['protocol']['reader'] == written.fingerprint
  assert found['clips']['facts']['kind']['asked'] == 2

  capsys.readouterr()
  assert main([*call, '--reader', str(weights)]) == 2
  assert 'has no thresholds' in capsys.readouterr().err
