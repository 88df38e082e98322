"""Trained vectors before every text: what they change, and what is trained."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from phenaki_jax import rng as rngs
from phenaki_jax import sharding
from phenaki_jax.diffusion.conditions import Conditions
from phenaki_jax.diffusion.config import DiffusionConfig
from phenaki_jax.diffusion.denoiser import Denoiser
from phenaki_jax.errors import UserError
from phenaki_jax.generator import EncodedTexts, Generator
from phenaki_jax.masked_transformer.config import SIZES, GeneratorConfig
from phenaki_jax.masked_transformer.prompt import Prompt
from phenaki_jax.nn.conditions import blank
from phenaki_jax.nn.config import PortsConfig
from phenaki_jax.text.config import TextConfig
from phenaki_jax.tokenizer.config import TokenizerConfig
from phenaki_jax.training.config import OptimConfig
from phenaki_jax.training.diffusion_task import DiffusionTask
from phenaki_jax.training.generator_config import GeneratorTaskConfig
from phenaki_jax.training.generator_task import GeneratorTask
from phenaki_jax.training.optim import make_optimizer
from phenaki_jax.training.state import abstract_state, boxed_params
from phenaki_jax.training.step import make_step


def test_vectors_stand_before_every_text():
  bits = np.random.default_rng(0)
  vectors = jnp.asarray(bits.normal(size=(2, 4, 6)), jnp.float32)
  mask = jnp.array([[True] * 4, [True, False, False, False]])
  own = jnp.asarray(bits.normal(size=(3, 6)), jnp.float32)
  found, seen = Prompt(3).apply({'params': {'vectors': own}}, vectors, mask)
  np.testing.assert_array_equal(found[:, 3:], vectors)
  np.testing.assert_array_equal(found[:, :3], np.stack([own, own]))
  np.testing.assert_array_equal(seen[:, 3:], mask)
  assert seen[:, :3].all()


def test_generator_reads_them_like_vectors_of_the_text(tiny_sampler):
  models = tiny_sampler.models
  config = dataclasses.replace(models.generator, prompt=3)
  bits = np.random.default_rng(1)
  own = jnp.asarray(bits.normal(size=(3, models.text.width)), jnp.float32)
  params = jax.tree.map(jnp.asarray, tiny_sampler.generator_params)
  params |= {'prompt': {'vectors': own}}
  plain = Generator(config=models.generator, text=models.text)
  prompted = Generator(config=config, text=models.text)
  ids = jnp.asarray(bits.integers(0, 17, (2, *config.grid)), jnp.int32)
  texts = plain.encode(params, jnp.array([[7, 8, 1, 0], [9, 1, 0, 0]]))
  longer = EncodedTexts(
    vectors=jnp.concatenate([jnp.stack([own, own]), texts.vectors], 1),
    mask=jnp.concatenate([jnp.ones((2, 3), bool), texts.mask], 1),
  )

  @jax.jit
  def logits(texts, longer):
    return prompted.logits(params, ids, texts), plain.logits(
      params, ids, longer
    )

  found, expected = logits(texts, longer)
  np.testing.assert_array_equal(found, expected)
  # With other vectors in their place, the logits differ.
  found, expected = logits(texts, jax.tree.map(lambda x: x[::-1], longer))
  assert not np.allclose(found, expected, atol=1e-2)


UNET = DiffusionConfig(patch=2, widths=(8,), head_dim=8, condition_width=8)


def _drawn(shapes, seed):
  bits = np.random.default_rng(seed)
  return jax.tree.map(
    lambda leaf: jnp.asarray(bits.normal(size=leaf.shape), leaf.dtype), shapes
  )


def test_so_does_a_diffusion_model(tiny_sampler):
  text = tiny_sampler.models.text
  plain = Denoiser(config=UNET, text=text)
  prompted = Denoiser(config=dataclasses.replace(UNET, prompt=3), text=text)
  shapes = jax.eval_shape(prompted.init, jax.random.key(0))
  params = _drawn(sharding.unbox(shapes), 3)
  bits = np.random.default_rng(4)
  x = jnp.asarray(bits.normal(size=(2, 1, 4, 4, 3)), jnp.float32)

  @jax.jit
  def predict(own):
    texts = plain.encode(params, jnp.array([[7, 8, 1, 0], [9, 1, 0, 0]]))
    shown = Conditions(text=texts.vectors, text_mask=texts.mask)
    longer = Conditions(
      text=jnp.concatenate([jnp.stack([own, own]), texts.vectors], 1),
      text_mask=jnp.concatenate([jnp.ones((2, 3), bool), texts.mask], 1),
    )
    level = jnp.full(2, 0.5)
    return prompted.predict(params, x, level, shown), plain.predict(
      params, x, level, longer
    )

  found, expected = predict(params['prompt']['vectors'])
  np.testing.assert_array_equal(found, expected)
  # With other vectors in their place, the predictions differ.
  found, expected = predict(-params['prompt']['vectors'])
  assert not np.allclose(found, expected, atol=1e-2)


def test_vectors_of_a_prompt_are_no_part_of_the_story(tiny_sampler):
  """The story encoder reads the caption; without attention to texts, all."""
  ports = PortsConfig(memory=('history',), memory_slots=1, story=True)
  denoiser = Denoiser(
    config=dataclasses.replace(UNET, prompt=3, ports=ports),
    text=tiny_sampler.models.text,
  )
  shapes = jax.eval_shape(denoiser.init, jax.random.key(0))
  params = jax.tree_util.tree_map_with_path(
    lambda path, leaf: leaf * ('cross' not in {one.key for one in path}),
    _drawn(sharding.unbox(shapes), 5),
  )
  bits = np.random.default_rng(6)
  x, caption, own = (
    jnp.asarray(bits.normal(size=shape), jnp.float32)
    for shape in ((1, 1, 4, 4, 3), (1, 4, denoiser.text.width), (3, 1))
  )
  told = blank(
    ports,
    (1, 2, 2),
    text_width=denoiser.text.width,
    image_width=denoiser.config.image_width,
  )
  entries = told.memory['history']
  entries = entries.replace(
    visible=jnp.ones_like(entries.visible),
    captions=jnp.ones_like(entries.captions),
    spoken=jnp.ones_like(entries.spoken),
  )

  @jax.jit
  def predict(own, caption):
    given = Conditions(
      text=caption,
      text_mask=jnp.ones(caption.shape[:2], bool),
      ports=told.replace(memory={'history': entries}),
    )
    vectors = {'vectors': params['prompt']['vectors'] * own}
    prompted = {**params, 'prompt': vectors}
    return denoiser.predict(prompted, x, jnp.full(1, 0.5), given)

  found = predict(own, caption)
  np.testing.assert_array_equal(found, predict(-own, caption))
  assert not np.allclose(found, predict(own, -caption), atol=1e-2)


def _count(tree):
  return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize(
  ('size', 'most'), [('paper_1p8b', 1e-4), ('paper_0p9b', 2e-4), ('tiny', 5e-3)]
)
def test_vectors_of_storydalle_are_a_small_share(size, most):
  task = GeneratorTask(
    config=GeneratorConfig(**SIZES[size], prompt=32),
    text=TextConfig(),
    tokenizer=TokenizerConfig(),
    tokenizer_params={},
  )
  params = sharding.unbox(boxed_params(task))
  assert params['prompt']['vectors'].shape[0] == 32
  assert 0 < _count(params['prompt']) < most * _count(params)


def test_model_without_text_has_no_prompt():
  with pytest.raises(UserError, match='a model without text has no vectors'):
    GeneratorConfig(prompt=4, text_width=0)
  with pytest.raises(UserError, match='no texts that these vectors could'):
    DiffusionConfig(prompt=4, reads_text=False)


@pytest.fixture(scope='module')
def stepped(tiny_sampler):
  """Train the prompt and a word for two steps; return all states."""

  def run(trained, kind='generator'):
    models = tiny_sampler.models
    kinds = {'generator': (GeneratorTask, models.generator)}
    kinds['diffusion'] = (DiffusionTask, UNET)
    make, config = kinds[kind]
    task = make(
      config=dataclasses.replace(config, prompt=4),
      text=dataclasses.replace(models.text, words=('wug', 'zog')),
      tokenizer=models.tokenizer,
      tokenizer_params={},
      training=GeneratorTaskConfig(trained=trained, text_dropout=0.0),
    )
    # All rules of an optimizer that could change a parameter without gradient.
    optim = OptimConfig(learning_rate=0.1, weight_decay=0.5, warmup_steps=0)
    optimizer = make_optimizer(
      optim, steps=2, params=boxed_params(task), unoptimized=task.fixed
    )
    mesh = sharding.make_mesh(sharding.MeshConfig(), devices=jax.devices()[:1])
    abstract = abstract_state(task, optimizer, mesh)
    params = _drawn(abstract.params, 2)
    bits = np.random.default_rng(2)
    # The second word alone is in a caption. A task reads pixels or tokens.
    batch = {
      'images': {
        'tokens': jnp.asarray(bits.integers(0, 16, (2, 2, 2)), jnp.int32),
        'pixels': jnp.asarray(bits.integers(0, 256, (2, 8, 8, 3)), jnp.uint8),
        'text': jnp.array([[7, 65, 1, 0], [65, 1, 0, 0]], jnp.int32),
      }
    }
    del batch['images']['pixels' if kind == 'generator' else 'tokens']
    state = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), abstract)
    state = state.replace(params=params, ema=params)
    step = jax.jit(make_step(task, optimizer, ema_decay=0.5))
    states = [state.params]
    for _ in range(2):
      state, results = step(state, batch, rngs.root(0), {})
      assert not results['nonfinite'].sum
      states.append(state.params)
    return states

  return run


def _same(before, after):
  return jax.tree.map(lambda a, b: bool((a == b).all()), before, after)


@pytest.mark.parametrize('kind', ['generator', 'diffusion'])
def test_only_the_prompt_changes(stepped, kind):
  states = stepped('prompt', kind)
  for before, after in zip(states, states[1:], strict=False):
    same = _same(before, after)
    assert same.pop('prompt') == {'vectors': False}
    assert all(jax.tree.leaves(same))


def test_only_the_row_of_the_word_in_the_captions_changes(stepped):
  states = stepped('words')
  for before, after in zip(states, states[1:], strict=False):
    rows = np.asarray(before['words']['words'] == after['words']['words'])
    assert rows.all(1).tolist() == [True, False]
    same = _same(before, after)
    del same['words']
    assert all(jax.tree.leaves(same))
