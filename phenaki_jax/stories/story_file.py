"""Read story files: YAML or JSON, every error with its line.

    size: [64, 64]          # height, width in pixels
    fps: 8
    seed: 7
    context_frames: 5       # frames of the previous scene that the next sees
    scenes:
      - {prompt: "a red circle moves right on grass", frames: 17}
      - {prompt: "the red circle turns blue", frames: 12, guidance: 6.0}
      - {prompt: "it falls", seconds: 2.0, cut: false}

Only `scenes` and their prompts are required; `Scene` and `Story` describe the
keys, and so does `story.schema.json`, which editors check story files by. The
path of a `start` is relative to the folder of the file.
"""

import dataclasses
import importlib.resources
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import pydantic

from phenaki_jax.errors import NotFoundError, UserError
from phenaki_jax.files.paths import local_path
from phenaki_jax.stories import markup
from phenaki_jax.stories.story import Story, build

MAX_BYTES = 1_000_000
SCHEMA_FILE = 'story.schema.json'


def read_story(path: str | os.PathLike[str]) -> Story:
  """Read a story file: JSON if its name ends in .json, YAML otherwise.

  Raises:
    NotFoundError: there is no such file.
    UserError: names the file, the line and what is allowed there; or the file
      or a `start` is remote.
  """
  path = local_path(path, 'the story file')
  if not path.is_file():
    raise NotFoundError(
      f'there is no story file {path}; name a YAML or JSON file, or give a '
      'list of prompts (--prompt "..." --prompt "..." on the command line)'
    )
  if path.stat().st_size > MAX_BYTES:
    raise UserError(
      f'{path} has {path.stat().st_size} bytes; a story file has at most '
      f'{MAX_BYTES}'
    )
  try:
    text = path.read_bytes().decode('utf-8-sig')
    story = parse_story(text, is_json=path.suffix.lower() == '.json')
  except UnicodeDecodeError as error:
    line = error.object.count(b'\n', 0, error.start) + 1
    raise UserError(f'{path}, line {line}: this is not UTF-8 text') from error
  except UserError as error:
    raise UserError(f'{path}, {error}') from error
  scenes = tuple(
    dataclasses.replace(
      scene, start=str(path.parent / local_path(scene.start, f'{path}: start'))
    )
    if scene.start
    else scene
    for scene in story.scenes
  )
  return dataclasses.replace(story, scenes=scenes)


def make_schema() -> str:
  """Return the JSON Schema of story files, made from `Story`, as text."""
  schema = _without_null(pydantic.TypeAdapter(Story).json_schema())
  head = {'$schema': 'https://json-schema.org/draft/2020-12/schema'}
  return json.dumps({**head, **schema}, indent=2) + '\n'


def _without_null(schema: Any) -> Any:
  """Leave out null, which the reader refuses: a key is left out instead."""
  if isinstance(schema, list):
    return [_without_null(part) for part in schema]
  if not isinstance(schema, dict):
    return schema
  kept = {k: v for k, v in schema.items() if (k, v) != ('default', None)}
  options = kept.pop('anyOf', [])
  for option in options:
    kept |= {k: v for k, v in option.items() if v != 'null' and k not in kept}
  return {name: _without_null(part) for name, part in kept.items()}


def read_schema() -> str:
  """Return the JSON Schema of story files that ships with the package."""
  folder = importlib.resources.files('phenaki_jax.stories')
  return (folder / SCHEMA_FILE).read_text('utf-8')


def parse_story(text: str, *, is_json: bool = False) -> Story:
  """Parse the text of a story file.

  Raises:
    UserError: names the line and what is allowed there.
  """
  read = markup.read_json if is_json else markup.read_yaml
  values, lines = read(text)

  def locate(error: Mapping[str, Any]) -> str:
    where = error['loc']
    # A missing value has no line; its scene or the story has one.
    while where not in lines:
      where = where[:-1]
    key_line, line = lines[where]
    is_unknown = error['type'] == 'unexpected_keyword_argument'
    return f'line {key_line if is_unknown else line}: '

  return build(values, locate)


def as_story(
  source: Story | Sequence[str] | str | os.PathLike[str],
) -> Story:
  """Return a story: as it is, of the prompts in a list, or read from a file.

  Raises:
    NotFoundError: there is no such file.
    UserError: a prompt or a value of the file is wrong.
  """
  if isinstance(source, Story):
    return source
  if isinstance(source, str | os.PathLike):
    return read_story(source)
  return build({'scenes': [{'prompt': prompt} for prompt in source]})
