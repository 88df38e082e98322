"""Only context tokens are replaced, in the shares that were asked for."""

import jax
import jax.numpy as jnp
import numpy as np

from phenaki_jax import rng
from phenaki_jax.masked_transformer.config import GeneratorConfig
from phenaki_jax.text.config import TextConfig
from phenaki_jax.tokenizer.config import TokenizerConfig
from phenaki_jax.training.context_noise import with_noise
from phenaki_jax.training.generator_config import GeneratorTaskConfig
from phenaki_jax.training.generator_task import GeneratorTask

SHAPE = (400, 3, 4, 5)
CODES = 1000


def _example():
  generator = np.random.default_rng(0)
  ids = jnp.asarray(generator.integers(0, CODES, SHAPE), jnp.int32)
  context = jnp.zeros(SHAPE, bool).at[:, :2].set(True)
  return ids, context


_compiled = jax.jit(with_noise, static_argnames=('most', 'codebook_size'))


def _noisy(most, seed=0):
  ids, context = _example()
  noisy = _compiled(
    rng.root(seed), ids, context, most=most, codebook_size=CODES
  )
  return np.asarray(ids), np.asarray(noisy)


def test_other_tokens_stay():
  ids, noisy = _noisy(1.0)
  np.testing.assert_array_equal(ids[:, 2:], noisy[:, 2:])
  assert (ids[:, :2] != noisy[:, :2]).any()
  assert noisy.min() >= 0 and noisy.max() < CODES


def test_every_clip_draws_its_share():
  ids, noisy = _noisy(0.5)
  shares = (ids != noisy)[:, :2].mean((1, 2, 3))
  # A uniform share of at most 0.5 has the mean 0.25 and deviation 0.144; the
  # 40 tokens of a clip and equal neighbours add a little noise.
  assert abs(shares.mean() - 0.25) < 0.03
  assert abs(shares.std() - 0.155) < 0.03
  assert shares.max() < 0.8 and (shares < 0.05).any()


def test_half_of_the_new_ids_are_those_of_a_neighbour():
  ids, noisy = _noisy(1.0)
  changed = (ids != noisy)[:, :2]
  near = np.zeros_like(changed)
  for axis in (2, 3):
    for by in (1, -1):
      near |= (np.roll(ids, by, axis) == noisy)[:, :2]
  assert abs(near[changed].mean() - 0.5) < 0.03


def test_keys_decide():
  first, second = _noisy(0.5, seed=0)[1], _noisy(0.5, seed=1)[1]
  np.testing.assert_array_equal(first, _noisy(0.5, seed=0)[1])
  assert (first != second).any()


def test_context_is_noisy_in_training_and_clean_in_evaluation():
  task = GeneratorTask(
    config=GeneratorConfig(codebook_size=CODES, grid=SHAPE[1:]),
    text=TextConfig(max_length=2),
    tokenizer=TokenizerConfig(fsq_levels=(10, 10, 10)),
    tokenizer_params={},
    training=GeneratorTaskConfig(context_noise=0.5, prediction_share=0.5),
  )
  ids = np.asarray(_example()[0][:8])
  frames = np.array([0, 3] * 4, np.int32)
  clips = {
    'tokens': ids,
    'text': np.ones((8, 2), np.int32),
    'num_frames': np.full(8, 5, np.int32),
    'context_frames': frames,
  }
  clips = jax.tree.map(jnp.asarray, clips)
  training, heldout = (
    jax.jit(task.rows)({}, {'clips': clips}, rng.root(0), part)
    for part in (None, 0.5)
  )
  np.testing.assert_array_equal(heldout.ids, ids)
  changed = np.asarray(training.ids != ids)
  # Three frames are two latent frames; what follows is to be predicted.
  assert changed[frames > 0, :2].any((1, 2, 3)).all()
  assert not changed[frames == 0].any() and not changed[:, 2:].any()
  assert not (changed & np.asarray(training.hidden)).any()
