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
from typing import Any, Literal, get_args

import numpy as np
import safetensors
import safetensors.numpy
from etils import epath
from flax.traverse_util import flatten_dict, unflatten_dict

import phenaki_jax
from phenaki_jax.errors import UserError
from phenaki_jax.files.atomic import staged_folder
from phenaki_jax.files.paths import absolute
from phenaki_jax.types import Params

FORMAT = 'phenaki_jax bundle'
VERSION = 1

_TOKENIZER = 'tokenizer.safetensors'
_GENERATOR = 'generator.safetensors'
_CONFIG = 'config.json'
_VOCABULARY = 'vocab.model'
_MODEL_CARD = 'model_card.md'
SHIPPED = {'storyworld': 'reference', 'lpc': 'reference/lpc'}
"""Folders of the bundles that ship with the package, by name."""
_CHECKSUMS = 'checksums.json'
_FILES = (_TOKENIZER, _GENERATOR, _CONFIG, _VOCABULARY, _MODEL_CARD)
# Bundles of earlier releases lack them, and no frame depends on them.
_WORDS, _LICENSE = 'words.json', 'LICENSE.txt'
_OPTIONAL = {_WORDS, _LICENSE}

StoredDtype = Literal['float32', 'float16', 'int8']
# The scales of an array of int8 are stored under its name with this ending.
_SCALES = ':scales'
_OTHER_DTYPES = ('bool', 'uint8', 'int8', 'int32', 'uint32', 'int64')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bundle:
  """The content of a bundle; every floating array is float32.

  Attributes:
    tokenizer_params, generator_params: nested dicts of numpy arrays; those of
      the generator include the text encoder. Those of the U-Net of a diffusion
      model are in their place.
    config: the content of `config.json`.
    vocabulary: the bytes of the SentencePiece model.
    model_card: Markdown.
    words: counts of the words of the training captions, as JSON; empty if
      they are not known.
    license: of the weights and of what they make, with its URL and whom it
      credits; empty if there is none.
    fingerprint: SHA-256 of the checksums of all other files; it identifies
      what the frames depend on.
  """

  tokenizer_params: Params
  generator_params: Params
  config: Mapping[str, Any]
  vocabulary: bytes
  model_card: str
  fingerprint: str
  words: bytes = b''
  license: str = ''


def write_bundle(
  path: epath.PathLike,
  *,
  tokenizer_params: Params | None,
  generator_params: Params,
  config: Mapping[str, Any],
  vocabulary: bytes,
  model_card: str,
  words: bytes = b'',
  license: str = '',
  dtype: StoredDtype = 'float32',
) -> Bundle:
  """Write a bundle to the folder `path`, and return it as read back.

  The files are written to a temporary folder and read back first, so an older
  bundle is replaced by a complete one or not at all.

  Args:
    path: the folder. It may hold an older bundle, but no other files.
    tokenizer_params, generator_params: nested dicts of arrays; names must not
      contain a slash. None for a model without a tokenizer.
    config: JSON values.
    vocabulary: the bytes of a SentencePiece model.
    model_card: Markdown.
    words: counts of the words of the training captions, as JSON, if known.
    license: see `Bundle`.
    dtype: of floating arrays on disk: 'float32', 'float16' for half the size
      with 11 bits of precision, or 'int8' for a quarter: each column of a
      matrix has 8 bits and a scale of its own, and vectors stay float32.

  Raises:
    UserError: for content that a bundle cannot have, and for a folder with
      other files.
  """
  target = absolute(path)
  _check_replaceable(target)
  contents = {
    _TOKENIZER: safetensors.numpy.save({})
    if tokenizer_params is None
    else _encode_arrays(tokenizer_params, dtype, 'tokenizer'),
    _GENERATOR: _encode_arrays(generator_params, dtype, 'generator'),
    _CONFIG: _encode_json(dict(config)),
    _VOCABULARY: vocabulary,
    _MODEL_CARD: model_card.encode(),
  }
  if words:
    contents[_WORDS] = words
  if license:
    contents[_LICENSE] = f'{license}\n'.encode()
  # Computed from memory, so that reading the files back detects disk errors.
  contents[_CHECKSUMS] = _encode_json(
    {
      'format': FORMAT,
      'version': VERSION,
      'sha256': {name: _sha256(data) for name, data in contents.items()},
    }
  )
  with staged_folder(target) as folder:
    for name, data in contents.items():
      (folder / name).write_bytes(data)
    return load_bundle(folder)


def load_bundle(path: epath.PathLike) -> Bundle:
  """Read and verify a bundle; the arrays are not compared with a model.

  Raises:
    UserError: if a file is missing, differs from its checksum, or has content
      that a bundle cannot have; the message names the file.
  """
  folder = epath.Path(path)
  checksums = _read_checksums(folder)
  contents = {}
  for name, expected in checksums.items():
    if not (folder / name).exists():
      raise UserError(f'the bundle {folder} lacks the file {name}')
    contents[name] = (folder / name).read_bytes()
    if _sha256(contents[name]) != expected:
      raise UserError(
        f'{folder / name} differs from its checksum in {_CHECKSUMS}: it is '
        'damaged, incomplete or was changed; download or write the bundle again'
      )
  required = {name: checksums[name] for name in _FILES}
  canonical = json.dumps(required, sort_keys=True)
  return Bundle(
    tokenizer_params=_decode_arrays(contents[_TOKENIZER], folder / _TOKENIZER),
    generator_params=_decode_arrays(contents[_GENERATOR], folder / _GENERATOR),
    config=_decode_json(contents[_CONFIG], folder / _CONFIG),
    vocabulary=contents[_VOCABULARY],
    model_card=_decode_text(contents[_MODEL_CARD], folder / _MODEL_CARD),
    words=contents.get(_WORDS, b''),
    license=_decode_text(
      contents.get(_LICENSE, b''), folder / _LICENSE
    ).strip(),
    fingerprint=_sha256(canonical.encode()),
  )


def is_bundle(folder: epath.PathLike) -> bool:
  """Return whether a folder has the checksums of a bundle."""
  return (epath.Path(folder) / _CHECKSUMS).is_file()


def tokenizer_digest(folder: epath.PathLike) -> str:
  """Return the SHA-256 of the tokenizer of a bundle, as its checksums say."""
  return _read_checksums(epath.Path(folder))[_TOKENIZER]


def find_model(name: epath.PathLike) -> epath.Path:
  """Return the folder of a model; a name of `SHIPPED` stands for its bundle.

  A folder of that name in the current directory is preferred.
  """
  folder = epath.Path(name).expanduser()
  if str(folder) in SHIPPED and not folder.is_dir():
    return epath.Path(reference_dir(str(folder)))
  return folder


def reference_dir(name: str = 'storyworld') -> pathlib.Path:
  """Return the folder of a bundle that ships with the package.

  Args:
    name: one of `SHIPPED`.

  Raises:
    UserError: if this installation does not have it.
  """
  folder = pathlib.Path(phenaki_jax.__file__).parent / SHIPPED[name]
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


def _encode_arrays(params: Params, dtype: StoredDtype, where: str) -> bytes:
  flat = flatten_params(params)
  if not flat:
    raise UserError(f'the {where} has no parameters')
  stored: dict[str, np.ndarray] = {}
  for name, array in flat.items():
    # numpy does not count bfloat16 as a floating dtype, but can cast it.
    is_float = np.issubdtype(array.dtype, np.floating)
    if is_float or array.dtype.name == 'bfloat16':
      whole = array.astype(np.float32, order='C')
      if dtype == 'float16':
        with np.errstate(over='ignore'):
          whole = whole.astype(dtype)
      if not np.isfinite(whole).all():
        raise UserError(
          f'{where}: {name} holds values that are not finite in {dtype}'
        )
      stored[name] = whole
      is_scanned = _is_scanned(name)
      if dtype == 'int8' and whole.ndim > 1 + is_scanned:
        stored[name], stored[name + _SCALES] = _rounded(whole, is_scanned)
    elif array.dtype.name in _OTHER_DTYPES:
      stored[name] = np.array(array, order='C')
    else:
      raise UserError(
        f'{where}: {name} has the dtype {array.dtype.name}; a bundle holds '
        f'floating-point arrays and {", ".join(_OTHER_DTYPES)}'
      )
  return safetensors.numpy.save(stored)


def _is_scanned(name: str) -> bool:
  """Return whether `nn.blocks.Stack` scans a parameter, over its first axis."""
  return '/blocks/' in name and '/block_' not in name


def _rounded(
  array: np.ndarray, is_scanned: bool
) -> tuple[np.ndarray, np.ndarray]:
  """Return int8 values and the scale of each column, the last dimension.

  Each layer of scanned parameters, the first dimension, has its own scales.
  """
  axes = tuple(range(int(is_scanned), array.ndim - 1))
  scales = np.abs(array).max(axes, keepdims=True) / 127
  whole = np.rint(array / np.where(scales > 0, scales, 1))
  return whole.astype(np.int8), scales


def _decode_arrays(data: bytes, path: epath.Path) -> Params:
  try:
    flat = safetensors.numpy.load(data)
  except (safetensors.SafetensorError, KeyError) as error:
    raise UserError(
      f'{path} is not a safetensors file of known dtypes: {error}'
    ) from error
  paths = {tuple(name.split('/')) for name in flat}
  for name, array in flat.items():
    dtype = array.dtype.name
    if dtype not in (*get_args(StoredDtype), *_OTHER_DTYPES):
      raise UserError(f'{path}: {name} has the dtype {dtype}')
    parts = tuple(name.split('/'))
    if not all(parts) or any(parts[:n] in paths for n in range(len(parts))):
      raise UserError(f'{path}: the name {name!r} fits no tree of arrays')
    if dtype == 'float16':
      flat[name] = array.astype(np.float32)
  for name in [one for one in flat if one.endswith(_SCALES)]:
    scales, whole = flat.pop(name), name.removesuffix(_SCALES)
    shape = flat[whole].shape if whole in flat else ()
    layers = shape[0] if _is_scanned(whole) and len(shape) > 2 else 1
    ones = (1,) * (len(shape) - 2)
    if len(shape) < 2 or scales.shape != (layers, *ones, shape[-1]):
      raise UserError(f'{path}: {name} are not the scales of {whole}')
    flat[whole] = flat[whole].astype(np.float32) * scales
  return unflatten_dict(flat, sep='/')


def _read_checksums(folder: epath.Path) -> dict[str, str]:
  path = folder / _CHECKSUMS
  if not path.is_file():
    raise UserError(
      f'{folder} is not a bundle: it has no {_CHECKSUMS}; give the folder of '
      'a bundle'
    )
  content = _decode_json(path.read_bytes(), path)
  if content.get('format') != FORMAT:
    raise UserError(f'{path} does not belong to a {FORMAT}')
  if content.get('version') != VERSION:
    raise UserError(
      f'{folder} has the bundle format {content.get("version")!r}, but this '
      f'release reads {VERSION}; use the release that wrote it'
    )
  checksums = content.get('sha256')
  # No name is used as a path, so none can lead out of the folder.
  if not isinstance(checksums, dict) or set(checksums) - _OPTIONAL != set(
    _FILES
  ):
    raise UserError(
      f'{path} must list exactly {", ".join(_FILES)}, and may list {_WORDS} '
      f'and {_LICENSE}'
    )
  return checksums


def _encode_json(content: dict[str, Any]) -> bytes:
  try:
    text = json.dumps(content, indent=2, allow_nan=False) + '\n'
  except (TypeError, ValueError) as error:
    raise UserError(f'the config cannot be written as JSON: {error}') from error
  return text.encode()


def _decode_json(data: bytes, path: epath.Path) -> dict[str, Any]:
  try:
    content = json.loads(_decode_text(data, path))
  except (json.JSONDecodeError, RecursionError) as error:
    raise UserError(f'{path} is not valid JSON: {error}') from error
  if not isinstance(content, dict):
    raise UserError(f'{path} must hold a JSON object')
  return content


def _decode_text(data: bytes, path: epath.Path) -> str:
  try:
    return data.decode()
  except UnicodeDecodeError as error:
    raise UserError(f'{path} is not UTF-8 text: {error}') from error


def _sha256(data: bytes) -> str:
  return hashlib.sha256(data).hexdigest()


def _check_replaceable(target: epath.Path) -> None:
  if not target.exists():
    return
  if not target.is_dir():
    raise UserError(f'{target} is a file; a bundle is a folder')
  ours = {*_FILES, *_OPTIONAL, _CHECKSUMS}
  foreign = {entry.name for entry in target.iterdir()} - ours
  if foreign:
    raise UserError(
      f'{target} has files that do not belong to a bundle and would be lost '
      f'({", ".join(sorted(foreign)[:3])}); choose another folder'
    )
