"""A small sweep of generators, and the files that its units leave."""

import json
import pathlib

import numpy as np
import pytest

from phenaki_jax import config as config_lib
from phenaki_jax.media.png import encode_png
from phenaki_jax.runs import experiment as experiment_lib
from phenaki_jax.runs.ablate_sweep import load_sweep
from phenaki_jax.runs.experiment import Experiment

CONFIGS = pathlib.Path(__file__).resolve().parents[2] / 'configs'

SWEEP = """
SHARES = {'none': 0.0, 'half': 0.5}


def get_sweep(arg=''):
  for label, share in SHARES.items():
    yield {
      'config': '%s/generator/tiny.py',
      'label': label,
      'match': arg or 'examples',
      'data.image_share': share,
      'data.size': [16, 16],
      'data.frames': 5,
      'data.context_frames': 3,
      'data.batch_size': 4,
      'task.prediction_frames': 3,
      'train.steps': 6,
      'evaluate.prompts': 4,
      'evaluate.stories': 0,
      'evaluate.changes': 0,
      'evaluate.reconstructions': 0,
      'evaluate.frechet': True,
    }
"""


@pytest.fixture(scope='session')
def sweep_file(tmp_path_factory):
  """Write the sweep, and beside it a tokenizer's config and checkpoint."""
  folder = tmp_path_factory.mktemp('sweeps')
  tokenizer = experiment_lib.resolve(
    f'{CONFIGS}/tokenizer/tiny.py',
    ['data.size=16,16', 'data.frames=5', 'data.context_frames=3'],
  )
  checkpoint = folder / 'tokenizer' / 'checkpoints' / '1'
  checkpoint.mkdir(parents=True)
  (checkpoint / 'manifest.json').write_text('{}')
  (folder / 'tokenizer' / 'config.json').write_text(
    config_lib.to_json(tokenizer)
  )
  path = folder / 'halves.py'
  path.write_text(SWEEP % CONFIGS)
  return path


@pytest.fixture(scope='session')
def load_halves(sweep_file):
  """Return a function that loads the sweep."""

  def load(*overrides, seeds=2, arg=''):
    tokenizer = f'tokenizer_dir={sweep_file.parent / "tokenizer"}'
    spec = f'{sweep_file}:{arg}' if arg else str(sweep_file)
    return load_sweep(spec, seeds=seeds, overrides=[tokenizer, *overrides])

  return load


def write_training(folder, experiment: Experiment, *, is_done=True):
  """Write the files of a training that this module reads."""
  folder.mkdir(parents=True, exist_ok=True)
  kept = experiment_lib.saved(experiment, folder)
  (folder / 'config.json').write_text(config_lib.to_json(kept))
  lines = [{'step': 3, 'train/loss': 2.0}, {'step': 6, 'heldout/loss': 1.5}]
  text = ''.join(json.dumps(line) + '\n' for line in lines)
  (folder / 'metrics.jsonl').write_text(text)
  if is_done:
    steps = experiment.train.steps
    checkpoint = folder / 'checkpoints' / str(steps)
    checkpoint.mkdir(parents=True, exist_ok=True)
    (checkpoint / 'manifest.json').write_text('{}')


def write_scores(folder, *, right, motion=3):
  """Write the files of an evaluation: `right` of 4 clips have the colour."""
  folder.mkdir(parents=True, exist_ok=True)
  facts = {
    'colour': {'asked': 4, 'right': right, 'accuracy': right / 4},
    'motion': {'asked': 4, 'right': motion, 'accuracy': motion / 4},
  }
  total = (right + motion) / 8
  scores = {
    'protocol': {'prompts': 4},
    'clips': {'facts': facts, 'total': {'accuracy': total}},
    'frechet': {
      'distances': {'frames': 1.0 + right, 'motion': 0.5},
      'network': {'network': 'open_nsfw', 'side': 112},
    },
  }
  sheet = np.full((20, 30, 3), 40 * right, np.uint8)
  (folder / 'clips.png').write_bytes(encode_png(sheet))
  (folder / 'scores.json').write_text(json.dumps(scores))


@pytest.fixture(scope='session')
def leave_files():
  """Return a function that writes the files of a finished unit."""

  def leave(unit, out, *, right=2, motion=3):
    write_training(unit.run_dir(out), unit.experiment)
    write_scores(unit.scores_dir(out), right=right, motion=motion)

  return leave


@pytest.fixture(scope='session')
def leave_training():
  """Return a function that writes the files of an interrupted training."""
  return write_training
