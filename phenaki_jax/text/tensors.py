"""The tensors of a checkpoint on disk, read one slice at a time.

T5X has written two formats. The older one is a msgpack file `checkpoint`, whose
leaves are arrays or TensorStore specs of folders beside it. The newer one is
Orbax's: a folder `state` with one TensorStore array per parameter, often inside
one OCDBT database. Hugging Face writes safetensors files.
"""

import contextlib
import dataclasses
import functools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import ml_dtypes
import msgpack
import numpy as np
import safetensors
import tensorstore
from etils import epath
from flax import serialization
from flax.traverse_util import flatten_dict

from phenaki_jax.errors import NotFoundError, UserError
from phenaki_jax.files.paths import absolute, is_remote

_PLACEHOLDER = 'PLACEHOLDER://'


Read = Callable[[tuple[slice, ...]], np.ndarray]


class Tensor:
  """One tensor of a checkpoint; it is opened when it is first used."""

  def __init__(self, opener: Callable[[], tuple[Sequence[int], Read]]):
    """Open nothing yet; `opener` returns the shape and a reader of slices."""
    self._open = functools.cache(opener)

  @property
  def shape(self) -> tuple[int, ...]:
    """Return the shape."""
    return tuple(self._open()[0])

  @property
  def transposed(self) -> 'Tensor':
    """Return the transposed matrix."""

    def opened() -> tuple[Sequence[int], Read]:
      shape, read = self._open()
      return shape[::-1], lambda index: read(index[::-1]).T

    return Tensor(opened)

  def read(self, index: tuple[slice, ...]) -> np.ndarray:
    """Read the part at an index."""
    array = self._open()[1](index)
    # Version 2 of T5X stored bfloat16 as uint16.
    is_raw = array.dtype == np.uint16
    return array.view(ml_dtypes.bfloat16) if is_raw else array

  def whole(self) -> np.ndarray:
    """Read all of it."""
    return self.read((slice(None),) * len(self.shape))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tensors:
  """The tensors of a checkpoint by name.

  Attributes:
    path: of the checkpoint.
    is_t5x: whether T5X wrote it: names are joined by '/', those of parameters
      begin with 'target/'. Otherwise they are Hugging Face's.
    items: the tensors.
  """

  path: epath.Path
  is_t5x: bool
  items: Mapping[str, Tensor]


def open_tensors(path: epath.PathLike) -> Tensors:
  """Open a checkpoint that T5X or Hugging Face wrote.

  Args:
    path: the folder `checkpoint_STEP` of T5X, a folder with
      `model.safetensors` or its index, or one safetensors file.

  Raises:
    NotFoundError: there is no checkpoint.
    UserError: it is damaged, or in another format.
  """
  path = absolute(path)
  if not path.exists():
    raise NotFoundError(f'there is no checkpoint {path}; name its folder')
  with readable(path):
    return _open(path)


@contextlib.contextmanager
def readable(path: epath.PathLike) -> Iterator[None]:
  """Turn errors of damaged files in the block into a UserError."""
  try:
    yield
  except UserError:
    raise
  except (
    *(ValueError, KeyError, TypeError, AttributeError, OSError),
    *(msgpack.UnpackException, safetensors.SafetensorError),
  ) as error:
    raise UserError(
      f'the checkpoint {path} cannot be read, because it is damaged or a part '
      f'is missing: {error}; copy it again'
    ) from error


def _open(path: epath.Path) -> Tensors:
  if path.suffix == '.safetensors':
    return Tensors(path=path, is_t5x=False, items=_safetensors([path]))
  if (path / 'model.safetensors.index.json').is_file():
    index = json.loads((path / 'model.safetensors.index.json').read_text())
    files = sorted(set(index['weight_map'].values()))
    items = _safetensors([path / name for name in files])
    if items.keys() != index['weight_map'].keys():
      differing = sorted(items.keys() ^ index['weight_map'].keys())
      raise UserError(
        f'the files of {path} do not hold the tensors of its index: '
        f'{differing[0]} is in only one of them; copy the checkpoint again'
      )
    return Tensors(path=path, is_t5x=False, items=items)
  if (path / 'model.safetensors').is_file():
    return _open(path / 'model.safetensors')
  if (path / 'state').is_dir():
    return dataclasses.replace(_open(path / 'state'), path=path)
  if (path / 'checkpoint').is_file():
    return Tensors(path=path, is_t5x=True, items=_msgpack(path))
  arrays = _listed(path)
  if arrays:
    return Tensors(path=path, is_t5x=True, items=arrays)
  raise UserError(
    f'{path} holds no checkpoint that this version reads; name a folder '
    'checkpoint_STEP of T5X, or a folder with model.safetensors'
  )


def _msgpack(path: epath.Path) -> dict[str, Tensor]:
  """Open the tensors of T5X's msgpack file, inline or in folders beside it."""
  tree = serialization.msgpack_restore((path / 'checkpoint').read_bytes())
  # Version 0, and the file that Orbax wrote at first, have no such level.
  tree = tree.get('optimizer', tree)

  def is_leaf(_: Any, value: Any) -> bool:
    return 'driver' in value

  found = {}
  flat = flatten_dict(tree, sep='/', is_leaf=is_leaf)
  for name, leaf in flat.items():
    if isinstance(leaf, dict):
      found[name] = _array(_place(path, leaf), leaf['driver'])
    elif isinstance(leaf, str) and leaf.startswith(_PLACEHOLDER):
      folder = leaf.removeprefix(_PLACEHOLDER)
      found[name] = _array(_store(path / folder), 'zarr')
    elif isinstance(leaf, np.ndarray | np.generic):
      found[name] = _in_memory(np.asarray(leaf))
    elif not isinstance(leaf, int | float | str | bytes | None):
      raise UserError(
        f'{name} of the checkpoint {path} is a {type(leaf).__name__}; only '
        'arrays, specs of arrays and numbers can be read'
      )
  return found


def _place(path: epath.Path, spec: Mapping[str, Any]) -> Any:
  """Return where the array of a spec is now: beside the file.

  The spec holds the place at the time of writing, perhaps in a bucket. Early
  ones hold the path outside of the kvstore.
  """
  written = spec['kvstore'].get('path') or spec.get('path', '')
  return _store(path / written.rstrip('/').rpartition('/')[2])


def _listed(path: epath.Path) -> dict[str, Tensor]:
  """Open all arrays of a folder that Orbax wrote."""
  store: Any = _store(path)
  if (path / 'manifest.ocdbt').is_file():
    store = {'driver': 'ocdbt', 'base': store}
  keys = tensorstore.KvStore.open(store).result().list().result()
  drivers = {'.zarray': 'zarr', 'zarr.json': 'zarr3'}
  found = {}
  for key in sorted(key.decode() for key in keys):
    name, _, file = key.rpartition('/')
    if name and file in drivers:
      place = {**store, 'path': f'{store.get("path", "")}{name}/'}
      found[name.replace('.', '/')] = _array(place, drivers[file])
  return found


def _store(path: epath.Path) -> dict[str, Any]:
  """Return the spec of TensorStore's key-value store of a folder."""
  if not is_remote(path):
    return {'driver': 'file', 'path': f'{path}/'}
  scheme, _, rest = str(path).partition('://')
  bucket, _, place = rest.partition('/')
  drivers = {'gs': 'gcs', 's3': 's3'}
  if scheme not in drivers:
    raise UserError(f'{path} must be local, or in a gs:// or s3:// bucket')
  return {'driver': drivers[scheme], 'bucket': bucket, 'path': f'{place}/'}


def _array(store: Any, driver: str) -> Tensor:
  def opened() -> tuple[Sequence[int], Read]:
    spec = {'driver': driver, 'kvstore': store}
    # A lost file of a part of an array would otherwise be read as zeros.
    spec['fill_missing_data_reads'] = False
    array = tensorstore.open(spec, open=True, read=True).result()
    return array.shape, lambda index: array[index].read().result()

  return Tensor(opened)


def _in_memory(array: np.ndarray) -> Tensor:
  return Tensor(lambda: (array.shape, array.__getitem__))


def _slice(part: Any) -> Tensor:
  return Tensor(lambda: (part.get_shape(), part.__getitem__))


def _safetensors(paths: Iterable[epath.Path]) -> dict[str, Tensor]:
  found: dict[str, Tensor] = {}
  for path in paths:
    if not path.is_file():
      raise NotFoundError(f'{path} is missing; copy the checkpoint again')
    file: Any = safetensors.safe_open(str(path), framework='numpy')
    for name in file.keys():
      found[name] = _slice(file.get_slice(name))
  return found
