"""Every program of a run is compiled once."""

import collections
import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Trains a tokenizer and a generator, and samples a story of 20 prompts. The
# last line counts the compilations of each function, of the generator's part.
PROGRAM = """
import collections, json, sys
import jax
names = []
def listen(event, seconds, **facts):
  if event == '/jax/core/compile/backend_compile_duration':
    names.append(facts['fun_name'])
jax.monitoring.register_event_duration_secs_listener(listen)
import phenaki_jax
from phenaki_jax.runs import experiment
from phenaki_jax.runs.train import train
folder = sys.argv[1]
small = ['data.size=16,16', 'data.frames=5', 'data.context_frames=3',
  'data.batch_size=4', 'data.image_share=0.25', 'train.steps=4',
  'train.evaluate_every=2', 'train.checkpoint_every=2',
  'tokenizer.width=16', 'tokenizer.num_heads=2', 'tokenizer.mlp_dim=32',
  'tokenizer.spatial_layers=1', 'tokenizer.temporal_layers=1']
train(experiment.resolve('configs/tokenizer/tiny.py', small), folder + '/one')
of_tokenizer = collections.Counter(names)
names.clear()
settings = [*small[:8], 'generator.width=16', 'generator.num_heads=2',
  'generator.mlp_dim=32', 'generator.num_layers=1', 'text.width=16',
  'text.num_layers=1', 'task.prediction_frames=3', 'sampling.steps=2',
  f'tokenizer_dir={folder}/one']
chosen = experiment.resolve('configs/generator/tiny.py', settings)
train(chosen, folder + '/two')
model = phenaki_jax.load(folder + '/two')
model.story(['a red circle on grass'] * 20, seed=1)
print(json.dumps([of_tokenizer, collections.Counter(names)]))
"""


@pytest.mark.slow
@pytest.mark.unoptimized
def test_training_evaluation_and_20_prompts_compile_each_program_once(tmp_path):
  done = subprocess.run(
    [sys.executable, '-c', PROGRAM, str(tmp_path)],
    cwd=ROOT,
    capture_output=True,
    text=True,
    env={**os.environ, 'PYTHONPATH': str(ROOT), 'JAX_NUM_CPU_DEVICES': '1'},
  )
  assert done.returncode == 0, done.stderr
  tokenizer, generator = map(
    collections.Counter, json.loads(done.stdout.splitlines()[-1])
  )
  for found in (tokenizer, generator):
    assert found['jit(step)'] == found['jit(terms)'] == 1
  assert tokenizer['jit(reconstruct)'] == 1
  assert generator['jit(histograms)'] == 1
  # Samples of a run are a batch, and windows of a story are one clip each.
  assert generator['jit(uncover_tokens)'] == 2
  assert generator['jit(encode_pixels)'] == 1
  assert generator['jit(decode_tokens)'] == 2
