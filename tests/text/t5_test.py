"""The T5 encoder compared with T5X's outputs, and its properties."""

import dataclasses
import math
import pathlib

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from phenaki_jax import sharding
from phenaki_jax.planning import program
from phenaki_jax.sharding import check_names
from phenaki_jax.text.config import TextConfig
from phenaki_jax.text.t5 import T5Encoder, relative_buckets

GOLDEN = pathlib.Path(__file__).parent.parent / 'golden' / 't5x_encoder.npz'
SMALL = TextConfig(
  vocab_size=128, width=16, num_heads=2, head_dim=8, num_layers=2, mlp_dim=32
)
IDS = jnp.array([[5, 9, 1, 0, 0, 0], [7, 3, 8, 2, 4, 1]], jnp.int32)


@pytest.fixture(scope='module')
def golden():
  """Read a checkpoint written by T5X and the outputs of T5X's encoder."""
  with np.load(GOLDEN, allow_pickle=False) as file:
    arrays = dict(file)
  prefix = 'params/'
  params = {
    name.removeprefix(prefix): array
    for name, array in arrays.items()
    if name.startswith(prefix)
  }
  return arrays['ids'], arrays['encoded'], params


@pytest.fixture(scope='module')
def variables(golden):
  params = jax.tree.map(jnp.asarray, golden[2])
  return {'params': unflatten_dict(params, sep='/')}


def test_outputs_equal_those_of_t5x(golden, variables):
  ids, expected, _ = golden
  assert (ids == 0).any(), 'the golden file must contain padding'
  actual = T5Encoder(SMALL).apply(variables, jnp.asarray(ids))
  np.testing.assert_allclose(actual, expected, atol=1e-5, rtol=0)


def test_names_and_shapes_are_those_of_t5x(golden):
  boxed = jax.eval_shape(T5Encoder(SMALL).init, jax.random.key(0), IDS)
  shapes = flatten_dict(nn.unbox(boxed)['params'], sep='/')
  assert {name: leaf.shape for name, leaf in shapes.items()} == {
    name: array.shape for name, array in golden[2].items()
  }


def test_every_parameter_has_logical_axis_names():
  boxed = jax.eval_shape(T5Encoder(SMALL).init, jax.random.key(0), IDS)
  leaves = jax.tree.leaves(
    boxed, is_leaf=lambda leaf: isinstance(leaf, nn.Partitioned)
  )
  for leaf in leaves:
    assert isinstance(leaf, nn.Partitioned)
    assert len(leaf.names) == leaf.value.ndim
    check_names(leaf.names)


@pytest.mark.parametrize('shape', [(6,), (1, 2, 6), (2, 1, 1, 6)])
def test_leading_dimensions_are_kept(variables, shape):
  encoder = T5Encoder(SMALL)
  ids = IDS.reshape(-1)[: math.prod(shape)].reshape(shape)
  flat = encoder.apply(variables, ids.reshape((-1, 6)))
  np.testing.assert_array_equal(
    encoder.apply(variables, ids), flat.reshape((*shape, SMALL.width))
  )


def test_padding_does_not_change_the_text_before_it(variables):
  encoder = T5Encoder(SMALL)
  short = encoder.apply(variables, IDS[:1, :3])
  np.testing.assert_allclose(
    encoder.apply(variables, IDS[:1])[:, :3], short, atol=1e-6
  )
  longer = jnp.pad(IDS[:1], ((0, 0), (0, 9)))
  np.testing.assert_allclose(
    encoder.apply(variables, longer)[:, :3], short, atol=1e-6
  )


def test_every_output_depends_on_every_id(variables):
  encoder = T5Encoder(SMALL)
  before = encoder.apply(variables, IDS[1])
  for position in range(6):
    changed = encoder.apply(variables, IDS[1].at[position].set(50))
    moved = jnp.abs(changed - before).max(axis=-1)
    assert (moved > 1e-4).all()


def test_padding_alone_gives_finite_outputs(variables):
  out = T5Encoder(SMALL).apply(variables, jnp.zeros((2, 6), jnp.int32))
  assert jnp.isfinite(out).all()


def test_bfloat16_is_close_and_parameters_stay_float32(golden, variables):
  ids, expected, _ = golden
  encoder = T5Encoder(SMALL, dtype=jnp.bfloat16)
  actual = encoder.apply(variables, jnp.asarray(ids))
  assert actual.dtype == jnp.bfloat16
  error = np.abs(np.asarray(actual, np.float32) - expected)
  assert error.max() < 0.1
  boxed = jax.eval_shape(encoder.init, jax.random.key(0), IDS)
  assert {leaf.dtype for leaf in jax.tree.leaves(boxed)} == {
    jnp.dtype(jnp.float32)
  }


def test_dropout_is_off_by_default(variables):
  config = dataclasses.replace(SMALL, dropout=0.5)
  encoder = T5Encoder(config)
  rngs = {'dropout': jax.random.key(1)}
  plain = T5Encoder(SMALL).apply(variables, IDS)
  np.testing.assert_array_equal(encoder.apply(variables, IDS), plain)
  dropped = encoder.apply(variables, IDS, deterministic=False, rngs=rngs)
  again = encoder.apply(variables, IDS, deterministic=False, rngs=rngs)
  assert jnp.abs(dropped - plain).max() > 0.1
  np.testing.assert_array_equal(dropped, again)


def test_initial_logits_and_outputs_have_unit_scale():
  # The query's initialiser must include the 1/sqrt(d) that logits lack.
  config = TextConfig(width=64, num_heads=4, head_dim=16, mlp_dim=128)
  encoder = T5Encoder(config)
  ids = jax.random.randint(jax.random.key(0), (4, 16), 2, 256)
  params = nn.unbox(jax.jit(encoder.init)(jax.random.key(1), ids))['params']
  attention = params['encoder']['layers_0']['attention']
  x = jax.random.normal(jax.random.key(2), (512, 64))
  q = (x @ attention['query']['kernel']).reshape((512, 4, 16))
  k = (x[::-1] @ attention['key']['kernel']).reshape((512, 4, 16))
  logits = jnp.einsum('NKd,NKd->NK', q, k)
  assert 0.7 < logits.std() < 1.4
  out = encoder.apply({'params': params}, ids)
  assert 0.9 < jnp.sqrt(jnp.mean(out**2)) < 1.1


def test_gradients_reach_every_parameter(variables):
  def loss(params):
    return jnp.sum(T5Encoder(SMALL).apply({'params': params}, IDS) ** 3)

  gradients = flatten_dict(
    jax.jit(jax.grad(loss))(variables['params']), sep='/'
  )
  for name, gradient in gradients.items():
    assert jnp.abs(gradient).max() > 0, name


def _bucket(distance, num_buckets, max_distance):
  """Compute one bucket as described in T5, section 2.1."""
  half = num_buckets // 2
  exact = half // 2
  side = half if distance > 0 else 0
  size = abs(distance)
  if size < exact:
    return side + size
  share = math.log(size / exact) / math.log(max_distance / exact)
  return side + min(half - 1, exact + int(share * (half - exact) + 1e-6))


@pytest.mark.parametrize('num_buckets, reach', [(32, 128), (8, 20), (4, 2)])
def test_relative_buckets_follow_the_paper(num_buckets, reach):
  distance = np.arange(-300, 301)
  actual = relative_buckets(
    distance, num_buckets=num_buckets, max_distance=reach
  )
  expected = [_bucket(int(d), num_buckets, reach) for d in distance]
  assert actual.tolist() == expected
  assert set(actual.tolist()) <= set(range(num_buckets))


def test_split_kernels_are_gathered_and_no_products_are_summed():
  mesh = sharding.make_mesh(sharding.MeshConfig(fsdp=8))
  encoder = T5Encoder(SMALL)
  boxed = jax.eval_shape(encoder.init, jax.random.key(0), IDS)
  ids = jax.ShapeDtypeStruct(
    (16, 6), jnp.int32, sharding=sharding.batch_sharding(mesh)
  )
  with jax.set_mesh(mesh):
    compiled = (
      jax.jit(encoder.apply)
      .lower(sharding.describe(boxed, mesh), ids)
      .compile()
    )
  found = program.collectives(compiled.as_text())
  assert found['all-gather'].count > 0
  assert 'all-reduce' not in found, found
