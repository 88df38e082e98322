"""Turn a config file and a few overrides into frozen dataclasses.

A config is a Python file that holds data only: `get_config(arg='')` returns a
ConfigDict. It is loaded and locked, overridden by `a.b=value` strings that are
read by the type of the field they set, and built once into a tree of frozen
dataclasses. Defaults live in those dataclasses and nowhere else; below this
line nobody reads a ConfigDict. An unknown key is an error that names the
nearest real one.
"""

import ast
import dataclasses
import difflib
import importlib.util
import json
import pathlib
import sys
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import ml_collections

T = TypeVar('T')

_WORDS = {'true': True, 'false': False}


def load(spec: str) -> ml_collections.ConfigDict:
  """Load the config that `path.py` or `path.py:arg` names, and lock it.

  Args:
    spec: path of a Python file that defines `get_config(arg='')`; what stands
      after the last colon is handed to it.

  Returns:
    The locked ConfigDict.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: the file is no config, or refuses its argument.
  """
  name, colon, arg = spec.partition('.py:')
  path = pathlib.Path(name + '.py' if colon else spec)
  if not path.is_file():
    raise FileNotFoundError(
      f'there is no config file {path}; name a Python file such as '
      'configs/tokenizer/tiny.py'
    )
  module_spec = importlib.util.spec_from_file_location(
    'phenaki_config_' + path.stem, path
  )
  if module_spec is None or module_spec.loader is None:
    raise ValueError(f'the config {path} must be a Python file (.py)')
  module = importlib.util.module_from_spec(module_spec)
  writes_bytecode = sys.dont_write_bytecode
  sys.dont_write_bytecode = True
  try:
    module_spec.loader.exec_module(module)
  except SyntaxError as error:
    raise ValueError(
      f'the config {path} is not valid Python: line {error.lineno}: {error.msg}'
    ) from error
  finally:
    sys.dont_write_bytecode = writes_bytecode
  if not hasattr(module, 'get_config'):
    raise ValueError(f"the config {path} must define get_config(arg='')")
  result = module.get_config(arg)
  if not isinstance(result, ml_collections.ConfigDict):
    raise ValueError(
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
    ValueError: an entry is unknown or does not have its default's type.
  """
  values = dict(defaults)
  for entry in filter(None, arg.split(',')):
    key, equals, text = entry.partition('=')
    if key not in defaults:
      raise ValueError(f'unknown config argument {_nearest(key, defaults)}')
    kind = type(defaults[key])
    if not equals and kind is not bool:
      raise ValueError(f'the config argument {key} needs a value: {key}=...')
    values[key] = _read(kind, text, where=key) if equals else True
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
    ValueError: an unknown key (the nearest one is named), a value of the
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
    ValueError: an override of an unknown key or with a value of another type.
  """
  values = _plain(config)
  for text in overrides:
    key, equals, value = text.partition('=')
    if not equals or not key.strip():
      raise ValueError(
        f'cannot read the override {text!r}; write it as section.field=value'
      )
    _set(cls, values, key.strip(), value)
  return values


def build(cls: type[T], mapping: Any, *, where: str = '') -> T:
  """Build a dataclass from a mapping, strictly.

  Nested dataclasses, tuples, Optional, Literal, unions of plain types and
  mappings are understood. Unlike the constructor this checks types: an int
  is taken for a float, nothing else is converted.

  Args:
    cls: the dataclass.
    mapping: values by field name; anything else is refused.
    where: dotted name of the mapping in messages.

  Returns:
    An instance of `cls`.

  Raises:
    ValueError: an unknown, missing or mistyped field.
  """
  if not isinstance(mapping, Mapping):
    raise ValueError(
      f'{where or "the config"} must be a group of fields '
      f'({", ".join(_types(cls))}), not {mapping!r}'
    )
  kinds = _types(cls)
  values = {}
  for key, value in mapping.items():
    if key not in kinds:
      raise ValueError(f'unknown config key {_nearest(key, kinds, where)}')
    values[key] = _convert(kinds[key], value, _join(where, key))
  for field in dataclasses.fields(cls):  # type: ignore[arg-type]
    if field.init and field.name not in values and _is_required(field):
      raise ValueError(f'the config key {_join(where, field.name)} is missing')
  try:
    return cls(**values)
  except ValueError as error:
    # The dataclass checks its own values; say which group they belong to.
    if not where or f'{where}.' in str(error):
      raise
    raise ValueError(f'{where}: {error}') from error


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
    ValueError: the text is no JSON, or not of this dataclass.
  """
  try:
    mapping = json.loads(text)
  except json.JSONDecodeError as error:
    raise ValueError(f'not a JSON config: {error}') from error
  return build(cls, mapping)


def flatten(value: Any) -> dict[str, Any]:
  """Flatten a tree of dataclasses into sorted `a.b` keys, for goldens."""

  def walk(node: Any, prefix: str) -> Iterable[tuple[str, Any]]:
    if isinstance(node, dict) and node:
      for key, item in node.items():
        yield from walk(item, _join(prefix, key))
    else:
      yield prefix, node

  return dict(sorted(walk(to_dict(value), '')))


def _set(cls: type, values: dict[str, Any], key: str, text: str) -> None:
  """Set the field `key` of the nested dict `values` of `cls` from text."""
  node: Any = cls
  *groups, last = key.split('.')
  for i, name in enumerate(groups):
    where = '.'.join(groups[:i])
    kinds = _types(node)
    if name not in kinds:
      raise ValueError(f'unknown config key {_nearest(name, kinds, where)}')
    node = _group(kinds[name])
    if node is None:
      raise ValueError(
        f'the config key {_join(where, name)} is a value, not a group of '
        f'fields, so {key} cannot be set'
      )
    if values.get(name) is None:
      values[name] = {}
    values = values[name]
  kinds = _types(node)
  where = '.'.join(groups)
  if last not in kinds:
    raise ValueError(f'unknown config key {_nearest(last, kinds, where)}')
  values[last] = _read(kinds[last], text.strip(), where=key)


def _group(kind: Any) -> Any:
  """Return the dataclass that `kind` is, or is an Optional of, if any."""
  for option in _options(kind):
    if dataclasses.is_dataclass(option):
      return option
  return None


def _options(kind: Any) -> tuple[Any, ...]:
  """Return the members of a union, or the type itself."""
  if typing.get_origin(kind) in (typing.Union, types.UnionType):
    return typing.get_args(kind)
  return (kind,)


def _read(kind: Any, text: str, *, where: str) -> Any:
  """Read text from the command line as a value of the type `kind`."""
  group = _group(kind)
  if group is not None:
    raise ValueError(
      f'{where} is a group of fields; set one of them: '
      + ', '.join(f'{where}.{name}' for name in _types(group))
    )
  for candidate in _candidates(kind, text):
    try:
      return _convert(kind, candidate, where)
    except ValueError:
      continue
  raise ValueError(f'{where} must be {_describe(kind)}, not {text!r}')


def _candidates(kind: Any, text: str) -> Iterable[Any]:
  """Yield what the text may mean, the likeliest first."""
  if text.lower() == 'none':
    yield None
  if text.lower() in _WORDS:
    yield _WORDS[text.lower()]
  bare = text.strip('()[] ')
  if any(typing.get_origin(option) is tuple for option in _options(kind)):
    # `32,32` is a tuple too, and so are words without quotation marks.
    items = [item.strip() for item in bare.split(',') if item.strip()]
    yield tuple(_literal(item) for item in items)
    yield tuple(items)
  else:
    if kind is not str:
      yield _literal(text)
    yield text


def _literal(text: str) -> Any:
  """Return the Python literal that the text spells, or the text."""
  try:
    return ast.literal_eval(text)
  except (ValueError, SyntaxError):
    return text


def _convert(kind: Any, value: Any, where: str) -> Any:
  """Return `value` as the type `kind`, or raise a ValueError."""
  options = _options(kind)
  if len(options) > 1:
    if value is None and type(None) in options:
      return None
    options = tuple(x for x in options if x is not type(None))
    # A union of groups is settled by the first whose fields fit.
    error = None
    for option in options:
      try:
        return _convert(option, value, where)
      except ValueError as mismatch:
        error = error or mismatch
    if len(options) == 1 and error is not None:
      raise error
    raise _mismatch(kind, value, where)
  origin, args = typing.get_origin(kind), typing.get_args(kind)
  if dataclasses.is_dataclass(kind):
    if isinstance(value, typing.cast(type, kind)):
      return value
    return build(typing.cast(type, kind), value, where=where)
  if origin is typing.Literal:
    if value in args:
      return value
    raise _mismatch(kind, value, where)
  if origin is tuple:
    return _convert_tuple(kind, args, value, where)
  if origin in (dict, Mapping):
    if not isinstance(value, Mapping):
      raise _mismatch(kind, value, where)
    return {
      _convert(args[0], k, where): _convert(args[1], v, _join(where, str(k)))
      for k, v in value.items()
    }
  if kind is Any:
    return value
  if kind is float and isinstance(value, int) and not isinstance(value, bool):
    return float(value)
  if kind not in (bool, int, float, str, type(None)):
    raise TypeError(f'{where}: a config field cannot be of the type {kind}')
  if not isinstance(value, kind) or (
    isinstance(value, bool) and kind is not bool
  ):
    raise _mismatch(kind, value, where)
  return value


def _convert_tuple(
  kind: Any, args: tuple[Any, ...], value: Any, where: str
) -> tuple[Any, ...]:
  """Return a list or tuple as the tuple type `kind`."""
  if not isinstance(value, Sequence) or isinstance(value, str):
    raise _mismatch(kind, value, where)
  if len(args) == 2 and args[1] is Ellipsis:
    args = (args[0],) * len(value)
  if len(args) != len(value):
    raise _mismatch(kind, value, where)
  return tuple(
    _convert(arg, item, f'{where}[{i}]')
    for i, (arg, item) in enumerate(zip(args, value, strict=True))
  )


def _mismatch(kind: Any, value: Any, where: str) -> ValueError:
  return ValueError(f'{where} must be {_describe(kind)}, not {value!r}')


def _describe(kind: Any) -> str:
  """Say in words what a field of the type `kind` takes."""
  options = _options(kind)
  if len(options) > 1:
    return ' or '.join(_describe(option) for option in options)
  origin, args = typing.get_origin(kind), typing.get_args(kind)
  if origin is typing.Literal:
    return 'one of ' + ', '.join(map(repr, args))
  if origin is tuple:
    if len(args) == 2 and args[1] is Ellipsis:
      return f'values a,b,..., each {_describe(args[0])}'
    inner = ','.join(getattr(arg, '__name__', str(arg)) for arg in args)
    return f'{len(args)} values ({inner})'
  if dataclasses.is_dataclass(kind):
    return 'a group of fields: ' + ', '.join(_types(kind))
  words = {
    bool: 'true or false',
    int: 'a whole number',
    float: 'a number',
    str: 'text',
    type(None): 'none',
  }
  return words[kind] if kind in words else str(kind)


def _types(cls: Any) -> dict[str, Any]:
  """Return the resolved type of each field that the constructor takes."""
  hints = typing.get_type_hints(cls)
  return {f.name: hints[f.name] for f in dataclasses.fields(cls) if f.init}


def _is_required(field: dataclasses.Field) -> bool:
  return (
    field.default is dataclasses.MISSING
    and field.default_factory is dataclasses.MISSING
  )


def _nearest(key: str, allowed: Iterable[str], where: str = '') -> str:
  """Name an unknown key, the nearest allowed one, and all of them."""
  names = list(allowed)
  close = difflib.get_close_matches(key, names, n=1, cutoff=0.5)
  hint = f'did you mean {_join(where, close[0])}? ' if close else ''
  return f'{_join(where, key)}; {hint}Allowed: {", ".join(names) or "none"}'


def _join(where: str, name: str) -> str:
  return f'{where}.{name}' if where else name


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
