"""One table maps names to mesh axes; a name that is not in it raises."""

import functools
import logging

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from jax import export
from jax.sharding import AxisType, PartitionSpec

from phenaki_jax import rng, sharding
from phenaki_jax.errors import UserError
from phenaki_jax.sharding import MeshConfig

MESHES = {
  (1,): MeshConfig(data=1),
  (8,): MeshConfig(),
  (4, 2): MeshConfig(data=4, fsdp=2),
  (2, 2, 2): MeshConfig(data=2, fsdp=2, tensor=2),
}


class Block(nn.Module):
  width: int = 8
  hidden: int = 16

  @nn.compact
  def __call__(self, x):
    init = nn.initializers.lecun_normal()
    zeros = nn.initializers.zeros_init()
    w = self.param(
      'w', sharding.logical(init, 'embed', 'mlp'), (self.width, self.hidden)
    )
    b = self.param('b', sharding.logical(zeros, 'mlp'), (self.hidden,))
    return sharding.constrain(x @ w + b[None], 'batch', 'mlp')


def _mesh(shape):
  size = int(np.prod(shape))
  return sharding.make_mesh(MESHES[shape], devices=jax.devices()[:size])


def _abstract(**fields):
  x = jnp.ones((2, fields.get('width', 8)))
  return jax.eval_shape(Block(**fields).init, rng.root(0), x)['params']


@pytest.mark.parametrize('shape', MESHES)
def test_mesh_has_three_auto_axes(shape):
  mesh = _mesh(shape)
  assert mesh.axis_names == ('data', 'fsdp', 'tensor')
  assert mesh.axis_types == (AxisType.Auto,) * 3
  assert mesh.size == int(np.prod(shape))


def test_minus_one_takes_the_remaining_devices():
  assert MeshConfig(fsdp=-1, data=2).shape(8) == (2, 4, 1)
  assert MeshConfig().shape(6) == (6, 1, 1)


@pytest.mark.parametrize(
  ('config', 'sentence'),
  [
    (MeshConfig(data=3), 'does not fit 8'),
    (MeshConfig(data=2, fsdp=2), 'does not fit 8'),
    (MeshConfig(data=-1, fsdp=-1), 'at most one'),
    (MeshConfig(data=0), 'positive number'),
    (MeshConfig(data=-2), 'positive number'),
    (MeshConfig(data=-1, fsdp=3), 'fsdp=3'),
  ],
)
def test_a_mesh_that_does_not_fit_is_refused(config, sentence):
  with pytest.raises(ValueError, match=sentence):
    sharding.make_mesh(config)


def test_names_become_specs():
  assert sharding.resolve(('embed', 'mlp')) == PartitionSpec('fsdp', 'tensor')
  assert sharding.resolve(('batch', None)) == PartitionSpec(
    ('data', 'fsdp'), None
  )
  assert sharding.resolve(('layers', 'kv', None)) == PartitionSpec(
    None, None, None
  )


def test_a_mesh_axis_splits_one_dimension_only():
  spec = sharding.resolve(('batch', 'frames', 'embed'))
  assert spec == PartitionSpec(('data', 'fsdp'), None, None)
  assert sharding.resolve(('heads', 'mlp')) == PartitionSpec('tensor', None)


def test_an_unknown_name_suggests_the_nearest():
  with pytest.raises(ValueError, match="'embd'; did you mean 'embed'"):
    sharding.resolve(('embd', 'mlp'))
  with pytest.raises(ValueError, match="did you mean 'heads'"):
    sharding.logical(nn.initializers.ones, 'head')


def test_a_repeated_name_is_refused():
  with pytest.raises(ValueError, match='twice'):
    sharding.resolve(('embed', 'embed'))


def test_parameters_and_optimizer_state_are_placed_alike():
  mesh = _mesh((2, 2, 2))
  params = _abstract()
  placed = sharding.param_shardings(params, mesh)
  state = jax.eval_shape(optax.adamw(1e-3).init, params)
  (adam, *_) = sharding.param_shardings(state, mesh)
  assert placed['w'].spec == PartitionSpec('fsdp', 'tensor')
  assert placed['b'].spec == PartitionSpec('tensor')
  assert adam.mu == placed and adam.nu == placed
  assert adam.count.spec == PartitionSpec()


def test_rules_are_kept_by_optimizer_state():
  init = sharding.logical(
    nn.initializers.ones, 'embed', 'mlp', inputs=1, decay=True
  )
  boxed = {'w': init(rng.root(0), (4, 4)), 'b': _abstract()['b']}
  adam = optax.scale_by_adam().init({'w': boxed['w']})
  for param in (boxed['w'], adam.mu['w'], adam.nu['w']):
    assert isinstance(param, sharding.Parameter)
    assert (param.inputs, param.decay) == (1, True)
  found = sharding.map_parameters(lambda p: (p.inputs, p.decay), boxed)
  assert found == {'w': (1, True), 'b': (None, False)}


def test_a_description_has_shapes_dtypes_and_shardings():
  mesh = jax.sharding.AbstractMesh((2, 2, 2), sharding.MESH_AXES)
  found = sharding.describe(_abstract(), mesh)['w']
  assert (found.shape, found.dtype) == ((8, 16), jnp.float32)
  assert found.sharding.spec == PartitionSpec('fsdp', 'tensor')
  assert found.sharding.shard_shape(found.shape) == (4, 8)


def test_a_parameter_without_names_is_refused():
  params = {'dense': {'kernel': jax.ShapeDtypeStruct((4, 4), jnp.float32)}}
  with pytest.raises(ValueError, match='dense/kernel carries no logical'):
    sharding.param_shardings(params, _mesh((1,)))


def test_names_must_match_the_rank():
  def init(key, shape):
    del key
    return jnp.zeros(shape)

  boxed = sharding.logical(init, 'embed')(rng.root(0), (4, 4))
  with pytest.raises(ValueError, match='has shape'):
    sharding.param_shardings({'w': boxed}, _mesh((1,)))


def test_an_uneven_dimension_is_refused_unless_stated(caplog):
  mesh = _mesh((2, 2, 2))
  params = _abstract(width=7)
  with pytest.raises(ValueError, match="w: dimension 0 .'embed', size 7"):
    sharding.param_shardings(params, mesh)
  with caplog.at_level(logging.WARNING):
    for _ in range(2):
      placed = sharding.param_shardings(params, mesh, uneven='replicate')
  assert placed['w'].spec == PartitionSpec(None, 'tensor')
  assert len([r for r in caplog.records if 'size 7' in r.message]) == 1


def test_unboxed_parameters_are_plain_arrays():
  params = Block().init(rng.root(0), jnp.ones((2, 8)))['params']
  assert isinstance(sharding.unbox(params)['w'], jax.Array)


@pytest.mark.parametrize('shape', MESHES)
def test_init_and_apply_agree_on_every_mesh(shape):
  mesh = _mesh(shape)
  module, x = Block(), np.linspace(-1, 1, 64, dtype=np.float32).reshape(8, 8)
  plain = sharding.unbox(module.init(rng.root(0), x))

  def init(key):
    return sharding.unbox(module.init(key, x))['params']

  with jax.set_mesh(mesh):
    placed = sharding.param_shardings(_abstract(), mesh)
    params = jax.jit(init, out_shardings=placed)(rng.root(0))
    y = jax.jit(module.apply)(
      {'params': params}, sharding.global_batch({'x': x}, mesh)['x']
    )
  assert params['w'].sharding.is_equivalent_to(placed['w'], 2)
  np.testing.assert_allclose(params['w'], plain['params']['w'], atol=1e-6)
  np.testing.assert_allclose(y, module.apply(plain, x), atol=1e-5)


def test_constrain_without_a_mesh_changes_nothing():
  x = jnp.ones((3, 5))
  assert sharding.constrain(x, 'batch', 'embed') is x
  with pytest.raises(ValueError, match='rank 2'):
    sharding.constrain(x, 'batch')
  with pytest.raises(ValueError, match='did you mean'):
    sharding.constrain(x, 'batch', 'width')


def test_constrain_says_when_it_does_not_split_a_dimension(caplog):
  mesh = _mesh((8,))

  def double(x, **options):
    return sharding.constrain(x * 2, 'batch', None, **options)

  with jax.set_mesh(mesh), caplog.at_level(logging.WARNING):
    y = jax.jit(double)(jnp.ones((3, 2)))
    with pytest.raises(UserError, match='size 3. is not divisible by the 8'):
      jax.jit(functools.partial(double, uneven='raise'))(jnp.ones((3, 2)))
  np.testing.assert_array_equal(y, np.full((3, 2), 2.0))
  assert 'size 3) is not divisible by the 8 devices' in caplog.text


def test_a_mesh_may_be_described():
  mesh = sharding.described_mesh(MeshConfig(data=2, fsdp=-1), 128)
  assert dict(mesh.shape) == {'data': 2, 'fsdp': 64, 'tensor': 1}
  assert sharding.batch_ways(mesh) == 128
  with pytest.raises(UserError, match='does not fit 3'):
    sharding.described_mesh(MeshConfig(data=2), 3)


def test_a_batch_is_split_by_rows():
  mesh = _mesh((4, 2))
  rows = np.arange(32).reshape(16, 2)
  joined = sharding.global_batch({'clips': {'text': rows}}, mesh)
  array = joined['clips']['text']
  assert {shard.data.shape for shard in array.addressable_shards} == {(2, 2)}
  np.testing.assert_array_equal(array, rows)


def test_rows_that_do_not_divide_are_named():
  with pytest.raises(ValueError, match='6 rows of images/pixels'):
    sharding.global_batch({'images': {'pixels': np.ones((6, 2))}}, _mesh((8,)))


def test_symbolic_dimensions_split_without_a_mesh():
  shape = export.symbolic_shape('2*b, 3*b, 4*b')
  assert sharding.splits_evenly(shape, ('batch', None, None))
