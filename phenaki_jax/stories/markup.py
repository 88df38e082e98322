"""Read YAML or JSON and remember the line of every value.

Neither format's own reader tells where a value stood, which a message about
a file written by hand needs. Both are read strictly and safely: no tags that
make objects, no aliases (a short file could unfold into gigabytes), no key
twice.
"""

import dataclasses
import json
import re
from collections.abc import Iterator
from typing import Any

import yaml

from phenaki_jax.errors import UserError

MAX_BYTES = 1_000_000
# The time that YAML's reader takes grows with the square of the depth.
_MAX_DEPTH = 20
_TOO_DEEP = 'it is nested too deeply'


@dataclasses.dataclass(frozen=True, kw_only=True)
class Node:
  """Hold one value of a file.

  Attributes:
    line: where it begins, from 1.
    value: a plain scalar, a list of nodes, or pairs of nodes (key, value).
    kind: 'scalar', 'list' or 'mapping'.
  """

  line: int
  value: Any
  kind: str = 'scalar'

  @property
  def shown(self) -> str:
    """Describe the value in a few words, for a message."""
    if self.kind == 'list':
      return f'a list of {len(self.value)}'
    if self.kind == 'mapping':
      return 'a group of keys'
    return shorten(self.value)


def shorten(value: Any) -> str:
  """Show a value within a message, cut to 40 characters."""
  text = repr(value)
  return text if len(text) <= 40 else f'{text[:37]}...'


class MarkupError(UserError):
  """Say what is wrong on which line.

  Attributes:
    line: from 1.
    problem: what is wrong there.
  """

  def __init__(self, line: int, problem: str):
    super().__init__(f'line {line}: {problem}')
    self.line = line
    self.problem = problem


def read_yaml(text: str) -> Node:
  """Read one YAML document.

  Raises:
    MarkupError: it is not YAML, or uses what could do harm.
  """
  try:
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
      depth += isinstance(event, yaml.CollectionStartEvent)
      depth -= isinstance(event, yaml.CollectionEndEvent)
      if depth > _MAX_DEPTH:
        raise MarkupError(_line(event.start_mark), _TOO_DEEP)
      if isinstance(event, yaml.AliasEvent):
        raise MarkupError(
          _line(event.start_mark),
          f'the alias *{event.anchor} is not allowed; write the value out',
        )
    loader = yaml.SafeLoader(text)
    try:
      root = loader.get_single_node()
      if root is None:
        raise MarkupError(1, 'the file is empty')
      return _from_yaml(loader, root)
    finally:
      loader.dispose()
  except yaml.MarkedYAMLError as error:
    mark = error.problem_mark or error.context_mark
    line = _line(mark)
    problem = error.problem or error.context or 'it cannot be read'
    raise MarkupError(line, f'this is not YAML: {problem}') from error
  except yaml.reader.ReaderError as error:
    line = text.count('\n', 0, error.position) + 1
    raise MarkupError(
      line, f'the character {error.character!r} is not allowed'
    ) from error


def _line(mark: Any) -> int:
  return mark.line + 1 if mark else 1


def _from_yaml(loader: yaml.SafeLoader, node: yaml.Node) -> Node:
  line = _line(node.start_mark)
  if isinstance(node, yaml.SequenceNode):
    items = [_from_yaml(loader, item) for item in node.value]
    return Node(line=line, value=items, kind='list')
  if isinstance(node, yaml.MappingNode):
    pairs = [
      (_from_yaml(loader, key), _from_yaml(loader, value))
      for key, value in node.value
    ]
    return _mapping(line, pairs)
  try:
    return Node(line=line, value=loader.construct_object(node))
  except ValueError as error:  # 2024-13-45 looks like a date but is none
    shown = shorten(node.value)
    raise MarkupError(line, f'{shown} cannot be read') from error


def _mapping(line: int, pairs: list[tuple[Node, Node]]) -> Node:
  seen = set()
  for key, _ in pairs:
    if not isinstance(key.value, str):
      raise MarkupError(key.line, f'a key must be a word, not {key.shown}')
    if key.value in seen:
      raise MarkupError(key.line, f'the key {key.value!r} stands twice')
    seen.add(key.value)
  return Node(line=line, value=pairs, kind='mapping')


def read_json(text: str) -> Node:
  """Read one JSON value.

  Raises:
    MarkupError: it is not JSON.
  """
  try:
    # The standard reader judges; ours then only has to find its way.
    json.loads(text)
    return _Json(text).read()
  except json.JSONDecodeError as error:
    raise MarkupError(error.lineno, f'this is not JSON: {error.msg}') from error
  except RecursionError as error:
    raise MarkupError(1, _TOO_DEEP) from error
  except MarkupError:
    raise
  except ValueError as error:  # an integer of thousands of digits
    raise MarkupError(1, f'a number cannot be read: {error}') from error


class _Json:
  """Walk through text that is known to be JSON."""

  _SPACE = re.compile(r'[ \t\r\n]*')
  _ATOM = re.compile(r'[^\s,\]}]+')
  _STRING = re.compile(r'"(?:[^"\\]|\\.)*"')

  def __init__(self, text: str):
    self._text = text
    self._at = 0
    self._line = 1

  def read(self) -> Node:
    self._skip()
    line = self._line
    start = self._text[self._at]
    if start == '"':
      return Node(line=line, value=json.loads(self._take(self._STRING)))
    if start == '[':
      items = [self.read() for _ in self._items(']')]
      return Node(line=line, value=items, kind='list')
    if start == '{':
      return _mapping(line, [self._pair() for _ in self._items('}')])
    return Node(line=line, value=json.loads(self._take(self._ATOM)))

  def _pair(self) -> tuple[Node, Node]:
    key = self.read()
    self._skip()
    self._at += 1  # the colon
    return key, self.read()

  def _items(self, end: str) -> Iterator[None]:
    """Stop before each item, and step over the end."""
    while True:
      self._at += 1  # the opening bracket, or a comma
      self._skip()
      if self._text[self._at] != end:
        yield
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
