"""A U-Net for clips is one for images until its layers over time change."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from phenaki_jax import sharding
from phenaki_jax.diffusion.conditions import Conditions, pixel_canvas
from phenaki_jax.diffusion.config import DiffusionConfig
from phenaki_jax.diffusion.denoiser import Denoiser
from phenaki_jax.diffusion.unet import from_patches, to_patches
from phenaki_jax.errors import UserError
from phenaki_jax.nn.conditions import ABSENT, Canvas, Entries
from phenaki_jax.nn.conditions import Conditions as PortConditions
from phenaki_jax.nn.config import PortsConfig
from phenaki_jax.text.config import TextConfig

CONFIG = DiffusionConfig(
  values='residual',
  degradation=0.1,
  patch=2,
  widths=(8, 16),
  head_dim=8,
  condition_width=16,
  ports=PortsConfig(
    canvas=True,
    patch=(1, 2, 2),
    memory=('content', 'history', 'character'),
    memory_every=1,
    story=True,
    scalars=('level',),
  ),
)
TEXT = TextConfig(
  vocab_size=16,
  width=8,
  num_layers=1,
  num_heads=2,
  head_dim=4,
  mlp_dim=8,
  max_length=4,
)
NET = Denoiser(config=CONFIG, text=TEXT)
QUICK = functools.partial(
  jax.jit,
  compiler_options={
    'xla_backend_optimization_level': 0,
    'xla_llvm_disable_expensive_passes': True,
  },
)
TIME, PORTS = 'time', ('canvas', 'scalar_degradation', 'cross')
# Those of all networks.
SHARED_PORTS = ('pixels', 'port_scalars', 'memory', 'captions', 'story')
ON = jnp.ones(2, bool)


@functools.cache
def _fresh():
  return QUICK(lambda key: sharding.unbox(NET.init(key)))(
    # Bits that take less time to compile.
    jax.random.key(0, impl='rbg')
  )


def _params(*kept, seed=0):
  """Return random parameters; those of the named layers are fresh."""
  bits = np.random.default_rng(seed)

  def draw(path, leaf):
    names = {entry.key for entry in path}
    noise = bits.normal(path[-1].key == 'scale', 0.3, leaf.shape)
    return leaf if names & set(kept) else noise.astype(np.float32)

  return jax.tree_util.tree_map_with_path(draw, _fresh())


def _clips(frames=3, seed=0):
  bits = np.random.default_rng(seed)
  return bits.normal(size=(2, frames, 8, 8, 3)).astype(np.float32)


LEVEL = jnp.array([0.3, 0.8])


def _given(time=None, frames=3, seed=0, shown=True, share=0.4):
  texts = jax.random.normal(jax.random.key(seed), (2, 4, 8))
  known = jnp.full((2, frames, 8, 8), shown)
  return Conditions(
    canvas=pixel_canvas(jnp.asarray(_clips(frames, seed + 5)), known),
    scalars={'degradation': jnp.full(2, share)},
    text=texts,
    text_mask=jnp.ones((2, 4), bool),
    time=time,
  )


def _with_ports(seed=0, level=2.0, seen=True):
  """Return conditions with a canvas, memories and a level."""
  bits = np.random.default_rng(seed)
  shape = (2, 3, 8, 8)
  given = (bits.random(shape) < 0.5) & seen
  entries = Entries(
    values=jnp.asarray(bits.normal(size=(2, 1, 4, 48)), jnp.float32),
    slots=jnp.zeros((2, 1), jnp.int32),
    visible=jnp.full((2, 3, 1), seen),
  )
  history = entries.replace(
    captions=jnp.asarray(bits.integers(2, 16, (2, 1, 4)), jnp.int32)
  )
  ports = PortConditions(
    canvas=Canvas(
      rgb=jnp.asarray(bits.integers(0, 256, (*shape, 3)), jnp.uint8),
      known=jnp.asarray(given),
      depth=jnp.asarray(bits.random(shape), jnp.float32),
      has_depth=jnp.asarray(given),
    ),
    memory={'content': entries, 'history': history, 'character': entries},
    scalars={'level': jnp.full(2, level)},
  )
  return _given(ON).replace(ports=ports)


def _predict(params, x, given):
  level = jnp.repeat(LEVEL, x.shape[0] // 2)
  return NET.predict(params, x, level, given)


_run = QUICK(_predict)


def _loss(params, x, given):
  return jnp.square(_predict(params, x, given)).sum()


@pytest.fixture(scope='module')
def gradients():
  return QUICK(jax.grad(_loss))


def _norms(tree, name):
  """Return the largest entry of each leaf below a layer of that name."""
  leaves = jax.tree_util.tree_leaves_with_path(tree)
  return [
    float(jnp.abs(leaf).max())
    for path, leaf in leaves
    if name in {entry.key for entry in path}
  ]


def test_at_first_a_clip_is_its_frames():
  params, x, given = _params(TIME), _clips(), _given(ON)
  video = _run(params, x, given)
  assert np.abs(video).max() > 0.1
  # The frames as six images.
  images = jax.tree.map(lambda leaf: jnp.repeat(leaf, 3, 0), given)
  images = images.replace(canvas=given.canvas.reshape(6, 1, 8, 8, 6), time=None)
  apart = _run(params, x.reshape(6, 1, 8, 8, 3), images)
  np.testing.assert_allclose(video, apart.reshape(video.shape), atol=1e-6)


def test_a_still_clip_stays_still_whatever_is_learned():
  params, still = _params(), np.repeat(_clips(1), 3, 1)
  given = _given(ON)
  canvas = jnp.repeat(given.canvas[:, :1], 3, 1)
  found = _run(params, still, given.replace(canvas=canvas))
  np.testing.assert_allclose(found[:, 1:], found[:, :-1], atol=2e-4)
  moving = _run(params, _clips(), given)
  assert np.abs(moving[:, 1:] - moving[:, :-1]).max() > 0.1


def test_time_is_switched_for_each_clip():
  params, x = _params(), _clips()
  on, off, mixed = (
    _run(params, x, _given(jnp.array(time)))
    for time in ([True, True], [False, False], [True, False])
  )
  np.testing.assert_allclose(mixed[0], on[0], atol=1e-5)
  np.testing.assert_allclose(mixed[1], off[1], atol=1e-5)
  assert np.abs(on - off).max() > 0.1


@pytest.mark.slow
def test_layers_over_time_learn_from_moving_clips_alone(gradients):
  params = _params(TIME)
  moving = gradients(params, _clips(), _given(ON))
  # Attention has an output of zeros, before which nothing learns at first.
  learned = [norm > 0 for norm in _norms(moving, TIME)]
  assert sum(learned) > 10
  off = gradients(params, _clips(), _given(jnp.zeros(2, bool)))
  assert not any(_norms(off, TIME))
  after = gradients(_params(), _clips(), _given(ON))
  assert all(_norms(after, TIME))


@pytest.mark.slow
def test_ports_change_nothing_until_they_learn(gradients):
  params, x = _params(*PORTS, *SHARED_PORTS, seed=1), _clips()
  expected = _run(params, x, _given(ON))
  np.testing.assert_allclose(
    _run(params, x, _with_ports()), expected, atol=1e-5
  )
  for other in (
    _given(ON, seed=9),
    _given(ON, shown=False),
    _given(ON, share=0.9),
  ):
    np.testing.assert_array_equal(_run(params, x, other), expected)
  found = gradients(params, x, _with_ports())
  for name in (*PORTS, *SHARED_PORTS):
    assert any(_norms(found, name)), name
  trained = _params(seed=1)
  expected = _run(trained, x, _given(ON))
  for other in (_given(ON, shown=False), _given(ON, share=0.9)):
    assert np.abs(_run(trained, x, other) - expected).max() > 1e-3
  again = _given(ON).replace(text=_given(ON, seed=9).text)
  assert np.abs(_run(trained, x, again) - expected).max() > 1e-3


def test_the_ports_of_all_networks_change_nothing_until_they_learn():
  params, x = _params(*SHARED_PORTS, seed=1), _clips()
  hidden = _with_ports(level=ABSENT, seen=False)
  expected = _run(params, x, hidden)
  np.testing.assert_array_equal(_run(params, x, _with_ports()), expected)
  trained = _params(seed=1)
  expected = _run(trained, x, _with_ports())
  for other in (_with_ports(level=3.0), _with_ports(seed=1), hidden):
    assert np.abs(_run(trained, x, other) - expected).max() > 1e-3
  # What is absent has no effect, whatever is learned.
  other = _with_ports(seed=1, level=ABSENT, seen=False)
  np.testing.assert_array_equal(
    _run(trained, x, hidden), _run(trained, x, other)
  )


def test_a_new_network_predicts_zero_at_every_level():
  found = _run(_fresh(), _clips(), _given(ON))
  assert found.shape == (2, 3, 8, 8, 3)
  assert not found.any()


def test_patches_are_put_together_again():
  x = jnp.asarray(_clips())
  patches = to_patches(x, 4)
  assert patches.shape == (2, 3, 2, 2, 48)
  np.testing.assert_array_equal(
    patches[0, 0, 0, 1, :6], x[0, 0, 0, 4:6].ravel()
  )
  np.testing.assert_array_equal(from_patches(patches, 4), x)


def test_heads_must_divide_the_widths_with_attention():
  with pytest.raises(UserError, match='widths has 12, which .*head_dim 8'):
    DiffusionConfig(widths=(8, 12), head_dim=8)
  DiffusionConfig(widths=(12, 8), head_dim=8)


def test_unknown_scalars_are_refused():
  given = _given(ON).replace(scalars={})
  with pytest.raises(ValueError, match='are read'):
    _run(_fresh(), _clips(), given)
