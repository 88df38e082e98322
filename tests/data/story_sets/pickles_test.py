"""Pickles of both Pythons are read, and those that run something are not."""

import os
import pickle
import struct

import numpy as np
import pytest

from phenaki_jax.data.story_sets import pickles


@pytest.fixture
def write(tmp_path):
  def bytes_of(data):
    path = tmp_path / 'x.pkl'
    path.write_bytes(data)
    return path

  return bytes_of


def test_python_2_strings_arrays_and_containers_are_read(releases, tmp_path):
  content = {
    'a': [1, 2.5, None, True],
    'caf\u00e9': (b'\xe9', 'x' * 300),
    'array': np.arange(6, dtype='>i2').reshape(2, 3),
    'words': np.array([b'one', b'three']),
    'number': np.float64(0.25),
    'nested': {'objects': np.array([{'b': 1}, [2]], object)},
  }
  releases.py2_pickle(tmp_path / 'x.pkl', content)
  found = pickles.by_text(pickles.load_pickle(tmp_path / 'x.pkl'))
  assert list(found) == list(content)
  assert found['a'] == content['a']
  assert pickles.text(found['caf\u00e9'][0]) == '\u00e9'
  assert pickles.text(found['caf\u00e9'][1]) == 'x' * 300
  np.testing.assert_array_equal(found['array'], content['array'])
  assert found['words'].tolist() == [b'one', b'three']
  assert found['number'] == 0.25
  assert found['nested'][b'objects'] == [{b'b': 1}, [2]]


@pytest.mark.parametrize('protocol', range(6))
def test_every_protocol_of_python_3_is_read(write, protocol):
  content = {'k': [np.arange(4.0), np.int64(3), b'raw', '\u00e9']}
  found = pickles.load_pickle(write(pickle.dumps(content, protocol)))
  (array, number, raw, word) = found['k']
  np.testing.assert_array_equal(array, np.arange(4.0))
  assert (number, raw, word) == (3, b'raw', '\u00e9')


def test_the_text_protocol_of_python_2_is_read(write):
  data = b"(dp0\nS's_01'\np1\n(lp2\nS's_02'\np3\nas."
  assert pickles.load_pickle(write(data)) == {b's_01': [b's_02']}


def test_npy_files_of_objects_and_of_bytes_are_read(releases, tmp_path):
  path = tmp_path / 'x.npy'
  releases.py2_npy(path, [[3, 1], [2], []])
  assert pickles.load_npy(path) == [[3, 1], [2], []]
  releases.py2_npy(path, {'k': [1]})
  assert pickles.load_npy(path) == {b'k': [1]}
  np.save(path, np.array([[b'a/1.png', b'a/2.png']]))
  assert pickles.load_npy(path).tolist() == [[b'a/1.png', b'a/2.png']]
  np.save(path, np.array({'k': [1]}, object), allow_pickle=True)
  assert pickles.load_npy(path) == {'k': [1]}
  path.write_bytes(b'PK\x03\x04')
  with pytest.raises(ValueError, match='not a file of numpy'):
    pickles.load_npy(path)


class _Evil:
  def __reduce__(self):
    return os.mkdir, (self.path,)


@pytest.mark.parametrize('protocol', (0, 2, 4))
def test_a_pickle_that_runs_something_is_refused(tmp_path, write, protocol):
  evil = _Evil()
  evil.path = str(tmp_path / 'made')
  with pytest.raises(ValueError, match='mkdir, which is not read, because'):
    pickles.load_pickle(write(pickle.dumps({'k': [evil]}, protocol)))
  assert not (tmp_path / 'made').exists()
  array = np.array([evil], object)
  np.save(tmp_path / 'x.npy', array, allow_pickle=True)
  with pytest.raises(ValueError, match='mkdir, which is not read'):
    pickles.load_npy(tmp_path / 'x.npy')
  assert not (tmp_path / 'made').exists()


class _Plain:
  pass


@pytest.mark.parametrize(
  'value',
  [
    {1, 2},
    _Plain(),
    np.load,
    os.system,
    np.array([(1, 2.0)], [('a', 'i4'), ('b', 'f8')]),
    np.array([np.datetime64('2020')]),
    complex(1, 2),
    bytearray(b'x'),
  ],
  ids=lambda value: type(value).__name__,
)
def test_anything_but_plain_values_is_refused(write, value):
  with pytest.raises(ValueError, match='which is not read, because'):
    pickles.load_pickle(write(pickle.dumps([value], 4)))


def test_raw_bytes_are_never_taken_for_pointers(write):
  made = (
    b'cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b'
    b'\x87R(K\x01K\x01\x85cnumpy\ndtype\nU\x02O8K\x00K\x01\x87R\x89U\x08'
    + struct.pack('<q', 1)
    + b'tb.'
  )
  with pytest.raises(ValueError, match='an array of pointers'):
    pickles.load_pickle(write(made))


@pytest.mark.parametrize('data', [b'', b'\x80\x02', b'(lp0\n', b'garbage'])
def test_damaged_pickles_are_refused(write, data):
  with pytest.raises(ValueError, match='cannot be unpickled .*fetch it again'):
    pickles.load_pickle(write(data))


def test_missing_files_and_wrong_types_are_refused(tmp_path):
  with pytest.raises(FileNotFoundError, match='there is no file'):
    pickles.load_npy(tmp_path / 'x.npy')
  with pytest.raises(ValueError, match='a list is where a dict should be'):
    pickles.by_text([1])
  with pytest.raises(ValueError, match='5 is no string'):
    pickles.text(5)


def test_a_small_file_does_not_fill_the_memory(write):
  """Objects at many places stay the same ones, also within arrays."""
  value = ['x']
  for _ in range(60):
    value = [value, value]
  found = pickles.load_pickle(write(pickle.dumps(value, 4)))
  for _ in range(60):
    assert found[0] is found[1]
    found = found[0]
  assert found == ['x']
