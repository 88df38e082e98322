"""Turn a config file and a few overrides into frozen dataclasses.

A config is a Python file that holds data only: `get_config(arg='')` returns a
ConfigDict. It is loaded and locked, overridden by `a.b=value` strings that are
read by the type of the field they set, and built once into a tree of frozen
dataclasses. Defaults live in those dataclasses and nowhere else; below this
line nobody reads a ConfigDict. An unknown key is an error that names the
nearest real one.
"""

import dataclasses
import importlib.util
import json
import pathlib
import sys
import traceback
import types
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import ml_collections

from phenaki_jax import fields
from phenaki_jax.errors import NotFoundError, UserError
from phenaki_jax.fields import build

T = TypeVar('T')


def load(spec: str) -> ml_collections.ConfigDict:
  """Load the config that `path.py` or `path.py:arg` names, and lock it.

  Args:
    spec: path of a Python file that defines `get_config(arg='')`; what stands
      after the last colon is handed to it.

  Returns:
    The locked ConfigDict.

  Raises:
    FileNotFoundError: there is no such file.
    UserError: the file is no config, or refuses its argument.
  """
  name, colon, arg = spec.partition('.py:')
  path = pathlib.Path(name + '.py' if colon else spec)
  if not path.is_file():
    raise NotFoundError(
      f'there is no config file {path}; name a Python file such as '
      'configs/tokenizer/tiny.py'
    )
  module_spec = importlib.util.spec_from_file_location(
    'phenaki_config_' + path.stem, path
  )
  if module_spec is None or module_spec.loader is None:
    raise UserError(f'the config {path} must be a Python file (.py)')
  module = importlib.util.module_from_spec(module_spec)
  writes_bytecode = sys.dont_write_bytecode
  sys.dont_write_bytecode = True
  try:
    module_spec.loader.exec_module(module)
    if not hasattr(module, 'get_config'):
      raise UserError(f"the config {path} must define get_config(arg='')")
    result = module.get_config(arg)
  except SyntaxError as error:
    raise UserError(
      f'the config {path} is not valid Python: line {error.lineno}: {error.msg}'
    ) from error
  except ValueError:
    raise  # A sentence of its own, such as one of `parse_arg`.
  except Exception as error:
    lines = [
      frame.lineno
      for frame in traceback.extract_tb(error.__traceback__)
      if frame.filename == module_spec.origin
    ]
    raise UserError(
      f'the config {path} fails in line {lines[-1] if lines else "?"}: '
      f'{type(error).__name__}: {error}'
    ) from error
  finally:
    sys.dont_write_bytecode = writes_bytecode
  if not isinstance(result, ml_collections.ConfigDict):
    raise UserError(
      f'get_config of {path} must return an ml_collections.ConfigDict, not '
      f'a {type(result).__name__}'
    )
  return result.lock()


def parse_arg(arg: str, **defaults: Any) -> types.SimpleNamespace:
  """Read the argument of a config, `size=base,smoke`, by typed defaults.

  Args:
    arg: entries separated by commas; a bare name sets a bool to True.
    **defaults: every entry that is allowed, with its default value.

  Returns:
    The values, as attributes.

  Raises:
    UserError: an entry is unknown or does not have its default's type.
  """
  values = dict(defaults)
  for entry in filter(None, arg.split(',')):
    key, equals, text = entry.partition('=')
    if key not in defaults:
      raise UserError(
        f'unknown config argument {fields.nearest(key, defaults)}'
      )
    kind = type(defaults[key])
    if not equals and kind is not bool:
      raise UserError(f'the config argument {key} needs a value: {key}=...')
    values[key] = fields.read(kind, text, where=key) if equals else True
  return types.SimpleNamespace(**values)


def resolve(
  cls: type[T],
  config: ml_collections.ConfigDict | Mapping[str, Any],
  overrides: Iterable[str] = (),
) -> T:
  """Build `cls` from a config after applying `a.b=value` overrides.

  Args:
    cls: a frozen dataclass; its fields may be dataclasses in turn.
    config: a ConfigDict or nested mapping; keys left out take the defaults of
      the dataclass.
    overrides: strings `a.b=value`; the value is read by the field's type.

  Returns:
    An instance of `cls`.

  Raises:
    UserError: an unknown key (the nearest one is named), a value of the
      wrong type, or a required field that is missing.
  """
  return build(cls, override(cls, config, overrides))


def override(
  cls: type,
  config: ml_collections.ConfigDict | Mapping[str, Any],
  overrides: Iterable[str],
) -> dict[str, Any]:
  """Copy a config into nested dicts and set `a.b=value` overrides in them.

  Raises:
    UserError: an override of an unknown key or with a value of another type.
  """
  values = _plain(config)
  for text in overrides:
    key, equals, value = text.partition('=')
    if not equals or not key.strip():
      raise UserError(
        f'cannot read the override {text!r}; write it as section.field=value'
      )
    _set(cls, values, key.strip(), value)
  return values


def to_dict(value: Any) -> Any:
  """Turn a tree of dataclasses into dicts, lists and plain values."""
  if dataclasses.is_dataclass(value) and not isinstance(value, type):
    return {
      field.name: to_dict(getattr(value, field.name))
      for field in dataclasses.fields(value)
      if field.init
    }
  if isinstance(value, Mapping):
    return {str(key): to_dict(item) for key, item in value.items()}
  if isinstance(value, list | tuple):
    return [to_dict(item) for item in value]
  if value is None or isinstance(value, bool | int | float | str):
    return value
  raise TypeError(f'a config cannot hold a {type(value).__name__}: {value!r}')


def to_json(value: Any) -> str:
  """Turn a tree of dataclasses into JSON that `from_json` reads back."""
  return json.dumps(to_dict(value), indent=2) + '\n'


def from_json(cls: type[T], text: str) -> T:
  """Build a dataclass from what `to_json` wrote.

  Raises:
    UserError: the text is no JSON, or not of this dataclass.
  """
  try:
    mapping = json.loads(text)
  except json.JSONDecodeError as error:
    raise UserError(f'not a JSON config: {error}') from error
  return build(cls, mapping)


def flatten(value: Any) -> dict[str, Any]:
  """Flatten a tree of dataclasses into sorted `a.b` keys, for goldens."""

  def walk(node: Any, prefix: str) -> Iterable[tuple[str, Any]]:
    if isinstance(node, dict) and node:
      for key, item in node.items():
        yield from walk(item, fields.join(prefix, key))
    else:
      yield prefix, node

  return dict(sorted(walk(to_dict(value), '')))


def _set(cls: type, values: dict[str, Any], key: str, text: str) -> None:
  """Set the field `key` of the nested dict `values` of `cls` from text."""
  node: Any = cls
  *groups, last = key.split('.')
  for i, name in enumerate(groups):
    where = '.'.join(groups[:i])
    kinds = fields.types_of(node)
    if name not in kinds:
      raise UserError(
        f'unknown config key {fields.nearest(name, kinds, where)}'
      )
    node = fields.group_of(kinds[name])
    if node is None:
      raise UserError(
        f'the config key {fields.join(where, name)} is a value, not a group of '
        f'fields, so {key} cannot be set'
      )
    if values.get(name) is None:
      values[name] = {}
    values = values[name]
  kinds = fields.types_of(node)
  where = '.'.join(groups)
  if last not in kinds:
    raise UserError(f'unknown config key {fields.nearest(last, kinds, where)}')
  values[last] = fields.read(kinds[last], text.strip(), where=key)


def _plain(
  config: ml_collections.ConfigDict | Mapping[str, Any],
) -> dict[str, Any]:
  """Copy a ConfigDict or mapping into nested plain dicts."""
  if isinstance(config, ml_collections.ConfigDict):
    # Resolves references to other fields too.
    config = config.to_dict()
  return {
    key: _plain(value) if isinstance(value, Mapping) else value
    for key, value in config.items()
  }
