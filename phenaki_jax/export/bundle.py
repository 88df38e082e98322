"""One folder that holds a whole story model, safe to take from a stranger.

The arrays are safetensors, the rest is JSON, Markdown and a SentencePiece
model: nothing in a bundle is code, and nothing is unpickled. Each file's
SHA-256 stands in `checksums.json`, which is checked before a file is read.
"""

import dataclasses
import errno
import hashlib
import json
import os
import pathlib
import shutil
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

import phenaki_jax
from phenaki_jax.errors import UserError
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
# What an array may be on disk, in the names of safetensors and of numpy.
_FLOATS = ('F16', 'F32')
_OTHERS = {
  'BOOL': 'bool',
  'U8': 'uint8',
  'I8': 'int8',
  'I32': 'int32',
  'U32': 'uint32',
  'I64': 'int64',
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bundle:
  """Hold what a bundle says; every floating array is float32.

  Attributes:
    tokenizer_params: nested dicts of numpy arrays.
    generator_params: nested dicts of numpy arrays; text encoder included.
    config: what `config.json` holds.
    vocabulary: the bytes of the SentencePiece model.
    model_card: Markdown.
    fingerprint: SHA-256 over the checksums; the same for the same content.
  """

  tokenizer_params: Params
  generator_params: Params
  config: Mapping[str, Any]
  vocabulary: bytes
  model_card: str
  fingerprint: str


def write_bundle(
  path: str | os.PathLike[str],
  *,
  tokenizer_params: Params,
  generator_params: Params,
  config: Mapping[str, Any],
  vocabulary: bytes,
  model_card: str,
  dtype: str = 'float32',
) -> Bundle:
  """Write a bundle to the folder `path`, and return it as read back.

  The files are written beside the folder and read back first, so a bundle that
  is already there is replaced by a complete one or not at all.

  Args:
    path: the folder. It may hold an older bundle, but nothing else.
    tokenizer_params: nested dicts of arrays; names may not hold a slash.
    generator_params: nested dicts of arrays; names may not hold a slash.
    config: plain values, as JSON holds them.
    vocabulary: the bytes of a SentencePiece model.
    model_card: Markdown.
    dtype: of floating arrays on disk, 'float32', or 'float16' for half the
      size and eleven bits of precision.

  Raises:
    UserError: for content that a bundle cannot hold, and for a folder that
      holds other files.
  """
  if dtype not in _STORED_DTYPES:
    raise UserError(
      f'a bundle stores {" or ".join(_STORED_DTYPES)}, not {dtype!r}'
    )
  target = pathlib.Path(path).absolute()
  _check_replaceable(target)
  arrays = {
    _TOKENIZER: _stored(tokenizer_params, dtype, 'tokenizer'),
    _GENERATOR: _stored(generator_params, dtype, 'generator'),
  }
  config_text = _to_json(config)
  target.parent.mkdir(parents=True, exist_ok=True)
  new = _sibling(target, 'new')
  new.mkdir()
  try:
    for name, flat in arrays.items():
      # Its own writer makes files that nobody else may read.
      (new / name).write_bytes(safetensors.numpy.save(flat))
    (new / _CONFIG).write_text(config_text, 'utf-8')
    (new / _VOCABULARY).write_bytes(vocabulary)
    (new / _MODEL_CARD).write_text(model_card, 'utf-8')
    checksums = {
      'format': FORMAT,
      'version': VERSION,
      'sha256': {name: _sha256(new / name) for name in _FILES},
    }
    (new / _CHECKSUMS).write_text(json.dumps(checksums, indent=2) + '\n')
    for name in (*_FILES, _CHECKSUMS):
      _sync(new / name)
    written = load_bundle(new)
    _check_equal(written, arrays, config_text, vocabulary, model_card)
    _swap(new, target)
  except BaseException:
    shutil.rmtree(new, ignore_errors=True)
    raise
  return written


def load_bundle(path: str | os.PathLike[str]) -> Bundle:
  """Read and check a bundle.

  Whether the arrays fit a model is for the caller to compare.

  Raises:
    UserError: a file is missing, is not what its checksum says, or is not
      what a bundle holds; the message names the file.
  """
  folder = pathlib.Path(path)
  checksums = _read_checksums(folder)
  for name, expected in checksums.items():
    if not (folder / name).is_file():
      raise UserError(f'the bundle {folder} lacks the file {name}')
    if _sha256(folder / name) != expected:
      raise UserError(
        f'{folder / name} is not the file that {_CHECKSUMS} describes: it is '
        'damaged, incomplete or was changed; fetch or write the bundle again'
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
    UserError: if this install has none.
  """
  folder = pathlib.Path(phenaki_jax.__file__).parent / 'reference'
  if not (folder / _CHECKSUMS).is_file():
    raise UserError(
      f'this install has no reference bundle at {folder}: install the package '
      'with its data files, or name the folder of another bundle'
    )
  return folder


def flatten_params(params: Params) -> dict[str, np.ndarray]:
  """Return the arrays of nested dicts by their names, joined with slashes.

  Raises:
    UserError: for a name that is empty, holds a slash or is no string, and
      for a leaf that is no array.
  """
  return dict(sorted(_walk(params, '')))


def _walk(node: Any, prefix: str) -> Iterator[tuple[str, np.ndarray]]:
  if not isinstance(node, Mapping):
    array = np.asarray(node)
    if not hasattr(node, 'dtype') or array.dtype.hasobject:
      raise UserError(
        f'{prefix or "the tree"} must be an array or a dict of arrays, not a '
        f'{type(node).__name__}'
      )
    yield prefix, array
    return
  for name, child in node.items():
    if not isinstance(name, str) or not name or '/' in name:
      raise UserError(
        f'{name!r} under {prefix or "the top"} cannot name an array: names are '
        'strings without a slash'
      )
    yield from _walk(child, f'{prefix}/{name}' if prefix else name)


def _unflatten(flat: Mapping[str, np.ndarray], where: object) -> Params:
  tree: dict[str, Any] = {}
  for path, array in flat.items():
    *groups, last = path.split('/')
    node: Any = tree
    for name in groups:
      node = node.setdefault(name, {}) if isinstance(node, dict) else None
    if not isinstance(node, dict) or last in node or not all((*groups, last)):
      raise UserError(f'{where}: the name {path!r} fits in no tree of arrays')
    node[last] = array
  return tree


def _stored(params: Params, dtype: str, where: str) -> dict[str, np.ndarray]:
  flat = flatten_params(params)
  if not flat:
    raise UserError(f'the {where} has no parameters')
  for name, array in flat.items():
    # bfloat16 is not a floating type to numpy, but it casts like one.
    is_float = np.issubdtype(array.dtype, np.floating)
    if is_float or array.dtype.name == 'bfloat16':
      with np.errstate(over='ignore'):
        stored = array.astype(np.float32).astype(dtype, order='C')
      if not np.isfinite(stored).all():
        raise UserError(
          f'{where}: {name} holds values that are not finite in {dtype}'
        )
      flat[name] = stored
    elif array.dtype.name in _OTHERS.values():
      flat[name] = np.array(array, order='C')
    else:
      raise UserError(
        f'{where}: {name} has the type {array.dtype.name}; a bundle holds '
        f'floating numbers and {", ".join(_OTHERS.values())}'
      )
  return flat


def _read_arrays(path: pathlib.Path) -> Params:
  flat: dict[str, np.ndarray] = {}
  try:
    with safetensors.safe_open(path, framework='numpy') as file:
      for name in file.keys():
        dtype = file.get_slice(name).get_dtype()
        if dtype not in _FLOATS and dtype not in _OTHERS:
          raise UserError(f'{path}: {name} has the unknown type {dtype}')
        array = file.get_tensor(name)
        flat[name] = array.astype(np.float32) if dtype == 'F16' else array
  except safetensors.SafetensorError as error:
    raise UserError(f'{path} is no safetensors file: {error}') from error
  return _unflatten(flat, path)


def _read_checksums(folder: pathlib.Path) -> dict[str, str]:
  path = folder / _CHECKSUMS
  if not path.is_file():
    raise UserError(
      f'{folder} is no bundle: it has no {_CHECKSUMS}; name the folder that '
      'holds one'
    )
  content = _parse_json(path)
  if content.get('format') != FORMAT:
    raise UserError(f'{path} does not say that it belongs to a {FORMAT}')
  if content.get('version') != VERSION:
    raise UserError(
      f'{folder} has the bundle format {content.get("version")!r}, but this '
      f'release reads {VERSION}; use the release that wrote it'
    )
  checksums = content.get('sha256')
  # The names are compared, never followed, so none can lead out of the folder.
  if not isinstance(checksums, dict) or set(checksums) != set(_FILES):
    raise UserError(f'{path} must list exactly {", ".join(_FILES)}')
  return checksums


def _parse_json(path: pathlib.Path) -> dict[str, Any]:
  try:
    content = json.loads(_read_text(path))
  except (json.JSONDecodeError, RecursionError) as error:
    raise UserError(f'{path} is not readable JSON: {error}') from error
  if not isinstance(content, dict):
    raise UserError(f'{path} must hold a JSON object')
  return content


def _to_json(config: Mapping[str, Any]) -> str:
  try:
    text = json.dumps(dict(config), indent=2, allow_nan=False) + '\n'
  except (TypeError, ValueError) as error:
    raise UserError(f'the config does not fit in JSON: {error}') from error
  return text


def _read_text(path: pathlib.Path) -> str:
  try:
    return path.read_bytes().decode('utf-8')
  except UnicodeDecodeError as error:
    raise UserError(f'{path} is not UTF-8 text: {error}') from error


def _sha256(path: pathlib.Path) -> str:
  with path.open('rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()


def _check_equal(
  written: Bundle,
  arrays: Mapping[str, Mapping[str, np.ndarray]],
  config_text: str,
  vocabulary: bytes,
  model_card: str,
) -> None:
  """Raise an OSError unless what was read back is what was given."""
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
      errno.EIO,
      'the bundle read back is not the one written: the disk is faulty',
    )


def _check_replaceable(target: pathlib.Path) -> None:
  if not target.exists():
    return
  if not target.is_dir():
    raise UserError(f'{target} is a file; a bundle is a folder')
  foreign = {entry.name for entry in target.iterdir()} - {*_FILES, _CHECKSUMS}
  if foreign:
    raise UserError(
      f'{target} holds files that are not of a bundle and would be lost '
      f'({", ".join(sorted(foreign)[:3])}); choose another folder'
    )


def _swap(new: pathlib.Path, target: pathlib.Path) -> None:
  """Put `new` in the place of `target`; put the old one back on failure."""
  if not target.exists():
    new.rename(target)
    return
  old = _sibling(target, 'old')
  target.rename(old)
  try:
    new.rename(target)
  except BaseException:
    old.rename(target)
    raise
  shutil.rmtree(old)


def _sibling(target: pathlib.Path, word: str) -> pathlib.Path:
  # Beside the target, so that renaming stays within one file system.
  return target.parent / f'.{target.name}.{word}-{uuid.uuid4().hex[:8]}'


def _sync(path: pathlib.Path) -> None:
  with path.open('rb') as file:
    os.fsync(file.fileno())
