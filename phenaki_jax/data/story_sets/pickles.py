"""Files that Python 2 or 3 pickled, read without running what they name.

A pickle names functions and classes that the reader calls. Here, only those of
numpy's arrays are known, and they stand for plain records: no object of numpy
is made before its dtype is known to be one of numbers or bytes. Everything else
is refused.
"""

import dataclasses
import os
import pathlib
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from phenaki_jax.errors import NotFoundError, UserError

_PLAIN_KINDS = 'biufSU'  # of dtypes whose values are no Python objects


def load_pickle(path: str | os.PathLike[str]) -> Any:
  """Return the content of a pickle file.

  Python 2's strings are bytes in the result; see `text`.

  Returns:
    Dicts, lists, tuples, strings, bytes, numbers and arrays of numbers or
    bytes. An array of objects becomes nested lists, and one without dimensions
    its only object.

  Raises:
    NotFoundError: there is no such file.
    UserError: it is no pickle, or holds anything else.
  """
  with _opened(path) as file:
    return _load(file, path)


def load_npy(path: str | os.PathLike[str]) -> Any:
  """Return the content of a `.npy` file; one of objects as `load_pickle` does.

  Raises:
    NotFoundError: there is no such file.
    UserError: it is not what numpy writes, or holds other objects.
  """
  with _opened(path) as file, warnings.catch_warnings():
    # Headers of Python 2 are read with a warning.
    warnings.simplefilter('ignore')
    try:
      version = np.lib.format.read_magic(file)
      read = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
      )
      _, _, dtype = read(file)
      if not dtype.hasobject:
        file.seek(0)
        return np.load(file, allow_pickle=False)
    except (ValueError, EOFError) as error:
      raise UserError(
        f'{path} is not a file of numpy ({error}); fetch it again'
      ) from error
    return _load(file, path)


def text(value: Any) -> str:
  """Return a string of a pickle: Python 2 wrote UTF-8 or Latin-1 bytes.

  Raises:
    UserError: the value is no string.
  """
  if isinstance(value, str):
    return value
  if not isinstance(value, bytes):
    raise UserError(
      f'{value!r:.80} is no string; the file is not that of the release'
    )
  try:
    return value.decode()
  except UnicodeDecodeError:
    return value.decode('latin-1')


def by_text(table: Any) -> dict[str, Any]:
  """Return a dict of a pickle with strings as keys.

  Raises:
    UserError: the value is no dict, or a key is no string.
  """
  if not isinstance(table, dict):
    raise UserError(
      f'a {type(table).__name__} is where a dict should be; the file is not '
      'that of the release'
    )
  return {text(key): value for key, value in table.items()}


def _opened(path: str | os.PathLike[str]) -> Any:
  path = pathlib.Path(path)
  if not path.is_file():
    raise NotFoundError(f'there is no file {path}; name the folder of the set')
  return open(path, 'rb')


def _load(file: Any, path: str | os.PathLike[str]) -> Any:
  try:
    # Python 2's strings, of which numpy needs the bytes.
    return _plain(_Unpickler(file, encoding='bytes').load(), {})
  except _RefusedError as error:
    raise UserError(
      f'{path} holds {error}, which is not read, because a pickle can run any '
      'program; only arrays, dicts, lists, strings and numbers are'
    ) from error
  except Exception as error:  # A damaged pickle raises anything.
    first = (str(error).splitlines() or [''])[0] or type(error).__name__
    raise UserError(
      f'{path} cannot be unpickled ({first:.200}); fetch it again'
    ) from error


class _RefusedError(pickle.UnpicklingError):
  """Something that is neither an array nor a plain value."""


class _Dtype:
  """Stands for a dtype."""

  def __init__(self, code: Any, align: Any = False, copy: Any = False):
    del align, copy
    self._code, self._order = text(code), '='

  def __setstate__(self, state: Any) -> None:
    _, order, *rest = state
    if any(part is not None for part in rest[:3]):
      raise _RefusedError('an array of records')
    self._order = text(order)

  @property
  def is_object(self) -> bool:
    """Return whether it is that of Python's objects."""
    return self._code.startswith('O')

  def real(self) -> np.dtype:
    """Return the dtype, one of numbers or bytes."""
    order: Any = '=' if self._order == '|' else self._order
    dtype = np.dtype(self._code).newbyteorder(order)
    if dtype.kind not in _PLAIN_KINDS:
      raise _RefusedError(f'an array of the dtype {self._code!r}')
    return dtype


@dataclasses.dataclass
class _Array:
  """Stands for an array, or for a number of numpy."""

  shape: tuple[int, ...] = ()
  dtype: Any = None
  data: Any = None
  fortran: bool = False
  is_number: bool = False

  def __setstate__(self, state: Any) -> None:
    _, self.shape, self.dtype, self.fortran, self.data = state

  def plain(self, done: dict[int, Any]) -> Any:
    """Return the array, the nested lists or the number."""
    if not isinstance(self.dtype, _Dtype):
      raise _RefusedError('an array without a dtype')
    if self.dtype.is_object:
      if not isinstance(self.data, list):
        raise _RefusedError('an array of pointers')
      made: np.ndarray = np.empty(len(self.data), object)
      for place, item in enumerate(self.data):
        made[place] = _plain(item, done)
      return made.reshape(self.shape, order=self._order).tolist()
    flat = np.frombuffer(self.data, self.dtype.real())
    if self.is_number:
      return flat[0].item()
    return flat.reshape(self.shape, order=self._order)

  @property
  def _order(self) -> Any:
    return 'F' if self.fortran else 'C'


def _empty(kind: Any, shape: Any, code: Any) -> _Array:
  """Stand for `_reconstruct`; what it makes is set later."""
  del kind, shape, code
  return _Array()


def _number(dtype: Any, data: Any) -> _Array:
  """Stand for `scalar`."""
  return _Array(dtype=dtype, data=data, is_number=True)


def _view(data: Any, dtype: Any, shape: Any, order: Any) -> _Array:
  """Stand for `_frombuffer`."""
  return _Array(shape=shape, dtype=dtype, data=data, fortran=order == 'F')


def _encode(content: str, encoding: Any) -> bytes:
  """Stand for `codecs.encode`, as which Python 3 writes bytes for Python 2."""
  del encoding
  return content.encode('latin-1')


# numpy's modules were renamed in its version 2.
_KNOWN: dict[tuple[str, str], Callable[..., Any]] = {
  ('numpy', 'ndarray'): _Array,
  ('numpy', 'dtype'): _Dtype,
  ('_codecs', 'encode'): _encode,
}
for _module in ('numpy.core', 'numpy._core'):
  _KNOWN[f'{_module}.multiarray', '_reconstruct'] = _empty
  _KNOWN[f'{_module}.multiarray', 'scalar'] = _number
  _KNOWN[f'{_module}.numeric', '_frombuffer'] = _view


class _Unpickler(pickle.Unpickler):
  """An unpickler that knows the parts of arrays, and nothing else."""

  def find_class(self, module: str, name: str) -> Any:
    """Return what stands for a name."""
    found = _KNOWN.get((module, name))
    if found is None:
      raise _RefusedError(f'the object {module}.{name}')
    return found

  def persistent_load(self, pid: Any) -> Any:
    """Refuse what lies outside the file."""
    raise _RefusedError(f'a reference to {pid!r:.40}')


def _plain(value: Any, made: dict[int, Any]) -> Any:
  """Return a value in which arrays have replaced what stands for them.

  Args:
    value: what was unpickled.
    made: the results so far by the identity of the value. An object at many
      places stays one object, or a small file would fill the memory.
  """
  if id(value) not in made:
    made[id(value)] = _made(value, made)
  return made[id(value)]


def _made(value: Any, made: dict[int, Any]) -> Any:
  if isinstance(value, _Array):
    return value.plain(made)
  if isinstance(value, dict):
    return {_plain(k, made): _plain(v, made) for k, v in value.items()}
  if isinstance(value, list | tuple):
    return type(value)(_plain(item, made) for item in value)
  if value is None or isinstance(value, bool | int | float | str | bytes):
    return value
  raise _RefusedError(f'a {type(value).__name__}')
