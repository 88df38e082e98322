"""Build frozen, validated dataclasses from config files and overrides.

A config is a Python file that defines `get_config(arg='')`, which returns a
ConfigDict. `load` reads it, `override` applies `a.b=value` strings to it and
`build` turns it into a tree of dataclasses, which pydantic validates. Defaults
live in the dataclasses only, and nothing beyond this file reads a ConfigDict.
"""

import ast
import contextlib
import dataclasses
import difflib
import functools
import inspect
import json
import os
import pathlib
import runpy
import traceback
import typing
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, TypeVar

import ml_collections
import pydantic
from pydantic.dataclasses import dataclass as pydantic_dataclass

from phenaki_jax.errors import NotFoundError, UserError

T = TypeVar('T')

# Field types: a number in [0, 1], a number in [0, 1), and a seed of 32 bits.
Share = Annotated[float, pydantic.Field(ge=0, le=1)]
Rate = Annotated[float, pydantic.Field(ge=0, lt=1)]
Seed = Annotated[int, pydantic.Field(ge=0, lt=2**32)]


@typing.dataclass_transform(kw_only_default=True, frozen_default=True)
def validated(cls: type[T]) -> type[T]:
  """Make a class a frozen dataclass whose constructor validates its fields.

  Values must have the annotated types, where an int may stand for a float, and
  satisfy the constraints in them. The constructor raises a UserError.
  """
  strict = pydantic.ConfigDict(strict=True, extra='forbid')
  made: Any = pydantic_dataclass(frozen=True, kw_only=True, config=strict)(cls)
  init = made.__init__

  @functools.wraps(init)
  def __init__(self: Any, **values: Any) -> None:
    try:
      init(self, **values)
    except pydantic.ValidationError as error:
      raise _sentence(made, first_fault(error)) from None

  made.__init__ = __init__
  return made


def load(spec: str | os.PathLike[str]) -> ml_collections.ConfigDict:
  """Load the config `path.py` or `path.py:arg`, and lock it.

  Args:
    spec: path of a Python file that defines `get_config(arg='')`; the text
      after `.py:` is passed to it.

  Raises:
    FileNotFoundError: the file does not exist.
    UserError: the file is not a config, fails, or refuses its argument.
  """
  result = call(spec, 'get_config')
  if not isinstance(result, ml_collections.ConfigDict):
    raise UserError(
      f'get_config of {split(spec)[0]} must return an '
      f'ml_collections.ConfigDict, not a {type(result).__name__}'
    )
  return result.lock()


def split(spec: str | os.PathLike[str]) -> tuple[str, str]:
  """Return the path and the argument of `path.py[:arg]`."""
  name, colon, arg = str(spec).partition('.py:')
  return (name + '.py' if colon else name), arg


def find(spec: str | os.PathLike[str]) -> tuple[str, str]:
  """Return the path of an existing `path.py[:arg]`, and the argument.

  Raises:
    NotFoundError: there is no such file.
  """
  path, arg = split(spec)
  if not pathlib.Path(path).is_file():
    raise NotFoundError(
      f'there is no config file {path}; name a Python file such as '
      'configs/tokenizer/tiny.py'
    )
  return path, arg


def call(spec: str | os.PathLike[str], function: str) -> Any:
  """Call a function of the Python file `path.py[:arg]` with the argument.

  What a generator yields is returned as a list.

  Raises:
    FileNotFoundError: the file does not exist.
    UserError: the file has no such function, fails, or refuses its argument.
  """
  path, arg = find(spec)
  try:
    module = runpy.run_path(path)
    if function not in module:
      raise UserError(f"the config {path} must define {function}(arg='')")
    result = module[function](arg)
    return list(result) if inspect.isgenerator(result) else result
  except UserError:
    raise
  except Exception as error:
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == path]
    line = lines[-1] if lines else getattr(error, 'lineno', '?')
    raise UserError(
      f'the config {path} fails in line {line}: {type(error).__name__}: {error}'
    ) from error


def parse_arg(arg: str, **defaults: Any) -> Any:
  """Parse the argument of a config, such as `size=base,smoke`.

  Args:
    arg: entries separated by commas; a bare name sets a bool to True.
    **defaults: the allowed entries, with values of the types to parse.

  Returns:
    The values, as attributes.

  Raises:
    UserError: an entry is unknown or has the wrong type.
  """
  for entry in arg.split(',') if arg else ():
    name = entry.partition('=')[0]
    if name not in defaults:
      raise UserError(unknown_key('config argument', name, defaults))
  fields = [(name, type(value), value) for name, value in defaults.items()]
  cls = dataclasses.make_dataclass('Arg', fields)
  entries = [text if '=' in text else f'{text}=true' for text in arg.split(',')]
  return build(cls, override(cls, {}, entries if arg else ()))


def override(cls: type, config: Any, overrides: Iterable[str]) -> Any:
  """Return a config as nested dicts and lists, with overrides applied.

  Args:
    cls: the dataclass that the config describes.
    config: a ConfigDict or mapping.
    overrides: strings `a.b=value`, read by the type of the field. A part of
      the key may be an index into a tuple, as in `data.sources.0.path=DIR`.

  Raises:
    UserError: a field is unknown, or the type of the value is wrong.
  """
  values = to_dict(config)
  for entry in overrides:
    key, equals, text = (part.strip() for part in entry.partition('='))
    path = key.split('.')
    if not equals or not all(path):
      raise UserError(
        f'cannot read the override {entry!r}; write it as section.field=value'
      )
    group, index = _open(cls, values, path)
    faults: list[UserError] = []
    for reading in _readings(text):
      group[index] = reading
      fault = _fault(cls, values, path)
      if fault is None:
        break
      faults.append(fault)
    else:
      # The first reading is the likeliest, so its fault says the most.
      raise faults[0]
  return values


def build(cls: type[T], values: Any) -> T:
  """Build a dataclass from nested values.

  An int may stand for a float and a list for a tuple; nothing else is
  converted.

  Args:
    cls: the dataclass; its fields may be dataclasses in turn.
    values: a mapping or ConfigDict; fields that are left out take the
      defaults of the dataclass.

  Raises:
    UserError: a field is unknown (the nearest name is given), missing,
      mistyped or out of range.
  """
  try:
    return _validate(cls, values)
  except pydantic.ValidationError as error:
    raise _sentence(cls, first_fault(error)) from None


def first_fault(error: pydantic.ValidationError) -> Any:
  """Return the first fault, or the unknown key that explains a missing one."""
  first, *others = error.errors()
  if first['type'] == 'missing':
    for fault in others:
      is_unknown = fault['type'] == 'unexpected_keyword_argument'
      if is_unknown and fault['loc'][:-1] == first['loc'][:-1]:
        return fault
  return first


def unknown_key(
  what: str, key: str, allowed: Iterable[str], elsewhere: Iterable[str] = ()
) -> str:
  """Return a sentence about a key that does not exist.

  Args:
    what: the kind of key, such as 'config key'.
    key: its name, after the names of the groups that it is in.
    allowed: the names in the same group.
    elsewhere: full names in other groups, of which those are suggested that
      end in the same name.
  """
  *groups, name = key.split('.')
  allowed = list(allowed)
  near = [other for other in elsewhere if other.split('.')[-1] == name]
  if not near:
    found = difflib.get_close_matches(name, allowed, n=1, cutoff=0.5)
    near = ['.'.join([*groups, *found])] if found else []
  hint = f'; did you mean {" or ".join(near)}?' if near else '.'
  return f'unknown {what} {key}{hint} Allowed: {", ".join(allowed) or "none"}'


def to_dict(value: Any) -> Any:
  """Return dataclasses, mappings and tuples as the dicts and lists of JSON."""
  return json.loads(json.dumps(value, default=_plain))


def to_json(value: Any) -> str:
  """Return a tree of dataclasses as JSON that `from_json` reads."""
  return json.dumps(to_dict(value), indent=2) + '\n'


def parse_json(text: str) -> Any:
  """Read the values of a config, for `build`, from JSON.

  Raises:
    UserError: the text is not JSON.
  """
  try:
    return json.loads(text)
  except json.JSONDecodeError as error:
    raise UserError(f'not a JSON config: {error}') from error


def from_json(cls: type[T], text: str) -> T:
  """Build a dataclass from JSON.

  Raises:
    UserError: the text is not JSON, or `build` refuses its values.
  """
  return build(cls, parse_json(text))


def _plain(value: Any) -> dict[str, Any]:
  """Return a group of fields as a dict."""
  if isinstance(value, ml_collections.ConfigDict):
    return value.to_dict()  # References to other fields are resolved.
  if dataclasses.is_dataclass(value) and not isinstance(value, type):
    return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
  raise UserError(
    f'a config cannot hold {value!r}; use numbers, text, booleans, None, '
    'tuples and groups of them'
  )


def _validate(cls: type[T], values: Any) -> T:
  # JSON has no tuples, so pydantic's strict mode takes lists for them.
  return pydantic.TypeAdapter(cls).validate_json(
    json.dumps(to_dict(values)), strict=True, extra='forbid'
  )


def _open(cls: Any, values: Any, path: list[str]) -> tuple[Any, Any]:
  """Return the group or list and the key in it that a path leads to."""
  default = cls
  for name in path:
    group = values
    default = getattr(default, name, None)
    try:
      key = int(name) if isinstance(group, list) else name
      if isinstance(group, dict) and group.get(name) is None:
        group[name] = to_dict(default) if isinstance(default, tuple) else {}
      values = group[key]
    except (IndexError, TypeError, ValueError) as error:
      raise UserError(
        f'there is no config key {".".join(path)}, because {name!r} is no '
        f'entry of {group!r}'
      ) from error
  return group, key


def _readings(text: str) -> Iterator[Any]:
  """Yield the possible values of a text, the likeliest first."""
  for parse in (json.loads, ast.literal_eval):
    with contextlib.suppress(ValueError, SyntaxError):
      yield to_dict(parse(text))
  if text.lower() == 'none':
    yield None
  yield text
  yield [word.strip() for word in text.strip('()[]').split(',') if word]


def _fault(cls: Any, values: Any, path: list[str]) -> UserError | None:
  """Return the error at a path, regardless of other errors in the values."""
  try:
    _validate(cls, values)
  except pydantic.ValidationError as error:
    for fault in error.errors():
      if _locate(cls, fault['loc'])[0][: len(path)] == path:
        return _sentence(cls, fault)
  return None


@functools.cache
def _fields(kind: Any) -> dict[str, Any]:
  """Return the fields of the dataclasses in a type, with their types."""
  if not dataclasses.is_dataclass(kind):
    parts = [_fields(part) for part in typing.get_args(kind)]
    return {name: part[name] for part in parts for name in part}
  hints = typing.get_type_hints(kind)
  return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def _keys(kind: Any, prefix: str = '') -> Iterator[str]:
  """Yield the keys of the values in nested groups."""
  for name, inner in _fields(kind).items():
    # The groups of a list have no fixed keys.
    if typing.get_origin(inner) is not tuple and _fields(inner):
      yield from _keys(inner, f'{prefix}{name}.')
    else:
      yield f'{prefix}{name}'


def _locate(
  cls: Any, loc: tuple[int | str, ...]
) -> tuple[list[str], dict[str, Any]]:
  """Return the key of a fault, and the fields of the group that it is in."""
  path: list[str] = []
  fields: dict[str, Any] = {}
  for depth, name in enumerate(loc, 1):
    fields = _fields(cls)
    # Other names stand for a member of a union.
    if isinstance(name, int) or name in fields or depth == len(loc):
      path.append(str(name))
    cls = fields.get(str(name), cls)
  return path, fields


def _sentence(cls: Any, fault: Any) -> UserError:
  """Turn a fault that pydantic found into a sentence for the user."""
  path, fields = _locate(cls, fault['loc'])
  key, kind, message = '.'.join(path), fault['type'], fault['msg']
  if kind == 'missing':
    return UserError(f'the config key {key} is missing')
  if kind == 'unexpected_keyword_argument':
    return UserError(unknown_key('config key', key, fields, _keys(cls)))
  if kind == 'value_error':  # A rule of the dataclass itself.
    message = str(fault['ctx']['error'])
    is_named = not key or f'{key}.' in message
    return UserError(message if is_named else f'{key}: {message}')
  message = message.replace('Input should', 'it must')
  message = message.replace('an object', 'a group of fields')
  message = message.replace('a valid array', 'values such as 1,2')
  return UserError(f'{key or "it"} is {fault["input"]!r}, but {message}')
