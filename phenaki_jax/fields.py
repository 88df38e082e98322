"""Check, read and build values by the types of a dataclass's fields.

A config's fields are plain values, tuples, Optional, Literal, mappings, and
dataclasses again. Nothing is converted but an int that stands for a float; an
unknown name is an error that says the nearest real one.
"""

import ast
import dataclasses
import difflib
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from phenaki_jax.errors import UserError

T = TypeVar('T')

_WORDS = {'true': True, 'false': False}


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
    UserError: an unknown, missing or mistyped field.
  """
  if not isinstance(mapping, Mapping):
    raise UserError(
      f'{where or "the config"} must be a group of fields '
      f'({", ".join(types_of(cls))}), not {mapping!r}'
    )
  kinds = types_of(cls)
  values = {}
  for key, value in mapping.items():
    if key not in kinds:
      raise UserError(f'unknown config key {nearest(key, kinds, where)}')
    values[key] = _convert(kinds[key], value, join(where, key))
  for field in dataclasses.fields(cls):  # type: ignore[arg-type]
    if field.init and field.name not in values and _is_required(field):
      raise UserError(f'the config key {join(where, field.name)} is missing')
  try:
    return cls(**values)
  except ValueError as error:
    # The dataclass checks its own values; say which group they belong to.
    if not where or f'{where}.' in str(error):
      raise
    raise UserError(f'{where}: {error}') from error


def read(kind: Any, text: str, *, where: str) -> Any:
  """Read text from the command line as a value of the type `kind`.

  Raises:
    UserError: says what the field `where` takes.
  """
  group = group_of(kind)
  if group is not None:
    raise UserError(
      f'{where} is a group of fields; set one of them: '
      + ', '.join(f'{where}.{name}' for name in types_of(group))
    )
  for candidate in _candidates(kind, text):
    try:
      return _convert(kind, candidate, where)
    except ValueError:
      continue
  raise UserError(f'{where} must be {_describe(kind)}, not {text!r}')


def group_of(kind: Any) -> Any:
  """Return the dataclass that `kind` is, or is an Optional of, if any."""
  for option in _options(kind):
    if dataclasses.is_dataclass(option):
      return option
  return None


def types_of(cls: Any) -> dict[str, Any]:
  """Return the resolved type of each field that the constructor takes."""
  hints = typing.get_type_hints(cls)
  return {f.name: hints[f.name] for f in dataclasses.fields(cls) if f.init}


def nearest(key: str, allowed: Iterable[str], where: str = '') -> str:
  """Name an unknown key, the nearest allowed one, and all of them."""
  names = list(allowed)
  close = difflib.get_close_matches(key, names, n=1, cutoff=0.5)
  hint = f'did you mean {join(where, close[0])}? ' if close else ''
  return f'{join(where, key)}; {hint}Allowed: {", ".join(names) or "none"}'


def join(where: str, name: str) -> str:
  """Put a name behind the dotted name of its group."""
  return f'{where}.{name}' if where else name


def _options(kind: Any) -> tuple[Any, ...]:
  """Return the members of a union, or the type itself."""
  if typing.get_origin(kind) in (typing.Union, types.UnionType):
    return typing.get_args(kind)
  return (kind,)


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
      _convert(args[0], k, where): _convert(args[1], v, join(where, str(k)))
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


def _mismatch(kind: Any, value: Any, where: str) -> UserError:
  return UserError(f'{where} must be {_describe(kind)}, not {value!r}')


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
    return 'a group of fields: ' + ', '.join(types_of(kind))
  words = {
    bool: 'true or false',
    int: 'a whole number',
    float: 'a number',
    str: 'text',
    type(None): 'none',
  }
  return words[kind] if kind in words else str(kind)


def _is_required(field: dataclasses.Field) -> bool:
  return (
    field.default is dataclasses.MISSING
    and field.default_factory is dataclasses.MISSING
  )
