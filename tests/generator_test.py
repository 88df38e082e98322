"""Texts are encoded once, and rows read the texts they refer to."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from phenaki_jax import rng, sharding
from phenaki_jax.generator import EncodedTexts, Generator, empty_texts
from phenaki_jax.masked_transformer.config import GeneratorConfig
from phenaki_jax.nn.attention import Packing
from phenaki_jax.text.config import TextConfig

GENERATOR = Generator(
  config=GeneratorConfig(
    codebook_size=12,
    grid=(3, 2, 2),
    width=16,
    num_layers=1,
    num_heads=2,
    mlp_dim=32,
  ),
  text=TextConfig(
    vocab_size=32,
    width=12,
    num_layers=1,
    num_heads=2,
    head_dim=8,
    mlp_dim=24,
    max_length=5,
    dropout=0.5,
  ),
)
TEXTS = jnp.array([[7, 8, 1, 0, 0], [9, 1, 0, 0, 0], [3, 4, 5, 6, 1]])
IDS = jnp.asarray(np.random.default_rng(0).integers(0, 13, (3, 3, 2, 2)))


@functools.cache
def _params():
  """Draw every parameter, as those that start at zero could hide errors."""
  bits = np.random.default_rng(1)
  boxed = jax.eval_shape(GENERATOR.init, rng.root(0))
  return jax.tree.map(
    lambda leaf: jnp.asarray(
      bits.normal(size=leaf.shape) / leaf.shape[0] ** 0.5, jnp.float32
    ),
    sharding.unbox(boxed),
  )


def test_rows_may_have_a_text_for_each_latent_frame():
  params = _params()
  own = GENERATOR.encode(params, TEXTS)
  each = GENERATOR.encode(params, TEXTS.repeat(3, 0))
  np.testing.assert_allclose(
    GENERATOR.logits(params, IDS, own),
    GENERATOR.logits(params, IDS, each, packing=Packing(packed=3)),
    atol=1e-5,
  )


def test_padding_of_texts_is_masked():
  params = _params()
  longer = jnp.pad(TEXTS, ((0, 0), (0, 3)))
  logits = GENERATOR.logits(params, IDS, GENERATOR.encode(params, TEXTS))
  padded = GENERATOR.logits(params, IDS, GENERATOR.encode(params, longer))
  np.testing.assert_allclose(padded, logits, atol=1e-5)


def test_the_empty_text_is_its_end_mark():
  np.testing.assert_array_equal(empty_texts(TEXTS), [[1, 0, 0, 0, 0]] * 3)


def test_empty_texts_for_guidance_are_those_of_training():
  params = _params()
  trained = GENERATOR.encode_with_empty(params, TEXTS)
  own = GENERATOR.encode(params, TEXTS)
  empty = GENERATOR.encode(params, empty_texts(TEXTS))
  text = dataclasses.replace(GENERATOR.text, source='cache')
  frozen = dataclasses.replace(GENERATOR, text=text)
  given = frozen.encode_with_empty(params, TEXTS)
  for found, second in ((trained, empty), (given, empty_texts(own))):
    for name in ('vectors', 'mask'):
      np.testing.assert_allclose(
        getattr(found, name),
        np.concatenate([getattr(own, name), getattr(second, name)]),
        atol=1e-5,
      )


def test_dropout_needs_a_key():
  params = _params()
  plain = GENERATOR.encode(params, TEXTS).vectors
  np.testing.assert_array_equal(GENERATOR.encode(params, TEXTS).vectors, plain)
  dropped = GENERATOR.encode(params, TEXTS, rng.root(2)).vectors
  assert (dropped != plain).any()


def _with_width(width):
  config = dataclasses.replace(GENERATOR.config, text_width=width)
  generator = dataclasses.replace(GENERATOR, config=config)
  boxed = jax.eval_shape(generator.init, rng.root(0))
  bits = np.random.default_rng(1)
  return generator, jax.tree.map(
    lambda leaf: jnp.asarray(bits.normal(size=leaf.shape), jnp.float32),
    sharding.unbox(boxed),
  )


def test_given_vectors_replace_the_text_encoder():
  """Vectors of another width than the model's; an empty text adds nothing."""
  generator, params = _with_width(40)
  assert set(params) == {'generator'}
  cross = params['generator']['blocks']['block_0']['cross']
  assert cross['key']['kernel'].shape == (40, 2, 8)
  bits = np.random.default_rng(2)
  texts = EncodedTexts(
    vectors=jnp.asarray(bits.normal(size=(3, 5, 40)), jnp.float32),
    mask=TEXTS > 0,
  )
  run = jax.jit(
    lambda params, texts: generator.logits(
      params, IDS, generator.encode(params, texts)
    )
  )
  logits = run(params, texts)
  masked = jnp.where(texts.mask[..., None], texts.vectors, 7.0)
  np.testing.assert_allclose(
    run(params, texts.replace(vectors=masked)), logits, atol=1e-4
  )
  empty = empty_texts(texts)
  np.testing.assert_array_equal(empty.mask.sum(1), [1, 1, 1])
  without = run(params, empty)
  assert np.abs(without - logits).max() > 1e-2
  # As without cross-attention.
  cross['out']['kernel'] = 0 * cross['out']['kernel']
  np.testing.assert_allclose(run(params, texts), without, atol=1e-4)


def test_a_model_without_text_has_no_cross_attention():
  generator, params = _with_width(0)
  assert set(params) == {'generator'}
  assert 'cross' not in params['generator']['blocks']['block_0']
  encoded = generator.encode(params, TEXTS)
  logits = generator.logits(params, IDS, encoded)
  assert logits.shape == (*IDS.shape, 12)
