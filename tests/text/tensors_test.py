"""Hostile files are refused: no code runs, no wrong tensor comes out."""

import io
import json
import pathlib
import pickle
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
import safetensors.numpy

from phenaki_jax.errors import UserError
from phenaki_jax.text.tensors import open_tensors

ARRAYS = {
  'a': np.arange(12, dtype=np.float32).reshape(3, 4),
  'b': np.arange(5, dtype=np.int32),
}


def _read(path):
  return {name: t.whole() for name, t in open_tensors(path).items.items()}


def _fuzzed(header, rng):
  """Change a header in one of several ways."""
  changed = bytearray(header)
  kind = rng.integers(5)
  if kind == 0:
    for place in rng.integers(len(changed), size=rng.integers(1, 4)):
      changed[place] = rng.integers(256)
  elif kind == 1:
    del changed[rng.integers(len(changed)) :]
  elif kind == 2:
    place = rng.integers(len(changed))
    changed[place:place] = rng.bytes(int(rng.integers(1, 9)))
  else:
    entries = json.loads(header)
    name = rng.choice(['a', 'b'])
    huge = [2**31, 2**62, 2**63, 2**64, -1, 0, 1, 10**30]
    odd = int(rng.choice(len(huge)))
    if kind == 3:
      entries[name]['data_offsets'][rng.integers(2)] = huge[odd]
    else:
      entries[name]['shape'] = [huge[odd], huge[int(rng.choice(len(huge)))]]
    changed = bytearray(json.dumps(entries).encode())
  return bytes(changed)


@pytest.mark.parametrize(
  'count', [150, pytest.param(2000, marks=pytest.mark.slow)]
)
def test_fuzzed_headers_give_an_error_or_the_right_tensors(tmp_path, count):
  data = safetensors.numpy.save(ARRAYS)
  (size,) = struct.unpack('<Q', data[:8])
  header, content = data[8 : 8 + size], data[8 + size :]
  rng, path = np.random.default_rng(0), tmp_path / 'model.safetensors'
  refused = 0
  tracemalloc.start()
  for _ in range(count):
    changed = _fuzzed(header, rng)
    length = len(changed)
    if rng.random() < 0.1:
      length = int(rng.choice([0, length - 1, length + 1, 2**40, 2**63]))
    path.write_bytes(struct.pack('<Q', length) + changed + content)
    try:
      found = _read(path)
    except UserError:
      refused += 1
      continue
    # Names, dtypes and shapes may be others; the bytes are those of the file.
    for array in found.values():
      assert array.tobytes() in content
  _, peak = tracemalloc.get_traced_memory()
  tracemalloc.stop()
  assert refused > 0.75 * count
  assert peak < 2_000_000


class Canary:
  """Write a file when it is unpickled."""

  def __init__(self, path):
    self.path = str(path)

  def __reduce__(self):
    return pathlib.Path.touch, (pathlib.Path(self.path),)


def _torch_files(canary):
  """Yield files as PyTorch writes them, which run code when they are read."""
  program = pickle.dumps({'a': Canary(canary)})
  target = io.BytesIO()
  with zipfile.ZipFile(target, 'w') as archive:
    archive.writestr('archive/data.pkl', program)
    archive.writestr('archive/version', '3')
  yield target.getvalue()
  yield program
  # The beginning of a file that a safe reader accepts, then the payload.
  yield safetensors.numpy.save({}) + program


@pytest.mark.parametrize('number', range(3))
@pytest.mark.parametrize(
  'name', ['model.pt', 'pytorch_model.bin', 'model.safetensors', 'checkpoint']
)
def test_files_of_pytorch_are_refused(tmp_path, number, name):
  canary = tmp_path / 'canary'
  folder = tmp_path / 'model'
  folder.mkdir()
  content = list(_torch_files(canary))[number]
  (folder / name).write_bytes(content)
  for path in (folder, folder / name):
    with pytest.raises(UserError):
      _read(path)
  assert not canary.exists()
