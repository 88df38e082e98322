"""Read YAML and JSON with the line of every value.

The standard readers do not keep line numbers, which messages about a file
written by hand need. Both formats are read strictly and safely: no tags that
construct objects, no aliases (a short file could expand to gigabytes), no
duplicate keys, no keys without a value. Values that YAML
reads differently than a person does are rejected as well: octal and
sexagesimal numbers, and text followed by a comment that may belong to it.
"""

import json
import re
from typing import Any, TypeAlias

import yaml

from phenaki_jax.errors import UserError

Place: TypeAlias = tuple[str | int, ...]
"""The keys and list indices that lead to a value; () is the whole file."""

Lines: TypeAlias = dict[Place, tuple[int, int]]
"""The lines, from 1, where the key of each value and the value itself begin."""

# The time of the YAML reader grows with the square of the depth.
_MAX_DEPTH = 20
# YAML 1.1: 010 is 8, 0b11 is 3 and 1:30 is 90.
_SURPRISING_NUMBER = re.compile(r'[-+]?0[0-7_]+|[-+]?0b[01_]+|.*:.*')
_NUMBERS = ('tag:yaml.org,2002:int', 'tag:yaml.org,2002:float')
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
    UserError: the text is not valid YAML or not allowed; names the line.
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
      return _from_yaml(loader, text, root, (), lines), lines
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
  loader: yaml.SafeLoader,
  text: str,
  node: yaml.Node,
  place: Place,
  lines: Lines,
) -> Any:
  """Return the value of a node, and note the lines of the values in it."""
  line = _line(node.start_mark)
  if isinstance(node, yaml.SequenceNode):
    items = []
    for i, item in enumerate(node.value):
      lines[*place, i] = (_line(item.start_mark),) * 2
      items.append(_from_yaml(loader, text, item, (*place, i), lines))
    return items
  if isinstance(node, yaml.MappingNode):
    mapping: dict[str, Any] = {}
    for key_node, child in node.value:
      start = _line(key_node.start_mark)
      key = loader.construct_object(key_node, deep=True)
      if not isinstance(key, str):
        raise _error(start, f'a key must be a word, not {shorten(key)}')
      if key in mapping:
        raise _error(start, f'the key {key!r} appears twice')
      lines[*place, key] = (start, _line(child.start_mark))
      mapping[key] = _from_yaml(loader, text, child, (*place, key), lines)
    return mapping
  assert isinstance(node, yaml.ScalarNode)
  _check_plain(node, text)
  try:
    value = loader.construct_object(node)
    repr(value)  # Messages show it; thousands of digits cannot be shown.
  except ValueError as error:  # 2024-13-45 has the form of a date.
    raise _error(line, f'{shorten(node.value)} cannot be read') from error
  if value is None:
    raise _error(line, 'a value is missing; add it or remove its key')
  return value


def _check_plain(node: yaml.ScalarNode, text: str) -> None:
  """Reject a plain scalar that YAML reads differently than a person does."""
  if node.style is not None:
    return
  line = _line(node.start_mark)
  if node.tag in _NUMBERS and _SURPRISING_NUMBER.fullmatch(node.value):
    number = yaml.safe_load(node.value)
    raise _error(
      line, f'YAML reads {node.value} as {number}; write the number in decimals'
    )
  end = text.find('\n', node.end_mark.index)
  rest = text[node.end_mark.index : end if end >= 0 else None]
  if node.tag == 'tag:yaml.org,2002:str' and rest.lstrip().startswith('#'):
    raise _error(
      line,
      f'the text {shorten(node.value)} ends before {shorten(rest.strip())}, '
      'which YAML reads as a comment; put the text in quotation marks',
    )


def read_json(text: str) -> tuple[Any, Lines]:
  """Read one JSON value.

  Raises:
    UserError: the text is not valid JSON or not allowed; names the line.
  """
  try:
    values = json.loads(text)
  except json.JSONDecodeError as error:
    raise _error(error.lineno, f'this is not JSON: {error.msg}') from error
  except RecursionError as error:
    raise _error(1, _TOO_DEEP) from error
  except ValueError as error:  # An integer of thousands of digits.
    raise _error(1, f'a number cannot be read: {error}') from error
  # The values may differ in YAML (1e5 is text there), but their lines do not.
  # Tabs are white space in JSON only; strings hold them escaped.
  _, lines = read_yaml(text.replace('\t', ' '))
  return values, lines
