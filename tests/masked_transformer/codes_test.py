"""Code vectors against numpy, and digits against the quantizer's own."""

import jax
import jax.numpy as jnp
import numpy as np

from phenaki_jax.masked_transformer.codes import CodeTable, digits
from phenaki_jax.sharding import unbox
from phenaki_jax.tokenizer.quantizers.fsq import FSQ

LEVELS = (4, 3, 2)


def _init(table):
  return unbox(jax.jit(table.init)(jax.random.key(0)))['params']


def test_digits_are_those_of_the_quantizer():
  """Each digit of FSQ's vectors is the one the table counts on."""
  layer = FSQ(LEVELS, 3)
  params = unbox(layer.init(jax.random.key(0), jnp.zeros((1, 3))))['params']
  # With unit maps the vectors are the digits, each scaled to [-1, 1].
  params['up'] = {'kernel': jnp.eye(3), 'bias': jnp.zeros(3)}
  vectors = np.asarray(
    layer.apply({'params': params}, jnp.arange(24), method='lookup')
  )
  half = (np.array(LEVELS) - 1) / 2
  np.testing.assert_allclose(
    digits(24, LEVELS), (vectors + 1) * half, atol=1e-5
  )


def test_every_code_has_its_own_digits():
  assert len(np.unique(digits(24, LEVELS), axis=0)) == 24


def test_a_vector_is_the_sum_of_its_parts():
  table = CodeTable(num=24, features=6, levels=LEVELS)
  params = _init(table)
  found = np.asarray(table.apply({'params': params}))
  for code in (0, 1, 11, 23):
    expected = np.array(params['embedding'][code])
    for i, digit in enumerate(digits(24, LEVELS)[code]):
      expected += params[f'digit_{i}_embedding'][digit]
    np.testing.assert_allclose(found[code], expected, atol=1e-6)


def test_codes_that_share_a_digit_share_its_gradient():
  table = CodeTable(num=24, features=6, levels=LEVELS)
  params = _init(table)
  gradient = jax.grad(lambda p: table.apply({'params': p})[4].sum())(params)
  # 4 = 0 + 4 * 1: digit 0 is 0, digit 1 is 1.
  np.testing.assert_array_equal(
    gradient['digit_0_embedding'][:, 0], [1, 0, 0, 0]
  )
  np.testing.assert_array_equal(gradient['digit_1_embedding'][:, 0], [0, 1, 0])
  assert gradient['embedding'].sum() == 6


def test_codes_without_digits_have_their_own_vector_alone():
  params = _init(CodeTable(num=7, features=6))
  assert list(params) == ['embedding']


def test_vectors_start_with_the_deviation_asked_for():
  for levels in ((), LEVELS):
    table = CodeTable(num=24, features=400, levels=levels, stddev=0.5)
    found = table.apply({'params': _init(table)})
    assert 0.35 < np.std(found) < 0.65
