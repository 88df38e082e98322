"""What a diffusion model is shown, and what its loss counts."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import learning
import numpy as np
import pytest
import real

from phenaki_jax import rng as rngs
from phenaki_jax import sharding
from phenaki_jax.diffusion.config import DiffusionConfig
from phenaki_jax.diffusion.enlargement import enlarge, reduce_uint8
from phenaki_jax.generator import empty_texts
from phenaki_jax.pixels import normalise
from phenaki_jax.sharding import MeshConfig
from phenaki_jax.text.config import TextConfig
from phenaki_jax.tokenizer.config import TokenizerConfig
from phenaki_jax.tokenizer.cvivit import CViViT
from phenaki_jax.training.diffusion_task import DiffusionTask
from phenaki_jax.training.generator_config import GeneratorTaskConfig
from phenaki_jax.training.metrics import finalise
from phenaki_jax.training.micro_batches import gradients_of

SHAPE = {'widths': (8,), 'head_dim': 8, 'condition_width': 8}
PIXELS = TokenizerConfig(tubelet=1, patch=(1, 1))
TEXT = TextConfig(
  vocab_size=32,
  width=8,
  num_layers=1,
  num_heads=1,
  head_dim=8,
  mlp_dim=8,
  max_length=6,
)
TRAINING = GeneratorTaskConfig(
  prediction_frames=1, prediction_share=0.0, text_dropout=0.0
)


def _task(values='pixels', tokenizer=PIXELS, training=TRAINING, **options):
  params = None
  if values == 'latents':
    options['channels'] = real.TOKENIZER.latent_width
    params = sharding.unbox(jax.jit(real.tokenizer_task().init)(rngs.root(9)))
  return DiffusionTask(
    config=DiffusionConfig(values=values, **SHAPE, **options),
    text=TEXT,
    tokenizer=tokenizer,
    training=training,
    tokenizer_params=params,
  )


def _examples(task, batch=None, seed=0):
  batch = real.batch(0) if batch is None else batch
  return jax.jit(task.examples)(task.frozen, batch, rngs.root(seed))


def test_images_are_clips_of_one_frame_without_time():
  batch = real.batch(0)
  found = _examples(_task(scale=0.5))
  clips, images = found['clips'], found['images']
  np.testing.assert_allclose(
    clips.x, 2 * normalise(jnp.asarray(batch['clips']['pixels'])), atol=1e-6
  )
  assert images.x.shape == (8, 1, 8, 8, 3)
  assert clips.given.time.all() and images.given.time is None
  assert not clips.given.canvas.any() and not images.given.canvas.any()
  np.testing.assert_array_equal(clips.texts, batch['clips']['text'])
  # The last clip has one frame, and padding.
  np.testing.assert_array_equal(
    clips.corrupted.mask.all((2, 3)), [[True] * 3] * 7 + [[True, False, False]]
  )


def test_clips_of_one_frame_are_images():
  batch = real.batch(0)
  clips = batch['clips']
  clips['pixels'], clips['num_frames'] = (
    clips['pixels'][:, :1],
    np.ones(8, np.int32),
  )
  task = _task()
  found = jax.eval_shape(task.examples, task.frozen, batch, rngs.root(0))
  assert found['clips'].given.time is None
  assert found['clips'].x.shape == found['images'].x.shape


def test_what_is_known_is_on_the_canvas():
  batch = real.batch(0)
  batch['clips']['context_frames'][:2] = 2
  training = dataclasses.replace(TRAINING, prediction_share=1.0)
  clips = _examples(_task(training=training), batch)['clips']
  known = np.asarray(clips.given.canvas[..., 3])
  frames = known.all((2, 3)).sum(1)
  # A clip of one frame has nothing left to predict.
  np.testing.assert_array_equal(frames, [2, 2] + [1] * 5 + [0])
  assert (known.any((2, 3)) == known.all((2, 3))).all()
  shown = np.asarray(clips.given.canvas[..., :3])
  np.testing.assert_allclose(shown, clips.x * known[..., None], atol=1e-6)


def test_latents_are_what_the_tokenizer_rounds():
  task = _task('latents', real.TOKENIZER, scale=0.5)
  batch = real.batch(0)
  batch['clips']['context_frames'][:2] = 1
  found = _examples(task, batch)
  clips, params = found['clips'], {'params': task.tokenizer_params}

  @functools.partial(jax.jit, static_argnames='method')
  def apply(inputs, method):
    return CViViT(real.TOKENIZER).apply(params, inputs, method=method)

  pixels = normalise(jnp.asarray(batch['clips']['pixels']))
  latents = apply(pixels, method='latents')
  np.testing.assert_allclose(clips.x, 2 * latents, atol=1e-5)
  # Rounded, they are the tokens.
  ids = apply(pixels, method='encode')
  decoded = apply(ids, method='decode')
  again = apply(latents, method='decode_latents')
  np.testing.assert_allclose(again, decoded, atol=1e-5)
  assert found['images'].x.shape == (8, 1, 2, 2, 4)
  assert clips.given.canvas.shape == (8, 2, 2, 2, 5)
  known = clips.given.canvas[..., 4].all((2, 3))
  np.testing.assert_array_equal(known, [[True, False]] * 2 + [[False] * 2] * 6)
  assert clips.corrupted.mask.all((2, 3)).sum() == 15


def test_small_copies_and_what_they_lack_make_the_frames():
  task = _task('residual', scale=0.2, degradation=0.5, reads_text=False)
  found = _examples(task)
  for name, part in found.items():
    pixels = normalise(jnp.asarray(real.batch(0)[name]['pixels']))
    pixels = pixels if name == 'clips' else pixels[:, None]
    canvas = part.given.canvas
    np.testing.assert_allclose(
      0.2 * part.x + canvas[..., :3], pixels, atol=1e-5
    )
    assert canvas[..., 3].all() and not canvas[..., 4:].any()
    # The noise of the small copy grows with the scalar.
    plain = enlarge(reduce_uint8(pixels, 2), 2)
    error = jnp.sqrt(jnp.square(canvas[..., :3] - plain).mean((1, 2, 3, 4)))
    share = part.given.scalars['degradation']
    ratio = error / share
    assert ratio.max() < 1.6 * ratio.min()
    assert part.texts is None


def test_captions_are_dropped_for_guidance():
  training = dataclasses.replace(TRAINING, text_dropout=0.5)
  found = _examples(_task(training=training), seed=1)['clips'].texts
  text = real.batch(0)['clips']['text']
  empty = (found == empty_texts(jnp.asarray(text))).all(1)
  same = (found == text).all(1)
  assert (empty ^ same).all() and 0 < empty.sum() < 8


@pytest.fixture(scope='module')
def params():
  """Return parameters with which every input matters."""
  shapes = sharding.unbox(jax.eval_shape(_task().init, jax.random.key(0)))
  bits = np.random.default_rng(0)
  return jax.tree.map(
    lambda leaf: bits.normal(0, 0.3, leaf.shape).astype(np.float32), shapes
  )


@pytest.mark.slow
@pytest.mark.unoptimized
def test_every_example_weighs_the_same_and_padding_nothing(params):
  task = _task()
  loss, found = jax.jit(task.loss)(params, {}, real.batch(0), rngs.root(0))
  values = {name: mean.sum / mean.count for name, mean in found.items()}
  np.testing.assert_allclose(loss, values['loss'], rtol=1e-6)
  half = (values['loss_clips'] + values['loss_images']) / 2
  np.testing.assert_allclose(loss, half, rtol=1e-6)
  assert found['loss'].count == 16
  measured = jax.jit(task.evaluate)(params, {}, real.batch(0), rngs.root(0))
  np.testing.assert_allclose(measured['loss'].sum, found['loss'].sum, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.unoptimized
def test_micro_batches_add_up_to_the_batch(params):
  task, mesh = (
    _task(),
    sharding.make_mesh(MeshConfig(), devices=jax.devices()[:1]),
  )
  args = (params, {}, real.batch(0), rngs.root(0))
  with jax.set_mesh(mesh):
    whole, one = jax.jit(gradients_of(task, parts=1, canonical=False))(*args)
    parts, many = jax.jit(gradients_of(task, parts=4, canonical=False))(*args)
  assert one['loss'].count == many['loss'].count == 16
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=2e-4 * jnp.abs(a).max()),
    whole,
    parts,
  )


def test_networks_that_are_not_trained_have_no_gradient():
  training = dataclasses.replace(TRAINING, trained='prompt')
  task, bits = _task(training=training, prompt=2), np.random.default_rng(0)
  params = jax.tree.map(
    lambda leaf: jnp.asarray(bits.normal(size=leaf.shape), leaf.dtype),
    sharding.unbox(jax.eval_shape(task.init, rngs.root(0))),
  )
  batch = {'images': real.batch(0)['images']}

  def loss(params, batch):
    return task.loss(params, {}, batch, rngs.root(0))[0]

  found = jax.jit(jax.grad(loss))(params, batch)
  assert np.any(found.pop('prompt')['vectors'])
  assert set(found) == {'text', 'unet'}
  assert not any(np.any(leaf) for leaf in jax.tree.leaves(found))


def test_frozen_arrays_are_described():
  task = _task('latents', real.TOKENIZER)
  boxed = jax.eval_shape(task.init_frozen, rngs.described())
  expected = jax.tree.map(jnp.shape, task.frozen)
  assert (
    jax.tree.map(lambda leaf: leaf.shape, sharding.unbox(boxed)) == expected
  )


@pytest.mark.slow
def test_layers_over_time_learn_what_frames_alone_do_not_tell():
  """Of a diffusion model in which they are off in half of the clips."""
  task = DiffusionTask(
    config=DiffusionConfig(
      widths=(32,), attention=0, condition_width=64, reads_text=False
    ),
    text=TEXT,
    tokenizer=PIXELS,
    # The first frame is known.
    training=GeneratorTaskConfig(
      prediction_share=1.0, prediction_frames=1, time_off_clips=0.5
    ),
  )

  def draw(bits, count=32):
    """Draw clips of coloured pixels that move to the right."""
    first = 255 * bits.integers(0, 2, (count, 2, 6, 3), np.uint8)
    frames = [np.roll(first, time, 2) for time in range(3)]
    return {
      'pixels': np.stack(frames, 1),
      'text': np.ones((count, 1), np.int32),
      'num_frames': np.full(count, 3, np.int32),
      'context_frames': np.zeros(count, np.int32),
    }

  params = learning.fit(task, draw, 200, optimizer='adamw', learning_rate=5e-3)
  clips = draw(np.random.default_rng(3), 512)

  def loss(share):
    """Return the loss where a share of the clips has no layers over time."""
    training = dataclasses.replace(task.training, time_off_clips=share)
    own = dataclasses.replace(task, training=training)
    metrics = jax.jit(own.evaluate)(params, {}, {'clips': clips}, rngs.root(5))
    return round(finalise(metrics)['loss_clips'], 4)

  found = {'on': loss(0.0), 'off': loss(1.0)}
  print(found)
  assert found['on'] < 0.8 * found['off'], found
