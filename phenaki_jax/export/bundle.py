"""Bundles: one folder with a complete story model, safe to load if untrusted.

The arrays are safetensors, the rest is JSON, Markdown and a SentencePiece
model: a bundle contains no code, and nothing is unpickled. `checksums.json`
holds the SHA-256 of each file, which is verified before the file is read.
"""

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from etils import epath
from flax.traverse_util import flatten_dict, unflatten_dict

import phenaki_jax
from phenaki_jax.errors import UserError
from phenaki_jax.files.atomic import staged_folder
from phenaki_jax.files.digests import file_digest
from phenaki_jax.files.paths import absolute
from phenaki_jax.types import Params

FORMAT = 'phenaki_jax bundle'
VERSION = 1

_TOKENIZER = 'tokenizer.safetensors'
_GENERATOR = 'generator.safetensors'
_CONFIG = 'config.json'
_VOCABULARY = 'vocab.model'
_MODEL_CARD = 'model_card.md'
_CHECKSUMS = 'checksums.json'
_FILES = (_TOKENIZER, _GENERATOR, _CONFIG, _VOCABULARY, _MODEL_CARD)

_STORED_DTYPES = ('float32', 'float16')
_OTHER_DTYPES = ('bool', 'uint8', 'int8', 'int32', 'uint32', 'int64')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bundle:
  """The content of a bundle; every floating array is float32.

  Attributes:
    tokenizer_params: nested dicts of numpy arrays.
    generator_params: nested dicts of numpy arrays; text encoder included.
    config: the content of `config.json`.
    vocabulary: the bytes of the SentencePiece model.
    model_card: Markdown.
    fingerprint: SHA-256 of the checksums; it identifies the content.
  """

  tokenizer_params: Params
  generator_params: Params
  config: Mapping[str, Any]
  vocabulary: bytes
  model_card: str
  fingerprint: str


def write_bundle(
  path: epath.PathLike,
  *,
  tokenizer_params: Params,
  generator_params: Params,
  config: Mapping[str, Any],
  vocabulary: bytes,
  model_card: str,
  dtype: str = 'float32',
) -> Bundle:
  """Write a bundle to the folder `path`, and return it as read back.

  The files are written to a temporary folder and read back first, so an older
  bundle is replaced by a complete one or not at all.

  Args:
    path: the folder. It may hold an older bundle, but no other files.
    tokenizer_params: nested dicts of arrays; names must not contain a slash.
    generator_params: nested dicts of arrays; names must not contain a slash.
    config: JSON values.
    vocabulary: the bytes of a SentencePiece model.
    model_card: Markdown.
    dtype: of floating arrays on disk: 'float32', or 'float16' for half the
      size with 11 bits of precision.

  Raises:
    UserError: for content that a bundle cannot have, and for a folder with
      other files.
  """
  if dtype not in _STORED_DTYPES:
    raise UserError(
      f'a bundle stores {" or ".join(_STORED_DTYPES)}, not {dtype!r}'
    )
  target = absolute(path)
  _check_replaceable(target)
  arrays = {
    _TOKENIZER: _stored(tokenizer_params, dtype, 'tokenizer'),
    _GENERATOR: _stored(generator_params, dtype, 'generator'),
  }
  config_text = _to_json(config)
  with staged_folder(target) as folder:
    for name, flat in arrays.items():
      # safetensors' own writer makes files that only their owner may read.
      (folder / name).write_bytes(safetensors.numpy.save(flat))
    (folder / _CONFIG).write_bytes(config_text.encode())
    (folder / _VOCABULARY).write_bytes(vocabulary)
    (folder / _MODEL_CARD).write_bytes(model_card.encode())
    checksums = {
      'format': FORMAT,
      'version': VERSION,
      'sha256': {name: file_digest(folder / name) for name in _FILES},
    }
    text = json.dumps(checksums, indent=2) + '\n'
    (folder / _CHECKSUMS).write_bytes(text.encode())
    written = load_bundle(folder)
    _check_equal(written, arrays, config_text, vocabulary, model_card)
  return written


def load_bundle(path: epath.PathLike) -> Bundle:
  """Read and verify a bundle; the arrays are not compared with a model.

  Raises:
    UserError: if a file is missing, differs from its checksum, or has content
      that a bundle cannot have; the message names the file.
  """
  folder = epath.Path(path)
  checksums = _read_checksums(folder)
  for name, expected in checksums.items():
    if not (folder / name).is_file():
      raise UserError(f'the bundle {folder} lacks the file {name}')
    if file_digest(folder / name) != expected:
      raise UserError(
        f'{folder / name} differs from its checksum in {_CHECKSUMS}: it is '
        'damaged, incomplete or was changed; download or write the bundle again'
      )
  canonical = json.dumps(checksums, sort_keys=True)
  config = _parse_json(folder / _CONFIG)
  return Bundle(
    tokenizer_params=_read_arrays(folder / _TOKENIZER),
    generator_params=_read_arrays(folder / _GENERATOR),
    config=config,
    vocabulary=(folder / _VOCABULARY).read_bytes(),
    model_card=_read_text(folder / _MODEL_CARD),
    fingerprint=hashlib.sha256(canonical.encode()).hexdigest(),
  )


def reference_dir() -> pathlib.Path:
  """Return the folder of the reference bundle that ships with the package.

  Raises:
    UserError: if this installation has none.
  """
  folder = pathlib.Path(phenaki_jax.__file__).parent / 'reference'
  if not (folder / _CHECKSUMS).is_file():
    raise UserError(
      f'there is no reference bundle at {folder}: install the package with its '
      'data files, or give the folder of another bundle'
    )
  return folder


def flatten_params(params: Params) -> dict[str, np.ndarray]:
  """Return the arrays of nested dicts by path, `a/b/c`, sorted.

  Raises:
    UserError: for a name that is empty, contains a slash or is not a string,
      and for a leaf that is not an array.
  """
  flat = {}
  for path, leaf in flatten_dict(dict(params)).items():
    for depth, name in enumerate(path):
      if not isinstance(name, str) or not name or '/' in name:
        raise UserError(
          f'{name!r} under {"/".join(path[:depth]) or "the top"} cannot name '
          'an array: names are strings without a slash'
        )
    array = np.asarray(leaf)
    if not hasattr(leaf, 'dtype') or array.dtype.hasobject:
      raise UserError(
        f'{"/".join(path)} must be an array or a dict of arrays, not a '
        f'{type(leaf).__name__}'
      )
    flat['/'.join(path)] = array
  return dict(sorted(flat.items()))


def _stored(params: Params, dtype: str, where: str) -> dict[str, np.ndarray]:
  flat = flatten_params(params)
  if not flat:
    raise UserError(f'the {where} has no parameters')
  for name, array in flat.items():
    # To numpy, bfloat16 is not a floating dtype, but it casts like one.
    is_float = np.issubdtype(array.dtype, np.floating)
    if is_float or array.dtype.name == 'bfloat16':
      with np.errstate(over='ignore'):
        stored = array.astype(np.float32).astype(dtype, order='C')
      if not np.isfinite(stored).all():
        raise UserError(
          f'{where}: {name} holds values that are not finite in {dtype}'
        )
      flat[name] = stored
    elif array.dtype.name in _OTHER_DTYPES:
      flat[name] = np.array(array, order='C')
    else:
      raise UserError(
        f'{where}: {name} has the dtype {array.dtype.name}; a bundle holds '
        f'floating-point arrays and {", ".join(_OTHER_DTYPES)}'
      )
  return flat


def _read_arrays(path: epath.Path) -> Params:
  try:
    flat = safetensors.numpy.load(path.read_bytes())
  except (safetensors.SafetensorError, KeyError) as error:
    raise UserError(
      f'{path} is not a safetensors file of known dtypes: {error}'
    ) from error
  paths = {tuple(name.split('/')) for name in flat}
  for name, array in flat.items():
    dtype = array.dtype.name
    if dtype not in (*_STORED_DTYPES, *_OTHER_DTYPES):
      raise UserError(f'{path}: {name} has the dtype {dtype}')
    parts = tuple(name.split('/'))
    if not all(parts) or any(parts[:n] in paths for n in range(len(parts))):
      raise UserError(f'{path}: the name {name!r} fits no tree of arrays')
    if dtype == 'float16':
      flat[name] = array.astype(np.float32)
  return unflatten_dict(flat, sep='/')


def _read_checksums(folder: epath.Path) -> dict[str, str]:
  path = folder / _CHECKSUMS
  if not path.is_file():
    raise UserError(
      f'{folder} is not a bundle: it has no {_CHECKSUMS}; give the folder of '
      'a bundle'
    )
  content = _parse_json(path)
  if content.get('format') != FORMAT:
    raise UserError(f'{path} does not belong to a {FORMAT}')
  if content.get('version') != VERSION:
    raise UserError(
      f'{folder} has the bundle format {content.get("version")!r}, but this '
      f'release reads {VERSION}; use the release that wrote it'
    )
  checksums = content.get('sha256')
  # No name is used as a path, so none can lead out of the folder.
  if not isinstance(checksums, dict) or set(checksums) != set(_FILES):
    raise UserError(f'{path} must list exactly {", ".join(_FILES)}')
  return checksums


def _parse_json(path: epath.Path) -> dict[str, Any]:
  try:
    content = json.loads(_read_text(path))
  except (json.JSONDecodeError, RecursionError) as error:
    raise UserError(f'{path} is not valid JSON: {error}') from error
  if not isinstance(content, dict):
    raise UserError(f'{path} must hold a JSON object')
  return content


def _to_json(config: Mapping[str, Any]) -> str:
  try:
    text = json.dumps(dict(config), indent=2, allow_nan=False) + '\n'
  except (TypeError, ValueError) as error:
    raise UserError(f'the config cannot be written as JSON: {error}') from error
  return text


def _read_text(path: epath.Path) -> str:
  try:
    return path.read_bytes().decode('utf-8')
  except UnicodeDecodeError as error:
    raise UserError(f'{path} is not UTF-8 text: {error}') from error


def _check_equal(
  written: Bundle,
  arrays: Mapping[str, Mapping[str, np.ndarray]],
  config_text: str,
  vocabulary: bytes,
  model_card: str,
) -> None:
  """Raise an OSError unless the content that was read is the one given."""
  trees = {
    _TOKENIZER: written.tokenizer_params,
    _GENERATOR: written.generator_params,
  }
  is_same = (
    written.config == json.loads(config_text)
    and written.vocabulary == vocabulary
    and written.model_card == model_card
  )
  for name, tree in trees.items():
    flat = flatten_params(tree)
    is_same = is_same and flat.keys() == arrays[name].keys()
    is_same = is_same and all(
      np.array_equal(flat[key], array) for key, array in arrays[name].items()
    )
  if not is_same:
    raise OSError(
      'the bundle on disk differs from what was written: the disk is faulty'
    )


def _check_replaceable(target: epath.Path) -> None:
  if not target.exists():
    return
  if not target.is_dir():
    raise UserError(f'{target} is a file; a bundle is a folder')
  foreign = {entry.name for entry in target.iterdir()} - {*_FILES, _CHECKSUMS}
  if foreign:
    raise UserError(
      f'{target} has files that do not belong to a bundle and would be lost '
      f'({", ".join(sorted(foreign)[:3])}); choose another folder'
    )
