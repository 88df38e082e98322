"""Statistics of the noise, and samples whose distribution is known."""

import functools

import gaussian
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from phenaki_jax import rng
from phenaki_jax.diffusion.noise import NoiseProcess
from phenaki_jax.diffusion.process import Process, sample
from phenaki_jax.diffusion.schedule import SCHEDULES, even_levels, mix, mix_like
from phenaki_jax.diffusion.targets import Estimate, target_of

BOTH = pytest.mark.parametrize('target', ['noise', 'velocity'])


def _keys(count):
  return jax.vmap(rng.root)(jnp.arange(count, dtype=jnp.uint32))


@pytest.mark.parametrize('schedule', SCHEDULES)
def test_noisy_values_have_the_mean_and_the_variance_of_their_level(schedule):
  corrupt = jax.jit(NoiseProcess(schedule=schedule).corrupt)
  x = jnp.full((8, 4, 5000), 0.7)
  found = corrupt(x, rng.root(0))
  expected = mix(schedule, found.level)
  values = np.asarray(found.x).reshape(8, -1)
  np.testing.assert_allclose(
    values.mean(1), 0.7 * expected.signal, atol=4 / 20000**0.5
  )
  np.testing.assert_allclose(values.std(1), expected.noise, rtol=0.03)
  assert found.mask.shape == (8, 4) and found.mask.all()
  # One level in each eighth of the range, none of them clean.
  level = np.sort(np.asarray(found.level))
  assert (np.floor((level - 1e-3) * 8) == np.arange(8)).all()
  other = corrupt(x, rng.root(1))
  assert (other.level != found.level).all()


def test_a_share_of_the_examples_is_noise_alone():
  corrupt = jax.jit(NoiseProcess(start_share=0.75).corrupt)
  level = np.sort(corrupt(jnp.full((16, 1, 3), 0.7), rng.root(0)).level)
  assert (level == 1.0).sum() == 12
  # The others are spread over all levels.
  assert (np.floor(level[:4] * 4 - 1e-3) == np.arange(4)).all()


@BOTH
def test_the_loss_is_zero_for_the_true_target_alone(target):
  process = NoiseProcess(target=target)

  @jax.jit
  def losses(x):
    found = process.corrupt(x, rng.root(1))
    at = mix_like(process.schedule, found.level, x)
    noise = (found.x - at.signal * x) / at.noise
    truth = target_of(target, Estimate(clean=x, noise=noise), at)
    return process.loss(truth, x, found), process.loss(truth + 2, x, found)

  clips = np.random.default_rng(0).normal(size=(4, 2, 3, 5))
  zero, four = losses(jnp.asarray(clips, jnp.float32))
  assert zero.shape == (4, 2, 3)
  np.testing.assert_allclose(zero, 0, atol=1e-6)
  np.testing.assert_allclose(four, 4, rtol=1e-3)


@functools.cache
def _sampler(process, steps):
  """Return a compiled sampler, from noise or from given values."""
  levels = jnp.asarray(even_levels(steps))

  @functools.partial(jax.jit, static_argnames='shape')
  def made(keys, x=None, shape=()):
    x = process.start(shape, keys) if x is None else x
    return sample(process, gaussian.predictor(process), x, levels, keys)

  return made


@pytest.mark.parametrize(
  ('schedule', 'target'), [('cosine', 'velocity'), ('scaled_linear', 'noise')]
)
def test_ddim_reproduces_the_distribution_of_the_values(schedule, target):
  """Every quantile of the noisy values becomes that of the clean ones."""
  process = NoiseProcess(schedule=schedule, target=target)
  x, distance = gaussian.noisy(process, 1.0, 9)
  made = _sampler(process, 500)(_keys(9), x)
  expected = gaussian.MEAN + gaussian.DEVIATION * distance
  np.testing.assert_allclose(made, expected, atol=0.01)


@pytest.mark.parametrize(
  ('schedule', 'target'), [('cosine', 'velocity'), ('scaled_linear', 'noise')]
)
def test_an_inversion_finds_the_noise_of_which_values_are_made(
  schedule, target
):
  """What is sampled from it is what was given, up to the length of steps."""
  limited = NoiseProcess(schedule=schedule, target=target, limit=3.0)
  distance = jnp.linspace(-2.0, 2.0, 9).reshape(9, 1, 1)
  x = gaussian.MEAN + gaussian.DEVIATION * distance
  predict, keys = gaussian.predictor(limited), _keys(9)
  errors = {}
  for steps in (50, 400):
    levels = jnp.asarray(even_levels(steps))
    noise = jax.jit(limited.invert, static_argnums=0)(predict, x, levels, keys)
    made = _sampler(limited, steps)(keys, noise)
    errors[steps] = np.abs(made - x).max()
  assert errors[400] < 0.02 and errors[400] < errors[50] / 4, errors
  # The noise of a value is as far from the mean as the value is.
  end = mix(schedule, jnp.ones(()))
  expected = (
    end.signal * gaussian.MEAN + gaussian.variance(end) ** 0.5 * distance
  )
  np.testing.assert_allclose(noise, expected, atol=0.05)


def test_a_sample_depends_on_its_own_seed_only():
  process = NoiseProcess()

  def made(seeds):
    keys = jax.vmap(rng.root)(jnp.asarray(seeds, jnp.uint32))
    made = _sampler(process, 10)(keys, shape=(len(seeds), 2, 3))
    return np.asarray(made)

  both = made([3, 5])
  np.testing.assert_array_equal(made([5, 3]), both[::-1])
  other = made([4, 5])
  np.testing.assert_array_equal(other[1], both[1])
  assert (other[0] != both[0]).all()
  # Alone it is compiled for another shape, which may round otherwise.
  np.testing.assert_allclose(made([5])[0], both[1], rtol=1e-5, atol=1e-5)


def test_shared_noise_is_the_same_in_all_frames():
  x = jnp.zeros((2, 3, 4, 1))
  shared = NoiseProcess(shared=True)
  noisy = jax.jit(shared.corrupt)(x, rng.root(0)).x
  for clips in (noisy, _sampler(shared, 5)(_keys(2), shape=x.shape)):
    np.testing.assert_array_equal(clips[:, 1:], clips[:, :-1])
    assert (clips[0] != clips[1]).all()
  own = NoiseProcess().start(x.shape, _keys(2))
  assert (own[:, 1:] != own[:, :-1]).all()


def test_estimates_are_kept_within_the_limit():
  process = NoiseProcess(limit=0.5)
  x, level = jnp.full((1, 1, 1), 2.0), jnp.array([0.3])
  found = process.estimate(jnp.full_like(x, -3.0), x, level)
  at = mix('cosine', level)
  np.testing.assert_allclose(found.clean, 0.5)
  np.testing.assert_allclose(
    at.signal * found.clean[0, 0] + at.noise * found.noise[0, 0], 2.0, rtol=1e-6
  )


def test_diffusion_is_a_process():
  assert isinstance(NoiseProcess(), Process)
