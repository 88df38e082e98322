"""The loss and the metrics of characters; the F1 is that of the evaluation."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from phenaki_jax import rng, sharding
from phenaki_jax.data.story_sets.convert import resized
from phenaki_jax.evaluation.characters import score_characters
from phenaki_jax.reader.characters import CharacterReader
from phenaki_jax.reader.config import CharactersConfig, ReaderConfig
from phenaki_jax.training.character_task import CharacterTask
from phenaki_jax.training.metrics import fetched, finalise, merge

NAMES = ('Fred', 'Dino', 'Poby')
TASK = CharacterTask(
  config=ReaderConfig(side=16, widths=(8, 8, 8), depth=1, features=8),
  characters=CharactersConfig(stories='x.h5', names=NAMES),
)


@pytest.fixture(scope='module')
def reader():
  shapes = sharding.unbox(jax.eval_shape(TASK.init, rng.root(0)))
  drawn = np.random.default_rng(0)
  params = jax.tree.map(
    lambda leaf: drawn.normal(0, 0.5, leaf.shape).astype(leaf.dtype), shapes
  )
  return CharacterReader(config=TASK.config, names=NAMES, params=params)


def batch(seed, rows=8):
  drawn = np.random.default_rng(seed)
  return {
    'images': {
      'pixels': drawn.integers(0, 256, (rows, 16, 16, 3)).astype(np.uint8),
      'labels': drawn.integers(0, 2, (rows, 3)).astype(np.int32),
    }
  }


@jax.jit
def _step(params, batch):
  """Return the gradients, the loss with its metrics, and the logits."""

  def loss(params):
    total, metrics = TASK.loss(params, {}, batch, rng.root(0))
    return total, (total, metrics)

  gradients, found = jax.grad(loss, has_aux=True)(params)
  pixels = batch['images']['pixels']
  return gradients, *found, TASK._network.apply({'params': params}, pixels)


def test_metrics_of_several_batches_are_those_of_all_frames(reader):
  batches = [batch(0), batch(1)]
  steps = [_step(reader.params, one) for one in batches]
  found = finalise(merge(*(fetched(metrics) for _, _, metrics, _ in steps)))
  pixels, labels = (
    np.concatenate([b['images'][name] for b in batches])
    for name in ('pixels', 'labels')
  )
  scores = score_characters(reader.read(pixels), labels.astype(bool))
  assert 0 < scores.micro_f1 < 1
  assert found['f1'] == pytest.approx(scores.micro_f1)
  assert found['frame_accuracy'] == pytest.approx(scores.frame_accuracy)


def test_loss_is_the_binary_cross_entropy(reader):
  given = batch(0)
  _, total, metrics, logits = _step(reader.params, given)
  probability = 1 / (1 + np.exp(-np.asarray(logits, np.float64)))
  shown = given['images']['labels']
  expected = -np.log(np.where(shown, probability, 1 - probability)).mean()
  assert float(total) == pytest.approx(expected, rel=1e-5)
  assert finalise(fetched(metrics))['loss'] == pytest.approx(expected, rel=1e-5)


def test_every_parameter_is_trained(reader):
  gradients, *_ = _step(reader.params, batch(0))
  for path, leaf in jax.tree_util.tree_leaves_with_path(gradients):
    assert float(jnp.abs(leaf).max()) > 0, path


def test_other_shapes_are_read_in_their_centre(reader):
  frames = batch(0, rows=16)['images']['pixels']
  expected = reader.read(frames)
  assert expected.any() and not expected.all()
  wide = np.pad(frames, [(0, 0), (0, 0), (5, 5), (0, 0)])
  np.testing.assert_array_equal(reader.read(wide), expected)
  # The number of frames is padded, which changes none of them.
  np.testing.assert_array_equal(reader.read(frames[:13]), expected[:13])


def test_stories_without_names_are_refused():
  with pytest.raises(ValueError, match='characters.names is empty'):
    CharactersConfig(stories='x.h5')


def test_frames_of_any_size_are_read_as_training_reads_them(reader):
  frames = np.random.default_rng(3).integers(0, 256, (2, 23, 41, 3))
  frames = frames.astype(np.uint8)
  seen = []
  whole = dataclasses.replace(reader)  # Its network is not compiled yet.
  whole.__dict__['_network'] = lambda _, frames: (
    seen.append(frames) or np.zeros((len(frames), 3), bool)
  )
  whole.read(frames)
  np.testing.assert_array_equal(seen[0], resized(frames, 16))
