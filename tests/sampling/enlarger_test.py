import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from phenaki_jax import sharding
from phenaki_jax.diffusion.config import DiffusionConfig
from phenaki_jax.diffusion.denoiser import Denoiser
from phenaki_jax.diffusion.enlargement import enlarge, project, reduce
from phenaki_jax.errors import UserError
from phenaki_jax.pixels import normalise, to_uint8
from phenaki_jax.sampling.enlarger import Enlarger
from phenaki_jax.text.config import TextConfig

CONFIG = DiffusionConfig(
  values='residual',
  scale=0.1,
  degradation=0.2,
  shared_noise=True,
  reads_text=False,
  widths=(8,),
  attention=0,
  patch=4,
  condition_width=8,
)


@functools.cache
def _fresh(config):
  denoiser = Denoiser(config=config, text=TextConfig())
  return sharding.unbox(jax.jit(denoiser.init)(jax.random.key(0)))


def _enlarger(deviation, config=CONFIG):
  bits = np.random.default_rng(0)
  return Enlarger(
    config=config,
    clip_frames=3,
    params=jax.tree.map(
      lambda leaf: leaf + bits.normal(0, deviation, leaf.shape), _fresh(config)
    ),
  )


@pytest.fixture(scope='module')
def enlarger():
  return _enlarger(0.1)


def _frames(count=3):
  bits = np.random.default_rng(1)
  return bits.integers(0, 256, (count, 8, 12, 3)).astype(np.uint8)


def test_small_copies_of_the_result_are_the_input(enlarger):
  frames = _frames()
  made = enlarger(frames)
  assert made.shape == (3, 16, 24, 3) and made.dtype == np.uint8
  small = np.asarray(reduce(jnp.asarray(made, jnp.float32), 2))
  assert np.abs(small - frames).max() <= 1.0
  loose = enlarger(frames, degradation=0.5)
  small = np.asarray(reduce(jnp.asarray(loose, jnp.float32), 2))
  assert np.abs(small - frames).max() > 5


def test_the_noise_is_that_of_the_seed(enlarger):
  frames = _frames()
  made = enlarger(frames, seed=1)
  np.testing.assert_array_equal(enlarger(frames, seed=1), made)
  assert (enlarger(frames, seed=2) != made).any()


@pytest.mark.slow
@pytest.mark.unoptimized
def test_a_new_model_enlarges_almost_bicubically():
  """What is missing starts as the noise that its steps leave: none."""
  frames = _frames()
  plain = normalise(jnp.asarray(frames))
  expected = to_uint8(project(enlarge(plain, 2), plain))
  made = _enlarger(0.0)(frames, steps=1)
  assert np.abs(made.astype(int) - expected).max() <= 1


@pytest.mark.slow
@pytest.mark.unoptimized
def test_a_long_clip_is_enlarged_in_windows(enlarger):
  frames = _frames(5)
  made = enlarger(frames)
  np.testing.assert_array_equal(made[:3], enlarger(frames[:3]))
  np.testing.assert_array_equal(made[3:], enlarger(frames[2:])[1:])
  assert enlarger(frames[:1]).shape == (1, 16, 24, 3)


def test_misfits_are_refused(enlarger):
  with pytest.raises(UserError, match='multiples of 2 to be enlarged'):
    enlarger(np.zeros((1, 7, 8, 3), np.uint8))
  exact = DiffusionConfig(
    **{
      **{f: getattr(CONFIG, f) for f in CONFIG.__dataclass_fields__},
      'degradation': 0.0,
    }
  )
  with pytest.raises(UserError, match='trained on exact frames only'):
    _enlarger(0.0, exact)(_frames(), degradation=0.1)
