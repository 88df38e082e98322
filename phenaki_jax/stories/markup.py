"""Read YAML and JSON with the line of every value.

The standard readers do not keep line numbers, which messages about a file
written by hand need. Both formats are read strictly and safely: no tags that
construct objects, no aliases (a short file could expand to gigabytes), no
duplicate keys, no keys without a value.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, TypeAlias

import yaml

from phenaki_jax.errors import UserError

Place: TypeAlias = tuple[str | int, ...]
"""The keys and list indices that lead to a value; () is the whole file."""

Lines: TypeAlias = dict[Place, tuple[int, int]]
"""The lines, from 1, where the key of each value and the value itself begin."""

# The time of the YAML reader grows with the square of the depth.
_MAX_DEPTH = 20
_TOO_DEEP = 'it is nested too deeply'


def shorten(value: Any) -> str:
  """Return a value as messages show it, in at most 40 characters."""
  text = repr(value)
  if len(text) <= 40:
    return text
  if isinstance(value, list | tuple):
    return f'a list of {len(value)}'
  return 'a group of keys' if isinstance(value, dict) else f'{text[:37]}...'


def read_yaml(text: str) -> tuple[Any, Lines]:
  """Read one YAML document.

  Raises:
    UserError: names the line of what is not YAML or not allowed.
  """
  try:
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
      depth += isinstance(event, yaml.CollectionStartEvent)
      depth -= isinstance(event, yaml.CollectionEndEvent)
      if depth > _MAX_DEPTH:
        raise _error(_line(event.start_mark), _TOO_DEEP)
      if isinstance(event, yaml.AliasEvent):
        raise _error(
          _line(event.start_mark),
          f'the alias *{event.anchor} is not allowed; write the value out',
        )
    loader = yaml.SafeLoader(text)
    try:
      root = loader.get_single_node()
      if root is None:
        raise _error(1, 'the file is empty')
      lines: Lines = {(): (_line(root.start_mark),) * 2}
      return _from_yaml(loader, root, (), lines), lines
    finally:
      loader.dispose()
  except yaml.MarkedYAMLError as error:
    mark = error.problem_mark or error.context_mark
    problem = error.problem or error.context or 'it cannot be read'
    raise _error(_line(mark), f'this is not YAML: {problem}') from error
  except yaml.reader.ReaderError as error:
    line = text.count('\n', 0, error.position) + 1
    raise _error(
      line, f'the character {error.character!r} is not allowed'
    ) from error


def _error(line: int, problem: str) -> UserError:
  return UserError(f'line {line}: {problem}')


def _line(mark: Any) -> int:
  return mark.line + 1 if mark else 1


def _from_yaml(
  loader: yaml.SafeLoader, node: yaml.Node, place: Place, lines: Lines
) -> Any:
  """Return the value of a node, and note the lines of the values in it."""
  line = _line(node.start_mark)
  if isinstance(node, yaml.SequenceNode):
    items = []
    for i, item in enumerate(node.value):
      lines[*place, i] = (_line(item.start_mark),) * 2
      items.append(_from_yaml(loader, item, (*place, i), lines))
    return items
  if isinstance(node, yaml.MappingNode):
    mapping: dict[str, Any] = {}
    for key_node, child in node.value:
      start = _line(key_node.start_mark)
      key = _from_yaml(loader, key_node, (), {})
      _check_key(key, mapping, start)
      lines[*place, key] = (start, _line(child.start_mark))
      mapping[key] = _from_yaml(loader, child, (*place, key), lines)
    return mapping
  try:
    return _checked(loader.construct_object(node), line)
  except UserError:
    raise
  except ValueError as error:  # 2024-13-45 has the form of a date.
    shown = shorten(node.value)
    raise _error(line, f'{shown} cannot be read') from error


def _check_key(key: Any, mapping: dict[str, Any], line: int) -> None:
  if not isinstance(key, str):
    raise _error(line, f'a key must be a word, not {shorten(key)}')
  if key in mapping:
    raise _error(line, f'the key {key!r} appears twice')


def _checked(value: Any, line: int) -> Any:
  if value is None:
    raise _error(line, 'a value is missing; add it or remove its key')
  return value


def read_json(text: str) -> tuple[Any, Lines]:
  """Read one JSON value.

  Raises:
    UserError: names the line of what is not JSON or not allowed.
  """
  try:
    json.loads(text)  # Rejects what is not JSON; `_Json` only finds the lines.
    reader = _Json(text)
    return reader.read(()), reader.lines
  except json.JSONDecodeError as error:
    raise _error(error.lineno, f'this is not JSON: {error.msg}') from error
  except RecursionError as error:
    raise _error(1, _TOO_DEEP) from error
  except UserError:
    raise
  except ValueError as error:  # An integer of thousands of digits.
    raise _error(1, f'a number cannot be read: {error}') from error


class _Json:
  """A reader of text that is known to be JSON."""

  _SPACE = re.compile(r'[ \t\r\n]*')
  _ATOM = re.compile(r'[^\s,\]}]+')
  _STRING = re.compile(r'"(?:[^"\\]|\\.)*"')

  def __init__(self, text: str):
    self.lines: Lines = {}
    self._text = text
    self._at = 0
    self._line = 1

  def read(self, place: Place, key_line: int | None = None) -> Any:
    """Read the next value, which belongs at `place`."""
    self._skip()
    line = self._line
    self.lines[place] = (key_line or line, line)
    start = self._text[self._at]
    if start == '[':
      return [self.read((*place, i)) for i in self._items(']')]
    if start == '{':
      mapping: dict[str, Any] = {}
      for _ in self._items('}'):
        key_line = self._line
        key = json.loads(self._take(self._STRING))
        _check_key(key, mapping, key_line)
        self._skip()
        self._at += 1  # The colon.
        mapping[key] = self.read((*place, key), key_line)
      return mapping
    pattern = self._STRING if start == '"' else self._ATOM
    return _checked(json.loads(self._take(pattern)), line)

  def _items(self, end: str) -> Iterator[int]:
    """Count items; stop at the start of each, and after the end of all."""
    count = 0
    while True:
      self._at += 1  # The opening bracket, or a comma.
      self._skip()
      if self._text[self._at] != end:
        yield count
        count += 1
        self._skip()
      if self._text[self._at] == end:
        self._at += 1
        return

  def _skip(self) -> None:
    self._line += self._take(self._SPACE).count('\n')

  def _take(self, pattern: re.Pattern[str]) -> str:
    match = pattern.match(self._text, self._at)
    assert match is not None
    self._at = match.end()
    return match.group()
