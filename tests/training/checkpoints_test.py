"""A restored state is the saved one; anything else is refused."""

import contextlib
import io
import json
import os
import pathlib
import pickle
import resource
import shutil
import signal
import socket
import subprocess
import sys

import jax
import jax.numpy as jnp
import msgpack
import numpy as np
import pytest
from etils import epath
from flax.traverse_util import flatten_dict
from jax.sharding import Mesh

from phenaki_jax import sharding
from phenaki_jax.files.digests import digest_array, digest_json, file_digest
from phenaki_jax.sharding import MeshConfig
from phenaki_jax.training import checkpoint_files
from phenaki_jax.training import checkpoints as checkpoints_lib
from phenaki_jax.training.checkpoints import (
  CheckpointError,
  Checkpoints,
  load_params,
)
from phenaki_jax.training.metrics import Mean
from phenaki_jax.training.state import TrainState

CONFIG = {'kind': 'toy', 'tokenizer': {'width': 8}, 'optim': {'rate': 0.1}}
NAMES = {'kernel': ('embed', 'mlp'), 'bias': ('mlp',)}


def _mesh(config=None, devices=1) -> Mesh:
  used = jax.devices()[:devices]
  return sharding.make_mesh(config or MeshConfig(), devices=used)


def _arrays(seed):
  kernel = np.random.default_rng(seed).normal(size=(8, 4)).astype('f4')
  return {'net': {'kernel': kernel, 'bias': kernel[0].astype(jnp.bfloat16)}}


def _state(step, mesh):
  """Make a state that is different at every step."""

  def place(name, array):
    spec = sharding.resolve(NAMES.get(name, ()))
    return jax.device_put(array, jax.NamedSharding(mesh, spec))

  def tree(seed):
    leaves = _arrays(seed)['net'].items()
    return {'net': {name: place(name, leaf) for name, leaf in leaves}}

  return TrainState(
    step=place('', np.int32(step)),
    params=tree(step),
    ema=tree(step + 100),
    opt_state=({'count': place('', np.int32(step))}, (), [tree(step + 200)]),
  )


def _abstract(mesh):
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding),
    _state(0, mesh),
  )


@contextlib.contextmanager
def _open(folder, *, keep=3, config=CONFIG, data='d'):
  checkpoints = Checkpoints(
    folder, keep=keep, config=config, identity={'data': data}
  )
  try:
    yield checkpoints
  finally:
    checkpoints.close()


def _save(folder, *steps, keep=3):
  with _open(folder, keep=keep) as checkpoints:
    for step in steps:
      window = {'loss': Mean(sum=0.1 * step, count=3.0)}
      checkpoints.save(step, _state(step, _mesh()), window)


def _restore(folder, mesh=None, **kwargs):
  with _open(folder, **kwargs) as checkpoints:
    return checkpoints.restore(_abstract(mesh or _mesh()))


def _assert_is_step(restored, step):
  assert restored is not None and restored.step == step
  jax.tree.map(
    np.testing.assert_array_equal, restored.state, _state(step, _mesh())
  )


def _steps(folder):
  return sorted(int(path.name) for path in (folder / 'checkpoints').iterdir())


def test_fresh_directory_has_no_checkpoint(tmp_path):
  assert _restore(tmp_path) is None


def test_state_is_restored_bit_for_bit(tmp_path):
  _save(tmp_path, 3)
  restored = _restore(tmp_path)
  _assert_is_step(restored, 3)
  assert restored.metrics == {'loss': Mean(sum=0.1 * 3, count=3.0)}
  bias = restored.state.params['net']['bias']
  assert bias.dtype == jnp.bfloat16
  assert jax.tree.structure(restored.state) == jax.tree.structure(
    _state(3, _mesh())
  )


def test_a_state_moves_over_meshes_and_back(tmp_path):
  meshes = [
    _mesh(MeshConfig(data=2, fsdp=2, tensor=2), 8),
    _mesh(MeshConfig(data=1, fsdp=4), 4),
    _mesh(),
    _mesh(MeshConfig(data=1, fsdp=8), 8),
  ]
  shapes = [(4, 2), (2, 4), (8, 4), (1, 4)]
  state, checksums = _state(5, meshes[0]), []
  for step, (mesh, then) in enumerate(zip(meshes, meshes[1:], strict=False)):
    with _open(tmp_path) as checkpoints:
      checkpoints.save(step, state, {})
    manifest = (tmp_path / f'checkpoints/{step}/manifest.json').read_text()
    checksums.append(json.loads(manifest)['arrays'])
    restored = _restore(tmp_path, then)
    assert restored.step == step
    state = restored.state.replace(step=np.int32(5))
    jax.tree.map(np.testing.assert_array_equal, state, _state(5, mesh))
    kernel = state.params['net']['kernel']
    expected = shapes[step + 1]
    assert kernel.sharding.shard_shape(kernel.shape) == expected
  assert checksums[0] == checksums[1] == checksums[2]


def test_flipped_bit_is_seen_on_any_mesh(tmp_path):
  many = _mesh(MeshConfig(data=1, fsdp=4, tensor=2), 8)
  with _open(tmp_path) as checkpoints:
    checkpoints.save(5, _state(5, many), {})
  _flip_numbers(tmp_path / 'checkpoints/5/opt_state')
  for mesh in (many, _mesh()):
    with pytest.raises(CheckpointError, match='opt_state is damaged'):
      _restore(tmp_path, mesh)


def _as_earlier_release(folder):
  """Rewrite the manifest in the form with digests of whole arrays."""
  path = folder / 'manifest.json'
  manifest = json.loads(path.read_text())
  del manifest['digest'], manifest['files']
  step = manifest['step']
  items = checkpoints_lib._items(_state(step, _mesh()))
  flat = flatten_dict(items, sep='/')
  for name, entry in manifest['arrays'].items():
    del entry['checksum']
    entry['blake2b'] = digest_array(np.asarray(flat[name]))
  path.write_text(json.dumps({**manifest, 'format': 1}))


def test_checkpoints_of_earlier_releases_are_read_and_verified(tmp_path):
  _save(tmp_path, 2, 4)
  for step in (2, 4):
    _as_earlier_release(tmp_path / f'checkpoints/{step}')
  many = _mesh(MeshConfig(data=1, fsdp=4), 4)
  _assert_is_step(_restore(tmp_path, many), 4)
  snapshot = load_params(tmp_path)
  jax.tree.map(np.testing.assert_array_equal, snapshot.params, _arrays(104))
  _flip_numbers(tmp_path / 'checkpoints/4/ema')
  assert load_params(tmp_path).step == 2
  _assert_is_step(_restore(tmp_path), 2)


def test_only_the_newest_are_kept(tmp_path):
  _save(tmp_path, 1, 2, 3, 4, keep=2)
  assert _steps(tmp_path) == [3, 4]
  for step in (3, 4):
    assert (tmp_path / f'checkpoints/{step}/manifest.json').exists()


def test_poll_finishes_a_save_without_waiting(tmp_path):
  with _open(tmp_path) as checkpoints:
    checkpoints.poll()
    checkpoints.save(1, _state(1, _mesh()), {})
    manifest = tmp_path / 'checkpoints/1/manifest.json'
    for _ in range(2000):
      checkpoints.poll()
      if manifest.exists():
        break
      signal.sigtimedwait([], 0.005)
    assert manifest.exists()


def test_parameters_are_read_without_the_optimizer(tmp_path):
  _save(tmp_path, 2, 4)
  shutil.rmtree(tmp_path / 'checkpoints/4/opt_state')
  for item, seed in (('ema', 104), ('params', 4)):
    snapshot = load_params(tmp_path, item=item)
    assert snapshot.step == 4 and snapshot.config == CONFIG
    jax.tree.map(np.testing.assert_array_equal, snapshot.params, _arrays(seed))
    leaves = jax.tree.leaves(snapshot.params)
    assert all(isinstance(leaf, np.ndarray) for leaf in leaves)


def test_missing_checkpoint_is_reported(tmp_path):
  with pytest.raises(CheckpointError, match='no usable checkpoint'):
    load_params(tmp_path)


def _flip(path, place):
  content = bytearray(path.read_bytes())
  content[place % len(content)] ^= 1 << (place % 8)
  path.write_bytes(bytes(content))


def _numbers(folder):
  """Return the files of an item that hold its numbers."""
  files = [path for path in folder.rglob('d/*') if path.is_file()]
  assert files
  return files


def _flip_numbers(folder):
  for path in _numbers(folder):
    _flip(path, path.stat().st_size // 2)


DAMAGES = {
  'manifest gone': lambda f: (f / 'manifest.json').unlink(),
  'manifest cut': lambda f: (f / 'manifest.json').write_text('{"format": 1'),
  'manifest odd': lambda f: (f / 'manifest.json').write_text('[1]'),
  'params flipped': lambda f: _flip_numbers(f / 'params'),
  'ema gone': lambda f: shutil.rmtree(f / 'ema'),
  'opt_state cut': lambda f: [
    os.truncate(path, 20) for path in _numbers(f / 'opt_state')
  ],
  'opt_state of another step': lambda f: (
    shutil.rmtree(f / 'opt_state'),
    shutil.copytree(f.parent / '2' / 'opt_state', f / 'opt_state'),
  ),
  'config flipped': lambda f: (f / 'config' / 'metadata').write_text(
    json.dumps({**CONFIG, 'kind': 'tox'})
  ),
  'data empty': lambda f: (f / 'data' / 'metadata').write_text(''),
}


@pytest.mark.parametrize('damage', DAMAGES)
def test_damaged_checkpoint_is_replaced_by_the_one_before(
  tmp_path, damage, caplog
):
  _save(tmp_path, 2, 4)
  DAMAGES[damage](tmp_path / 'checkpoints' / '4')
  _assert_is_step(_restore(tmp_path), 2)
  # The log names the checkpoint, the reason and the new place.
  assert f'Checkpoint {tmp_path}/checkpoints/4' in caplog.text
  assert 'Resuming from step 2' in caplog.text
  assert (tmp_path / 'checkpoints-damaged' / '4').is_dir()
  # The step that comes again can be saved again.
  _save(tmp_path, 4)
  _assert_is_step(_restore(tmp_path), 4)


def test_damaged_parameters_are_not_read(tmp_path, caplog):
  _save(tmp_path, 2, 4)
  _flip_numbers(tmp_path / 'checkpoints/4/ema')
  assert load_params(tmp_path).step == 2
  assert 'It is not used' in caplog.text
  assert load_params(tmp_path, step=2).step == 2
  with pytest.raises(CheckpointError, match='no usable checkpoint'):
    load_params(tmp_path, step=3)
  assert (tmp_path / 'checkpoints/4').is_dir()


def test_error_of_the_machine_is_not_damage(tmp_path):
  _save(tmp_path, 2)
  folder = epath.Path(tmp_path / 'checkpoints/2')
  limits = resource.getrlimit(resource.RLIMIT_NOFILE)
  # No more files can be opened.
  resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
  try:
    with pytest.raises(OSError, match='Too many open files'):
      checkpoint_files.read_json(folder)
  finally:
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)
  _assert_is_step(_restore(tmp_path), 2)


def test_run_does_not_start_over_when_all_are_damaged(tmp_path):
  _save(tmp_path, 2, 4)
  for step in (2, 4):
    shutil.rmtree(tmp_path / f'checkpoints/{step}/params')
  with pytest.raises(CheckpointError) as caught:
    _restore(tmp_path)
  assert 'None of the checkpoints' in str(caught.value)
  assert _steps(tmp_path) == [2, 4]


def test_a_run_killed_in_its_first_save_starts_from_the_beginning(
  tmp_path, caplog
):
  _save(tmp_path, 2)
  (tmp_path / 'checkpoints/2/manifest.json').unlink()
  assert _restore(tmp_path) is None
  assert 'was not finished' in caplog.text
  assert 'Resuming from the beginning' in caplog.text


def test_leftovers_of_a_killed_save_are_deleted(tmp_path):
  _save(tmp_path, 2)
  leftover = tmp_path / 'checkpoints/4.orbax-checkpoint-tmp'
  shutil.copytree(tmp_path / 'checkpoints/2', leftover)
  (tmp_path / '.parts').mkdir()
  with _open(tmp_path) as checkpoints:
    _assert_is_step(checkpoints.restore(_abstract(_mesh())), 2)
    assert not (tmp_path / '.parts').exists()
    # The others are deleted in the background, before the next save begins.
    checkpoints.save(4, _state(4, _mesh()), {})
  assert not leftover.exists()
  assert _steps(tmp_path) == [2, 4]


@pytest.mark.parametrize(
  ('change', 'sentence'),
  [
    (
      {'config': {**CONFIG, 'tokenizer': {'width': 9}}},
      'tokenizer.width is 8 there and 9 here',
    ),
    ({'config': {**CONFIG, 'kind': 'generator'}}, 'kind is toy there'),
    ({'config': {**CONFIG, 'seed': 1}}, 'seed is absent there and 1 here'),
    ({'data': 'e'}, 'data is d there and e here'),
  ],
)
def test_another_run_is_refused_by_name(tmp_path, change, sentence):
  _save(tmp_path, 2)
  with pytest.raises(ValueError, match=sentence):
    _restore(tmp_path, **change)
  _assert_is_step(_restore(tmp_path), 2)


def test_other_settings_may_change_and_are_named(tmp_path, caplog):
  _save(tmp_path, 2)
  config = {**CONFIG, 'optim': {'rate': 0.2}}
  _assert_is_step(_restore(tmp_path, config=config), 2)
  assert 'optim.rate is 0.1 there and 0.2 here' in caplog.text


def test_other_shapes_are_refused_by_name(tmp_path):
  _save(tmp_path, 2)
  abstract = _abstract(_mesh())
  kernel = abstract.params['net']['kernel']
  abstract.params['net']['kernel'] = jax.ShapeDtypeStruct(
    (8, 5), kernel.dtype, sharding=kernel.sharding
  )
  with _open(tmp_path) as checkpoints:
    with pytest.raises(ValueError, match=r'params.net.kernel is float32\(8, 4'):
      checkpoints.restore(abstract)


def test_failed_save_is_reported_in_a_sentence(tmp_path):
  (tmp_path / 'checkpoints').write_text('a file')
  with pytest.raises(CheckpointError, match='could not be written'):
    _save(tmp_path, 1)


FULL_DISK = """
import pathlib, resource, sys
sys.path.insert(0, sys.argv[2])
import checkpoints_test as t
folder = pathlib.Path(sys.argv[1])
t._save(folder, 1)
# The system refuses bytes beyond this size as it does when a disk is full.
resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))
try:
  t._save(folder, 2)
except t.CheckpointError as error:
  print(error)
"""


def test_full_disk_is_reported_and_keeps_older_checkpoints(tmp_path):
  assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] < 0
  here = str(pathlib.Path(__file__).parent)
  result = subprocess.run(
    [sys.executable, '-c', FULL_DISK, str(tmp_path), here],
    capture_output=True,
    text=True,
    timeout=300,
  )
  assert result.returncode == 0, result.stderr
  assert 'Checkpoint 2 could not be written' in result.stdout
  assert 'Traceback' not in result.stderr
  assert 'to resume from step 1' in result.stdout
  _assert_is_step(_restore(tmp_path), 1)


def test_files_hold_no_paths_and_no_environment(tmp_path, monkeypatch):
  monkeypatch.setenv('PHENAKI_SECRET', 'a value that nobody must see')
  _save(tmp_path, 1)
  words = [str(tmp_path), str(pathlib.Path.home()), 'nobody must see']
  words.append(socket.gethostname())
  files = [p for p in tmp_path.rglob('*') if p.is_file()]
  assert len(files) > 20
  for path in files:
    content = path.read_bytes()
    for word in words:
      assert word.encode() not in content, f'{word} is in {path}'


class Canary:
  """Write a file when it is unpickled."""

  def __init__(self, path):
    self.path = str(path)

  def __reduce__(self):
    return pathlib.Path.touch, (pathlib.Path(self.path),)


def _hostile(canary):
  """Yield contents that an unsafe reader would execute, by name."""
  yield 'pickle', pickle.dumps(Canary(canary))
  target = io.BytesIO()
  np.savez(target, kernel=np.array([Canary(canary)], object))
  yield 'npz', target.getvalue()
  yield (
    'msgpack',
    msgpack.packb(msgpack.ExtType(5, pickle.dumps(Canary(canary)))),
  )
  yield 'yaml', f'!!python/object/apply:pathlib.Path.touch [{canary}]'.encode()


@pytest.mark.parametrize('kind', ['pickle', 'npz', 'msgpack', 'yaml'])
def test_no_file_of_a_checkpoint_is_executed(tmp_path, kind):
  canary = tmp_path / 'canary'
  content = dict(_hostile(canary))[kind]
  _save(tmp_path, 2)
  folder = tmp_path / 'checkpoints/2'
  files = [p.relative_to(folder) for p in folder.rglob('*') if p.is_file()]
  chosen = ['manifest.json', 'config/metadata', 'params/_METADATA']
  chosen.append(str(next(f for f in files if f.parts[:2] == ('ema', 'd'))))
  clean = tmp_path / 'clean'
  shutil.copytree(folder, clean)
  for name in chosen:
    (folder / name).write_bytes(content)
    with pytest.raises(CheckpointError):
      load_params(tmp_path, item='params' if 'params' in name else 'ema')
    shutil.copy(clean / name, folder / name)
  assert not canary.exists()
  assert load_params(tmp_path).step == 2


def test_a_link_to_other_content_is_refused(tmp_path):
  _save(tmp_path / 'run', 2)
  _save(tmp_path / 'other', 4)
  numbers = _numbers(tmp_path / 'run/checkpoints/2/ema')
  others = _numbers(tmp_path / 'other/checkpoints/4/ema')
  for path in numbers:
    path.unlink()
    path.symlink_to(others[0])
  with pytest.raises(CheckpointError):
    load_params(tmp_path / 'run')


def test_a_manifest_leads_to_no_file_outside(tmp_path, caplog):
  _save(tmp_path, 2)
  outside = tmp_path / 'outside'
  outside.write_text('secret')
  path = tmp_path / 'checkpoints/2/manifest.json'
  manifest = json.loads(path.read_text())
  del manifest['digest']
  for name in ('../../outside', str(outside)):
    changed = {**manifest, 'files': {name: file_digest(outside)}}
    changed['digest'] = digest_json(changed)
    path.write_text(json.dumps(changed))
    with pytest.raises(CheckpointError):
      load_params(tmp_path)
    assert f'{name} leads out of the folder' in caplog.text


def test_folders_that_are_not_steps_are_ignored(tmp_path):
  for name in ('12', '0009', '²', '٣', '7x', '-1', '0'):
    (tmp_path / name).mkdir()
  assert checkpoint_files.steps(epath.Path(tmp_path)) == [12, 0]
