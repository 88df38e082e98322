"""The evaluators of a run, and what stops a run from having any."""

import logging
import pathlib

import jax
import numpy as np
import pytest

from phenaki_jax import sharding
from phenaki_jax.data import build
from phenaki_jax.data.sources import storyworld
from phenaki_jax.errors import UserError
from phenaki_jax.evaluation.heldout import HeldoutEvaluator
from phenaki_jax.evaluation.reconstruction import ReconstructionEvaluator
from phenaki_jax.runs import assemble, evaluators, experiment
from phenaki_jax.sharding import MeshConfig
from phenaki_jax.training.generator_config import GeneratorTaskConfig
from phenaki_jax.training.generator_task import GeneratorTask
from phenaki_jax.training.state import RunArrays

CONFIGS = pathlib.Path(__file__).resolve().parents[2] / 'configs'


def _run(config, *overrides):
  settings = experiment.resolve(
    f'{CONFIGS}/tokenizer/{config}',
    [
      'data.size=16,16',
      'data.batch_size=4',
      'data.image_share=0.5',
      *overrides,
    ],
  )
  mesh = sharding.make_mesh(MeshConfig(), devices=jax.devices()[:1])
  return assemble.assemble_abstract(settings, mesh=mesh)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """Build a manifest of a few clips and images."""
  out = tmp_path_factory.mktemp('data') / 'manifest'
  reader = storyworld.StoryWorldReader(subset='easy')
  build.build(
    [lambda indices: storyworld.StoryWorld(reader, num_clips=6, num_images=6)],
    out,
  )
  return out


def test_tokenizer_run_measures_its_loss_and_reconstructs():
  found = evaluators.build(_run('tiny.py', 'train.evaluate_every=7'))
  assert [type(e) for e in found] == [HeldoutEvaluator, ReconstructionEvaluator]
  assert all(e.every == 7 for e in found)


def test_manifest_without_heldout_examples_leaves_no_evaluator(folder, caplog):
  run = _run(f'lpc.py:manifest={folder}', 'data.heldout_share=0')
  with caplog.at_level(logging.WARNING):
    assert evaluators.build(run) == []
  assert 'There is no evaluation during training' in caplog.text
  assert "in the split 'heldout'" in caplog.text


def test_any_other_error_is_raised(tmp_path):
  run = _run(f'lpc.py:manifest={tmp_path}')
  with pytest.raises(UserError, match='is not a manifest'):
    evaluators.build(run)


def test_heldout_batches_share_out_the_hidden_tokens_evenly(tiny_sampler):
  """The mean share does not depend on the size of the batches."""
  models = tiny_sampler.models
  task = GeneratorTask(
    config=models.generator,
    text=models.text,
    tokenizer=models.tokenizer,
    tokenizer_params={},
    training=GeneratorTaskConfig(prediction_share=0.0),
  )
  run = assemble.Run(
    experiment=experiment.Experiment(kind='generator'),
    mesh=sharding.make_mesh(MeshConfig(), devices=jax.devices()[:1]),
    task=task,
  )
  measure = evaluators._measure(run)
  params = tiny_sampler.generator_params
  arrays = RunArrays(
    params=params, ema=params, frozen=tiny_sampler.tokenizer_params
  )
  clip = {
    'pixels': np.zeros((1, 9, 16, 16, 3), np.uint8),
    'text': np.ones((1, 12), np.int32),
    'num_frames': np.array([9], np.int32),
    'context_frames': np.zeros(1, np.int32),
  }
  counts = [
    measure(arrays, (number, {'clips': clip}))['loss'][1] for number in range(4)
  ]
  # A clip has 20 tokens. At four shares the mean of the cosine is 0.641.
  assert counts == [20, 17, 12, 4]
  keys = [evaluators._key(number) for number in range(4)]
  assert len({str(jax.random.key_data(key)) for key in keys}) == 4
