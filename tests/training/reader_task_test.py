"""The reader learns known facts only, and fits rendered examples."""

import jax
import numpy as np
import pytest

from phenaki_jax import lpc, rng, sharding
from phenaki_jax.data.config import DataConfig
from phenaki_jax.data.sprites import Sprites
from phenaki_jax.lpc import labels
from phenaki_jax.lpc.facts import FACT_NAMES
from phenaki_jax.reader.config import ReaderConfig
from phenaki_jax.training.config import OptimConfig
from phenaki_jax.training.metrics import fetched, finalise
from phenaki_jax.training.optim import make_optimizer
from phenaki_jax.training.reader_task import ReaderTask
from phenaki_jax.training.state import (
  abstract_state,
  boxed_params,
  create_state,
)
from phenaki_jax.training.step import compile_step, make_step

TASK = ReaderTask(
  config=ReaderConfig(side=32, widths=(16, 24, 32), features=64)
)


@pytest.fixture(scope='module')
def batch(sprite_sheets):
  config = DataConfig(
    size=(32, 32),
    frames=2,
    batch_size=12,
    image_share=0.5,
    continuation_share=0.0,
  )
  return Sprites(config, sprite_sheets).batch(0)


def test_labels_hold_facts_absent_ones_and_unknown_ones():
  facts = lpc.Facts(
    kind='skeleton',
    hair=None,
    hair_style=None,
    outfit='plate armour',
    pants=None,
    action='fall',
    direction='down',
    place='snow',
  ).as_dict()
  found = labels.encode(facts)
  assert found.tolist() == [6, 0, 0, 5, 0, 6, 3, 6, 1]
  for name, label in zip(FACT_NAMES, found, strict=True):
    assert labels.value(name, label) == facts[name]
  del facts['style']
  assert labels.encode(facts)[-1] == labels.UNKNOWN


@jax.jit
def _loss(params, batch):
  return TASK.loss(params, {}, batch, rng.root(0))


def _drawn():
  """Draw every parameter; initialising the network would be compiled."""
  bits = np.random.default_rng(0)
  shapes = sharding.unbox(jax.eval_shape(TASK.init, rng.described()))
  return jax.tree.map(
    lambda leaf: bits.normal(0, 0.1, leaf.shape).astype(leaf.dtype), shapes
  )


def test_unknown_facts_are_not_counted(batch):
  params = _drawn()
  unknown = jax.tree.map(np.copy, batch)
  unknown['clips']['labels'][:, 0] = labels.UNKNOWN
  unknown['images']['labels'][0, 0] = labels.UNKNOWN
  whole, found = (fetched(_loss(params, b)[1]) for b in (batch, unknown))
  assert whole['accuracy/kind'].count == 12
  assert found['accuracy/kind'].count == 5
  assert found['accuracy/hair'] == whole['accuracy/hair']
  # A fact that is never known costs nothing.
  unknown['images']['labels'][:] = labels.UNKNOWN
  unknown['clips']['labels'][:] = labels.UNKNOWN
  assert float(_loss(params, unknown)[0]) == 0


def test_it_overfits_one_batch(batch):
  optimizer = make_optimizer(
    OptimConfig(
      optimizer='muon',
      learning_rate=5e-3,
      adam_learning_rate=5e-3,
      warmup_steps=5,
      decay='constant',
    ),
    steps=100,
    params=boxed_params(TASK),
  )
  mesh = sharding.make_mesh(
    sharding.MeshConfig(data=1), devices=jax.devices()[:1]
  )
  abstract = abstract_state(TASK, optimizer, mesh)
  state = create_state(TASK, optimizer, abstract, rng.root(0))
  step = compile_step(make_step(TASK, optimizer, ema_decay=0.9), abstract)
  found = []
  for _ in range(100):
    state, metrics = step(state, batch, rng.root(1), {})
    found.append(finalise(fetched(metrics)))
  assert found[0]['loss'] > 10
  assert found[-1]['loss'] < 0.5
  for fact in FACT_NAMES:
    assert found[-1][f'accuracy/{fact}'] == 1, fact
