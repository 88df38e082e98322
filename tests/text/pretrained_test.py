"""Encoders read from real checkpoints equal those of T5X and of PyTorch."""

import json
import pathlib
import re
import shutil
import tarfile

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
import tensorstore
from etils import epath
from flax import serialization
from flax.traverse_util import flatten_dict, unflatten_dict

from phenaki_jax import sharding
from phenaki_jax.errors import UserError
from phenaki_jax.sharding import MeshConfig
from phenaki_jax.text.pretrained import encoder_tensors, infer_config
from phenaki_jax.text.pretrained import load_encoder as load
from phenaki_jax.text.t5 import T5Encoder
from phenaki_jax.text.tensors import Tensor, Tensors, open_tensors

GOLDEN = pathlib.Path(__file__).parent.parent / 'golden'
# Written by tests/golden/t5_torch.py.
TORCH = GOLDEN / 't5_torch'


@pytest.fixture(scope='module')
def t5x(tmp_path_factory):
  """Unpack checkpoints that T5X wrote, with the outputs that it computed."""
  folder = tmp_path_factory.mktemp('t5x')
  with tarfile.open(GOLDEN / 't5x_tiny.tar.xz') as archive:
    archive.extractall(folder, filter='data')
  return folder


def load_encoder(path, *, devices=1, **options):
  mesh = sharding.make_mesh(
    MeshConfig(**options.pop('mesh', {})), devices=jax.devices()[:devices]
  )
  return load(path, mesh=mesh, max_length=16, **options)


def encode(found, ids, dtype=jnp.float32):
  encoder = T5Encoder(found.config, dtype=dtype)
  out = jax.jit(encoder.apply)({'params': found.params}, jnp.asarray(ids))
  return np.asarray(out, np.float32)


CASES = [
  ('legacy_f32', 'ids', 'encoded', {'optimizer': 245, 'decoder': 31}),
  ('legacy_f32', 'long_ids', 'long_encoded', {'optimizer': 245, 'decoder': 31}),
  ('orbax_f32', 'tokens', 'encoded', {'optimizer': 153, 'decoder': 17}),
]


@pytest.mark.parametrize('name, ids, encoded, left_out', CASES)
def test_outputs_equal_those_of_t5x(t5x, name, ids, encoded, left_out):
  found = load_encoder(t5x / name / 'checkpoint_0')
  arrays = np.load(t5x / name / 'expected.npz')
  ids, expected = arrays[ids], arrays[encoded]
  np.testing.assert_allclose(encode(found, ids), expected, atol=1e-5, rtol=0)
  assert found.left_out == left_out


def test_bfloat16_is_close_to_float32(t5x):
  path = t5x / 'legacy_f32'
  halved = load_encoder(path / 'checkpoint_0', dtype=jnp.bfloat16)
  leaves = jax.tree.leaves(halved.params)
  assert {leaf.dtype for leaf in leaves} == {jnp.dtype(jnp.bfloat16)}
  arrays = np.load(path / 'expected.npz')
  expected = arrays['encoded']
  error = np.abs(encode(halved, arrays['ids'], jnp.bfloat16) - expected)
  # Of the largest output: rounding the weights alone gives half of it.
  assert error.max() < 2e-2 * np.abs(expected).max()


@pytest.mark.parametrize('activation', ['gated_gelu', 'relu'])
def test_outputs_equal_those_of_torch(activation):
  found = load_encoder(TORCH / activation)
  arrays = np.load(TORCH / f'{activation}.npz')
  ids, expected = arrays['ids'], arrays['encoded']
  assert (ids == 0).any() and (ids > 0).all(axis=1).any()
  assert found.config.activation == activation
  assert found.config.relative_buckets == 8
  actual = encode(found, ids)
  mask = ids > 0
  np.testing.assert_allclose(actual[mask], expected[mask], atol=1e-5, rtol=0)


def test_each_device_reads_its_own_shards(t5x):
  path = t5x / 'legacy_f32' / 'checkpoint_0'
  whole = load_encoder(path)
  split = load_encoder(path, devices=4, mesh={'fsdp': 2, 'tensor': 2})
  jax.tree.map(np.testing.assert_array_equal, split.params, whole.params)
  kernel = split.params['encoder']['layers_1']['mlp']['wi_0']['kernel']
  assert kernel.sharding.shard_shape(kernel.shape) == (32, 64)
  assert not kernel.is_fully_replicated


def write_legacy(folder, params, *, version=3, chunks=16):
  """Write parameters as T5X does, in parts, from a bucket."""
  folder.mkdir(parents=True)
  tree = {}
  for name, array in flatten_dict(params, sep='/').items():
    array = np.asarray(array)
    if array.dtype == ml_dtypes.bfloat16 and version < 3:
      array = array.view(np.uint16)
    place = 'target.' + name.replace('/', '.')
    parts = [min(chunks, side) for side in array.shape]
    store = tensorstore.open(
      {
        'driver': 'zarr',
        'kvstore': {'driver': 'file', 'path': f'{folder / place}/'},
        'metadata': {'chunks': parts, 'compressor': {'id': 'gzip'}},
        'dtype': array.dtype.name,
        'create': True,
      },
      shape=array.shape,
    ).result()
    store.write(array).result()
    spec = {'driver': 'zarr', 'dtype': array.dtype.name}
    where = {'driver': 'gcs', 'bucket': 'far', 'path': f'run/step/{place}'}
    if version < 3:
      spec |= {'kvstore': {'driver': 'gfile'}, 'path': f'{place}/'}
    else:
      spec |= {'kvstore': where}
    # Small arrays are stored in the file itself.
    tree[name] = array if array.ndim == 1 else spec
  content = {'target': unflatten_dict(tree, sep='/'), 'state': {'step': 3}}
  if version:
    content = {'version': version, 'optimizer': content}
  data = serialization.msgpack_serialize(content)
  (folder / 'checkpoint').write_bytes(data)


@pytest.fixture(scope='module')
def small(t5x):
  """Read the parameters of the smaller model."""
  params = load_encoder(t5x / 'orbax_f32' / 'checkpoint_0').params
  return jax.tree.map(np.asarray, params)


@pytest.mark.parametrize('version', [0, 2, 3])
def test_arrays_in_parts_of_all_versions_are_read(small, tmp_path, version):
  dtype = ml_dtypes.bfloat16
  params = jax.tree.map(lambda leaf: leaf.astype(dtype), small)
  write_legacy(tmp_path / 'c', params, version=version)
  found = load_encoder(tmp_path / 'c')
  wanted = jax.tree.map(lambda leaf: leaf.astype(np.float32), params)
  jax.tree.map(np.testing.assert_array_equal, found.params, wanted)
  mesh = {'fsdp': 2, 'tensor': 2}
  split = load_encoder(tmp_path / 'c', devices=4, mesh=mesh)
  jax.tree.map(np.testing.assert_array_equal, split.params, wanted)


def test_a_lost_part_of_an_array_is_no_zero(small, tmp_path):
  write_legacy(tmp_path / 'c', small)
  (tmp_path / 'c' / 'target.token_embedder.embedding' / '2.0').unlink()
  with pytest.raises(UserError, match='a part is missing'):
    load_encoder(tmp_path / 'c')
  shutil.rmtree(tmp_path / 'c' / 'target.encoder.layers_1.mlp.wo.kernel')
  with pytest.raises(UserError, match='a part is missing'):
    load_encoder(tmp_path / 'c')


def test_folders_of_early_orbax_are_read(small, tmp_path):
  write_legacy(tmp_path / 'c' / 'state', small)
  tree = {'target': small}
  flat = {
    name: f'PLACEHOLDER://{name.replace("/", ".")}' if leaf.ndim > 1 else leaf
    for name, leaf in flatten_dict(tree, sep='/').items()
  }
  content = serialization.msgpack_serialize(unflatten_dict(flat, sep='/'))
  (tmp_path / 'c' / 'state' / 'checkpoint').write_bytes(content)
  found = load_encoder(tmp_path / 'c')
  jax.tree.map(np.testing.assert_array_equal, found.params, small)
  # Without the file, the arrays are found by their folders.
  (tmp_path / 'c' / 'state' / 'checkpoint').unlink()
  found = load_encoder(tmp_path / 'c')
  jax.tree.map(np.testing.assert_array_equal, found.params, small)


def hugging_face(tmp_path, change, activation='gated_gelu'):
  """Write the tensors of the model of PyTorch after a change."""
  path = TORCH / activation / 'model.safetensors'
  tensors = safetensors.numpy.load_file(path)
  change(tensors)
  safetensors.numpy.save_file(tensors, tmp_path / 'model.safetensors')
  return tmp_path


def test_tensors_that_are_missing_or_too_many_are_refused(tmp_path):
  wo = 'encoder.block.1.layer.1.DenseReluDense.wo.weight'
  wide = np.zeros((24, 48), np.float32)
  for change, words in (
    (lambda all: all.pop(wo), 'layers_1/mlp/wo/kernel is missing'),
    (lambda all: all.update({wo: wide}), r'is \(48, 24\) and should be'),
    (lambda all: all.update({'encoder.x': wide}), 'encoder.x is'),
    (
      lambda all: all.update({wo.replace('block.1', 'block.3'): wide}),
      'layers_2/.* is missing',
    ),
    (
      lambda all: all.update({'encoder.embed_tokens.weight': wide}),
      'token_embedder/embedding twice',
    ),
    (lambda all: all.pop('shared.weight'), 'lacks token_embedder/embedding'),
  ):
    with pytest.raises(UserError, match=words):
      load_encoder(hugging_face(tmp_path, change))


def test_copies_and_the_decoder_are_counted(tmp_path):
  def change(tensors):
    tensors['encoder.embed_tokens.weight'] = tensors['shared.weight']
    tensors['decoder.final_layer_norm.weight'] = np.ones(3, np.float32)
    tensors['lm_head.weight'] = np.ones((3, 3), np.float32)

  found = load_encoder(hugging_face(tmp_path, change))
  assert found.left_out == {'copies': 1, 'decoder': 2}


def test_config_of_hugging_face_is_heeded(tmp_path):
  hugging_face(tmp_path, lambda all: None)
  config = json.loads((TORCH / 'gated_gelu' / 'config.json').read_text())
  config['relative_attention_max_distance'] = 60
  (tmp_path / 'config.json').write_text(json.dumps(config))
  assert load_encoder(tmp_path).config.relative_max_distance == 60
  config['feed_forward_proj'] = 'gated-silu'
  (tmp_path / 'config.json').write_text(json.dumps(config))
  with pytest.raises(UserError, match="is 'gated-silu'; this version reads"):
    load_encoder(tmp_path)


def test_checkpoint_of_several_files_is_read(tmp_path):
  tensors = safetensors.numpy.load_file(TORCH / 'relu' / 'model.safetensors')
  names = sorted(tensors)
  where = {name: f'{names.index(name) % 2}.safetensors' for name in names}
  for file in set(where.values()):
    held = {name: tensors[name] for name in names if where[name] == file}
    safetensors.numpy.save_file(held, tmp_path / file)
  index = tmp_path / 'model.safetensors.index.json'
  text = json.dumps({'weight_map': where})
  index.write_text(text)
  jax.tree.map(
    np.testing.assert_array_equal,
    load_encoder(tmp_path).params,
    load_encoder(TORCH / 'relu').params,
  )
  index.write_text(text.replace(names[0], 'other'))
  with pytest.raises(UserError, match='only one of them'):
    load_encoder(tmp_path)


def scanned(**shapes):
  items = {
    f'target/{name}': Tensor(lambda shape=shape: (shape, None))
    for name, shape in shapes.items()
  }
  return Tensors(path=epath.Path('c'), is_t5x=True, items=items)


@pytest.mark.parametrize(
  'name, words',
  [
    ('encoder/encoder/attention/query/kernel', 'all layers in one array'),
    ('encoder/layers/mlp/wi_0/kernel', 'all layers in one array'),
    ('encoder/layers_1/relpos_bias/rel_embedding', 'in every layer'),
  ],
)
def test_layouts_of_umt5_are_refused(name, words):
  tensors = scanned(**{'token_embedder/embedding': (8, 4), name: (4, 2, 4)})
  found, _ = encoder_tensors(tensors)
  with pytest.raises(UserError, match=words):
    infer_config(found, path='c', max_length=4)


def test_other_folders_are_refused(tmp_path):
  with pytest.raises(UserError, match='there is no checkpoint'):
    open_tensors(tmp_path / 'nowhere')
  with pytest.raises(UserError, match='holds no checkpoint that'):
    open_tensors(tmp_path)
  (tmp_path / 'checkpoint').write_bytes(b'\xc1 no msgpack')
  with pytest.raises(UserError, match=re.escape(str(tmp_path))):
    open_tensors(tmp_path)
  (tmp_path / 'model.safetensors').write_bytes(b'none')
  with pytest.raises(UserError, match='cannot be read'):
    open_tensors(tmp_path)
