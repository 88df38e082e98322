"""A bundle is read back as written; damaged ones are refused."""

import hashlib
import json
import struct

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from flax.traverse_util import flatten_dict

import phenaki_jax
from phenaki_jax import sharding
from phenaki_jax.export import bundle
from phenaki_jax.text.words import Words
from phenaki_jax.tokenizer.config import TokenizerConfig
from phenaki_jax.training.tokenizer_task import TokenizerTask

FILES = (
  'tokenizer.safetensors',
  'generator.safetensors',
  'config.json',
  'vocab.model',
  'model_card.md',
)


def content(seed=0):
  rng = np.random.default_rng(seed)
  return {
    'tokenizer_params': {
      'encoder': {'kernel': rng.normal(size=(4, 6)).astype(np.float32)},
      'levels': np.array([8, 6, 5], np.int32),
    },
    'generator_params': {
      'text': {'layers_0': {'scale': jnp.ones((3,)) * 1.5}},
      'temperature': np.float32(0.25),
    },
    'config': {'kind': 'story', 'size': [32, 32], 'rate': 0.5, 'note': None},
    'vocabulary': b'\x00\x01vocabulary\xff',
    'model_card': '# Card\n\nTrained on shapes – AI-generated.\n',
  }


@pytest.fixture
def folder(tmp_path):
  bundle.write_bundle(tmp_path / 'model', **content())
  return tmp_path / 'model'


def rewrite(folder, name, data):
  """Replace a file as an attacker would: the checksum is made to fit."""
  (folder / name).write_bytes(data)
  path = folder / 'checksums.json'
  checksums = json.loads(path.read_text())
  checksums['sha256'][name] = hashlib.sha256(data).hexdigest()
  path.write_text(json.dumps(checksums))


def assert_same_arrays(actual, expected):
  actual, expected = map(bundle.flatten_params, (actual, expected))
  assert list(actual) == list(expected)
  for name, array in expected.items():
    assert actual[name].dtype == array.dtype
    np.testing.assert_array_equal(actual[name], array)


def snapshot(folder):
  return {path.name: path.read_bytes() for path in folder.iterdir()}


class TestRoundTrip:
  def test_all_content_is_read_back(self, tmp_path):
    given = content()
    written = bundle.write_bundle(tmp_path / 'a' / 'model', **given)
    read = bundle.load_bundle(tmp_path / 'a' / 'model')
    for name in ('tokenizer_params', 'generator_params'):
      assert_same_arrays(getattr(read, name), given[name])
    for name in ('config', 'vocabulary', 'model_card'):
      assert getattr(read, name) == given[name]
    assert read.fingerprint == written.fingerprint
    assert {p.name for p in (tmp_path / 'a').iterdir()} == {'model'}

  def test_bucket_holds_a_bundle(self, bucket):
    path = bucket / 'models' / 'model'
    for seed in (0, 1):
      written = bundle.write_bundle(path, **content(seed))
      assert bundle.load_bundle(path).fingerprint == written.fingerprint
    assert [entry.name for entry in path.parent.iterdir()] == ['model']

  def test_float16_halves_the_file_and_reads_as_float32(self, tmp_path):
    given = content()
    kernel = np.random.default_rng(1).normal(size=(128, 128))
    given['tokenizer_params']['encoder']['kernel'] = kernel
    bundle.write_bundle(tmp_path / 'full', **given)
    bundle.write_bundle(tmp_path / 'half', **given, dtype='float16')
    name = 'tokenizer.safetensors'
    full, half = (
      (tmp_path / x / name).stat().st_size for x in ('full', 'half')
    )
    assert 0.5 < half / full < 0.52
    read = bundle.load_bundle(tmp_path / 'half').tokenizer_params
    assert_same_arrays(
      read['encoder'],
      {'kernel': kernel.astype(np.float16).astype(np.float32)},
    )
    assert read['levels'].dtype == np.int32

  def test_int8_quarters_the_file_and_rounds_each_column(self, tmp_path):
    given = content()
    rng = np.random.default_rng(1)
    columns = np.array([1e-3, 1.0, 40.0, 0.0]).repeat(64)
    kernel = rng.normal(size=(32, 8, 256)) * columns
    bias = rng.normal(size=4).astype(np.float32)
    tree = {'kernel': kernel, 'bias': bias, 'ids': np.arange(3, dtype=np.int8)}
    given['tokenizer_params'] = tree
    bundle.write_bundle(tmp_path / 'full', **given)
    written = bundle.write_bundle(tmp_path / 'whole', **given, dtype='int8')
    name = 'tokenizer.safetensors'
    full, whole = (
      (tmp_path / x / name).stat().st_size for x in ('full', 'whole')
    )
    assert 0.25 < whole / full < 0.27
    read = written.tokenizer_params
    assert read.keys() == tree.keys()
    np.testing.assert_array_equal(read['bias'], bias)
    np.testing.assert_array_equal(read['ids'], tree['ids'])
    # Half a step of the largest value of each column.
    most = np.abs(kernel).max((0, 1)) / 254 * (1 + 1e-4)
    assert (np.abs(read['kernel'] - kernel) <= most).all()
    # What was rounded once is not rounded again.
    again = bundle.write_bundle(
      tmp_path / 'again',
      **given | {'tokenizer_params': read},
      dtype='int8',
    )
    np.testing.assert_allclose(
      again.tokenizer_params['kernel'], read['kernel'], rtol=1e-6
    )

  def test_int8_rounds_each_layer_of_scanned_blocks(self, tmp_path):
    given = content()
    rng = np.random.default_rng(1)
    layers = np.array([1e-3, 1.0, 40.0]).reshape(3, 1, 1, 1)
    kernel = (rng.normal(size=(3, 8, 2, 6)) * layers).astype(np.float32)
    scale = rng.normal(size=(3, 6)).astype(np.float32)
    tree = {'mlp': {'kernel': kernel}, 'norm': {'scale': scale}}
    given['tokenizer_params'] = {'space': {'blocks': tree}}
    written = bundle.write_bundle(tmp_path / 'whole', **given, dtype='int8')
    read = written.tokenizer_params['space']['blocks']
    np.testing.assert_array_equal(read['norm']['scale'], scale)
    most = np.abs(kernel).max((1, 2), keepdims=True) / 254 * (1 + 1e-4)
    assert (np.abs(read['mlp']['kernel'] - kernel) <= most).all()

  def test_scanned_blocks_are_known_by_their_names(self):
    def names(scan):
      config = TokenizerConfig(
        width=16,
        num_heads=2,
        mlp_dim=32,
        spatial_layers=1,
        temporal_layers=1,
        scan=scan,
      )
      init = TokenizerTask(config=config).init
      shapes = sharding.unbox(jax.eval_shape(init, jax.random.key(0)))
      return set(flatten_dict(shapes, sep='/'))

    scanned, plain = names(True), names(False)
    assert set(filter(bundle._is_scanned, scanned)) == scanned - plain != set()
    assert not any(map(bundle._is_scanned, plain))

  def test_memory_layout_and_byte_order_do_not_matter(self, tmp_path):
    rows = np.arange(12, dtype=np.float32).reshape(3, 4)
    given = content() | {
      'tokenizer_params': {
        'transposed': rows.T,
        'strided': rows[:, ::2],
        'swapped': rows.astype('>f4'),
        'integers': rows.astype('>i4').T,
        'scalar': np.float64(3.0),
        'bfloat16': jnp.asarray(rows, jnp.bfloat16),
      }
    }
    read = bundle.write_bundle(tmp_path / 'm', **given).tokenizer_params
    np.testing.assert_array_equal(read['transposed'], rows.T)
    np.testing.assert_array_equal(read['strided'], rows[:, ::2])
    np.testing.assert_array_equal(read['swapped'], rows)
    np.testing.assert_array_equal(read['integers'], rows.T)
    np.testing.assert_array_equal(read['bfloat16'], rows)
    assert read['scalar'].shape == () and read['scalar'] == 3.0

  def test_the_fingerprint_follows_the_content(self, tmp_path):
    prints = [
      bundle.write_bundle(tmp_path / name, **content(seed)).fingerprint
      for name, seed in (('a', 0), ('b', 0), ('c', 1))
    ]
    assert prints[0] == prints[1] != prints[2]


class TestReplacing:
  def test_all_files_are_as_readable_as_any(self, folder):
    modes = {path.stat().st_mode for path in folder.iterdir()}
    beside = folder.parent / 'any'
    beside.touch()
    assert modes == {beside.stat().st_mode}

  def test_a_bundle_is_replaced(self, folder):
    new = bundle.write_bundle(folder, **content(1))
    assert bundle.load_bundle(folder).fingerprint == new.fingerprint
    assert [path.name for path in folder.parent.iterdir()] == ['model']

  def test_a_failure_leaves_the_old_one_and_nothing_else(self, folder):
    before = snapshot(folder)
    # Only the encoding of the card fails, after most files are written.
    with pytest.raises(UnicodeEncodeError):
      bundle.write_bundle(folder, **content(1) | {'model_card': '\ud800'})
    assert snapshot(folder) == before
    assert [path.name for path in folder.parent.iterdir()] == ['model']

  def test_other_files_are_never_replaced(self, folder):
    (folder / 'thesis.txt').write_text('years of work')
    before = snapshot(folder)
    with pytest.raises(ValueError, match=r'would be lost \(thesis.txt\)'):
      bundle.write_bundle(folder, **content(1))
    assert snapshot(folder) == before

  def test_a_file_is_no_folder(self, tmp_path):
    (tmp_path / 'model').write_text('')
    with pytest.raises(ValueError, match='is a file'):
      bundle.write_bundle(tmp_path / 'model', **content())


@pytest.mark.parametrize(
  'change, message',
  [
    ({'tokenizer_params': {}}, 'tokenizer has no parameters'),
    ({'tokenizer_params': {'a/b': np.ones(2)}}, "'a/b' under the top"),
    ({'tokenizer_params': {'a': {'': np.ones(2)}}}, "'' under a"),
    ({'tokenizer_params': {'a': {3: np.ones(2)}}}, '3 under a'),
    ({'tokenizer_params': {'a': {'b': 'text'}}}, 'a/b must be an array'),
    ({'tokenizer_params': {'a': np.array([None])}}, 'a must be an array'),
    ({'tokenizer_params': {'a': np.array(['b'])}}, 'a has the dtype str'),
    ({'tokenizer_params': {'a': np.array([1j])}}, 'a has the dtype complex'),
    ({'generator_params': {'a': np.array([1, np.nan])}}, 'generator: a holds'),
    (
      {'generator_params': {'a': np.array([7e4])}, 'dtype': 'float16'},
      'not finite in float16',
    ),
    ({'config': {'a': {1, 2}}}, 'cannot be written as JSON'),
    ({'config': {'a': float('nan')}}, 'cannot be written as JSON'),
  ],
)
def test_other_content_is_refused(tmp_path, change, message):
  with pytest.raises(ValueError, match=message):
    bundle.write_bundle(tmp_path / 'model', **content() | change)
  assert not list(tmp_path.iterdir())


class TestDamage:
  @pytest.mark.parametrize('name', FILES)
  def test_a_missing_file_is_named(self, folder, name):
    (folder / name).unlink()
    with pytest.raises(ValueError, match=f'lacks the file {name}'):
      bundle.load_bundle(folder)

  @pytest.mark.parametrize('name', FILES)
  def test_one_flipped_bit_is_found(self, folder, name):
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(ValueError, match=f'{name} differs from its checksum'):
      bundle.load_bundle(folder)

  def test_a_folder_without_checksums_is_no_bundle(self, tmp_path):
    with pytest.raises(ValueError, match='is not a bundle'):
      bundle.load_bundle(tmp_path)

  @pytest.mark.parametrize(
    'change, message',
    [
      ({'format': 'other'}, 'does not belong'),
      ({'version': 2}, 'bundle format 2, but this release reads 1'),
      ({'version': None}, 'bundle format None'),
      ({'sha256': {}}, 'must list exactly'),
      ({'sha256': {'../../etc/passwd': '0'}}, 'must list exactly'),
      ({'sha256': [1]}, 'must list exactly'),
    ],
  )
  def test_foreign_checksums_are_refused(self, folder, change, message):
    path = folder / 'checksums.json'
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ValueError, match=message):
      bundle.load_bundle(folder)

  @pytest.mark.parametrize(
    'data, message',
    [
      (b'{', 'not valid JSON'),
      (b'[' * 100_000, 'not valid JSON'),
      (b'[]', 'must hold a JSON object'),
      (b'\xff\xfe', 'not UTF-8'),
    ],
  )
  @pytest.mark.parametrize('name', ['config.json', 'checksums.json'])
  def test_broken_json_is_refused(self, folder, name, data, message):
    if name == 'checksums.json':
      (folder / name).write_bytes(data)
    else:
      rewrite(folder, name, data)
    with pytest.raises(ValueError, match=message):
      bundle.load_bundle(folder)


def _safetensors(header, data=b''):
  text = header if isinstance(header, bytes) else json.dumps(header).encode()
  return struct.pack('<Q', len(text)) + text + data


def _entry(dtype='F32', shape=(1,), offsets=(0, 4)):
  return {'dtype': dtype, 'shape': shape, 'data_offsets': offsets}


@pytest.mark.parametrize(
  'data',
  [
    b'',
    b'\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x07builtins.',
    struct.pack('<Q', 2**63) + b'{}',
    _safetensors(b'{"a":'),
    _safetensors({'a': _entry(offsets=(0, 2**40))}, b'\0' * 4),
    _safetensors({'a': _entry(shape=(2**62, 8))}, b'\0' * 4),
    _safetensors({'a': _entry()}, b'\0' * 3),
    _safetensors({'a': _entry()}, b'\0' * 5),
    _safetensors({'a': _entry('OBJECT')}, b'\0' * 4),
    _safetensors({'a': _entry('BF16', (2,))}, b'\0' * 4),
    _safetensors({'a//b': _entry()}, b'\0' * 4),
    _safetensors({'': _entry()}, b'\0' * 4),
    _safetensors({'a': _entry(), 'a/b': _entry(offsets=(4, 8))}, b'\0' * 8),
    _safetensors({'a/b/c': _entry(), 'a/b': _entry(offsets=(4, 8))}, b'\0' * 8),
    _safetensors({'a:scales': _entry()}, b'\0' * 4),
    _safetensors(
      {
        'a': _entry('I8', (2, 2)),
        'a:scales': _entry('F32', (1, 1), (4, 8)),
      },
      b'\0' * 8,
    ),
  ],
)
def test_malformed_arrays_are_refused(folder, data):
  rewrite(folder, 'generator.safetensors', data)
  with pytest.raises(ValueError, match='generator.safetensors'):
    bundle.load_bundle(folder)


def test_valid_file_of_another_writer_is_read(folder):
  data = safetensors.numpy.save({'x/y': np.arange(3, dtype=np.float16)})
  rewrite(folder, 'generator.safetensors', data)
  read = bundle.load_bundle(folder).generator_params
  assert_same_arrays(read, {'x': {'y': np.arange(3, dtype=np.float32)}})


def test_missing_reference_is_reported(folder, monkeypatch):
  package = folder.parent / 'phenaki_jax'
  package.mkdir()
  monkeypatch.setattr(phenaki_jax, '__file__', str(package / '__init__.py'))
  with pytest.raises(ValueError, match='no reference bundle'):
    bundle.reference_dir()
  folder.rename(package / 'reference')
  assert bundle.load_bundle(bundle.reference_dir()).config['kind'] == 'story'


def test_words_and_licence_leave_the_fingerprint(folder, tmp_path):
  without = bundle.load_bundle(folder)
  assert without.words == b'' and without.license == ''
  more = {'words': b'{"a": 1}', 'license': 'CC0'}
  made = bundle.write_bundle(tmp_path / 'other', **content(), **more)
  assert {name: getattr(made, name) for name in more} == more
  assert made.fingerprint == without.fingerprint
  (tmp_path / 'other' / 'words.json').write_bytes(b'{"a": 2}')
  with pytest.raises(ValueError, match='words.json differs from its checksum'):
    bundle.load_bundle(tmp_path / 'other')


def test_reference_has_the_words_of_its_captions():
  words = Words.from_json(bundle.load_bundle(bundle.reference_dir()).words)
  assert words.captions == 10_000
  assert words.unknown('a red circle moving right on grass') == {}
  assert list(words.unknown('a purple dragon')) == ['purple', 'dragon']


def test_drawn_characters_keep_the_licence_of_their_sheets():
  assert bundle.load_bundle(bundle.reference_dir()).license == ''
  drawn = bundle.load_bundle(bundle.reference_dir('lpc')).license
  for part in ('creativecommons.org/licenses/by-sa/3.0', 'AUTHORS.txt'):
    assert part in drawn
