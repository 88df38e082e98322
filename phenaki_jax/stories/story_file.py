"""Stories as people write them: a YAML or JSON file of scenes.

    size: [64, 64]          # height, width in pixels
    fps: 8
    seed: 7
    context_frames: 5       # how much of the last scene the next one sees
    scenes:
      - {prompt: "a red circle moves right on grass", frames: 17}
      - {prompt: "the red circle turns blue", frames: 12, guidance: 6.0}
      - {prompt: "it falls", seconds: 2.0, cut: false}

Only `scenes` and their prompts are needed; the model says the rest. Nothing
of a file is trusted: what is unknown, mistyped or too much is refused with
the line where it stands.
"""

import dataclasses
import difflib
import pathlib
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any

from phenaki_jax.errors import NotFoundError, UserError
from phenaki_jax.stories import markup

MAX_SCENES = 1000
MAX_FRAMES = 100_000
MAX_PROMPT = 1000
MAX_SEED = 2**32 - 1
MAX_STEPS = 1000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scene:
  """Hold one scene as written; None leaves it to the model.

  Attributes:
    prompt: what happens, 1 to 1000 characters.
    frames: length; give this or `seconds`, or neither for one whole clip.
    seconds: length in seconds.
    cut: start afresh instead of continuing the scene before.
    guidance: strength of the prompt, 0 for none.
    steps: decoding steps.
    temperature: softness of each draw, 0 for the likeliest.
    seed: of this scene alone, in place of the story's.
  """

  prompt: str
  frames: int | None = None
  seconds: float | int | None = None
  cut: bool = False
  guidance: float | int | None = None
  steps: int | None = None
  temperature: float | int | None = None
  seed: int | None = None

  def __post_init__(self) -> None:
    """Check every value; raise a UserError that says what is allowed."""
    for field in dataclasses.fields(self):
      value = getattr(self, field.name)
      if value is not None or field.name == 'prompt':
        checked = _SCENE[field.name](field.name, value)
        object.__setattr__(self, field.name, checked)
    if self.frames is not None and self.seconds is not None:
      raise UserError(
        f'a scene has both frames ({self.frames}) and seconds '
        f'({self.seconds}); give one of them'
      )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Story:
  """Hold a story as written; None leaves it to the model.

  Attributes:
    scenes: at least one, at most 1000.
    size: height and width in pixels.
    fps: frames per second.
    seed: of every scene that has none of its own.
    context_frames: how many of the last frames the next scene sees.
  """

  scenes: tuple[Scene, ...]
  size: tuple[int, int] | None = None
  fps: float | int | None = None
  seed: int = 0
  context_frames: int | None = None

  def __post_init__(self) -> None:
    """Check every value; raise a UserError that says what is allowed."""
    for name, check in _STORY.items():
      value = getattr(self, name)
      if value is not None:
        object.__setattr__(self, name, check(name, value))
    if not 1 <= len(self.scenes) <= MAX_SCENES:
      raise UserError(
        f'the story has {len(self.scenes)} scenes; give 1 to {MAX_SCENES}'
      )


def read_story(path: str | pathlib.Path) -> Story:
  """Read a story file: JSON if its name ends in .json, YAML otherwise.

  Raises:
    FileNotFoundError: there is no such file.
    UserError: names the file, the line, and what is allowed there.
  """
  path = pathlib.Path(path)
  if not path.is_file():
    raise NotFoundError(
      f'there is no story file {path}; name a YAML or JSON file, or give the '
      'scenes as --prompt "..." --prompt "..."'
    )
  if path.stat().st_size > markup.MAX_BYTES:
    raise UserError(
      f'{path} has {path.stat().st_size} bytes; a story file has at most '
      f'{markup.MAX_BYTES}'
    )
  try:
    text = path.read_bytes().decode('utf-8-sig')
  except UnicodeDecodeError as error:
    line = error.object.count(b'\n', 0, error.start) + 1
    raise UserError(f'{path}, line {line}: this is not UTF-8 text') from error
  try:
    return parse_story(text, is_json=path.suffix.lower() == '.json')
  except markup.MarkupError as error:
    raise UserError(f'{path}, line {error.line}: {error.problem}') from error


def parse_story(text: str, *, is_json: bool = False) -> Story:
  """Read the text of a story file.

  Raises:
    UserError: a `MarkupError` with the line and what is allowed there.
  """
  root = markup.read_json(text) if is_json else markup.read_yaml(text)
  nodes = _group(root, {*_STORY, 'scenes'}, 'the story')
  values = {
    name: _value(node, name, _STORY[name])
    for name, node in nodes.items()
    if name != 'scenes'
  }
  if 'scenes' not in nodes:
    raise markup.MarkupError(
      root.line, 'the story has no scenes; add "scenes:" with a list of them'
    )
  listed = nodes['scenes']
  if listed.kind != 'list' or not 1 <= len(listed.value) <= MAX_SCENES:
    raise markup.MarkupError(
      listed.line,
      f'scenes must be a list of 1 to {MAX_SCENES} scenes, not {listed.shown}',
    )
  scenes = tuple(_scene(node) for node in listed.value)
  return Story(scenes=scenes, **values)


def _scene(node: markup.Node) -> Scene:
  nodes = _group(node, set(_SCENE), 'a scene')
  if 'prompt' not in nodes:
    raise markup.MarkupError(
      node.line, 'the scene has no prompt; add "prompt:" and what happens'
    )
  values = {
    name: _value(child, name, _SCENE[name]) for name, child in nodes.items()
  }
  try:
    return Scene(**values)
  except ValueError as error:
    raise markup.MarkupError(node.line, str(error)) from error


def _group(
  node: markup.Node, allowed: set[str], what: str
) -> dict[str, markup.Node]:
  """Return the values of a mapping by key; every key must be allowed."""
  if node.kind != 'mapping':
    raise markup.MarkupError(
      node.line,
      f'{what} must be a group of keys ({", ".join(sorted(allowed))}), not '
      f'{node.shown}',
    )
  for key, _ in node.value:
    if key.value not in allowed:
      near = difflib.get_close_matches(key.value, sorted(allowed), n=1)
      hint = f' Did you mean {near[0]}?' if near else ''
      raise markup.MarkupError(
        key.line,
        f'{what} has no key {key.shown}.{hint} Allowed: '
        f'{", ".join(sorted(allowed))}',
      )
  return {key.value: value for key, value in node.value}


def _value(node: markup.Node, name: str, check: Callable) -> Any:
  value = node.value
  if node.kind == 'list':
    value = [
      child.value if child.kind == 'scalar' else child.shown for child in value
    ]
  try:
    if node.kind == 'mapping':
      raise UserError(f'{name} must be one value, not a group of keys')
    return check(name, value)
  except ValueError as error:
    raise markup.MarkupError(node.line, str(error)) from error


def _whole(low: int, high: int) -> Callable[[str, Any], int]:
  def check(name: str, value: Any) -> int:
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if not is_whole or not low <= value <= high:
      raise UserError(
        f'{name} must be a whole number from {low} to {high}, not '
        f'{markup.shorten(value)}'
      )
    return value

  return check


def _number(
  low: float | int, high: float | int, *, open_low: bool = False
) -> Callable[[str, Any], float]:
  def check(name: str, value: Any) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    # Comparisons with nan are false, so it is refused here too.
    if not is_number or not low <= value <= high or (open_low and value == low):
      bounds = (
        f'above {low}, at most {high}'
        if open_low
        else (f'from {low} to {high}')
      )
      raise UserError(
        f'{name} must be a number {bounds}, not {markup.shorten(value)}'
      )
    return float(value)

  return check


def _switch(name: str, value: Any) -> bool:
  if not isinstance(value, bool):
    raise UserError(
      f'{name} must be true or false, not {markup.shorten(value)}'
    )
  return value


def _size(name: str, value: Any) -> tuple[int, int]:
  if not isinstance(value, list | tuple) or len(value) != 2:
    raise UserError(
      f'{name} must be [height, width] in pixels, not {markup.shorten(value)}'
    )
  side = _whole(8, 4096)
  return side(f'the height in {name}', value[0]), side(
    f'the width in {name}', value[1]
  )


def _prompt(name: str, value: Any) -> str:
  if not isinstance(value, str):
    raise UserError(
      f'{name} must be text, not {markup.shorten(value)}; put it in '
      'quotation marks'
    )
  text = ' '.join(value.split())
  if not text:
    raise UserError(f'{name} is empty; say what happens in the scene')
  if len(text) > MAX_PROMPT:
    raise UserError(
      f'{name} has {len(text)} characters; give at most {MAX_PROMPT}'
    )
  for character in text:
    if unicodedata.category(character) in ('Cc', 'Cs'):
      raise UserError(
        f'{name} holds the control character {character!r}; leave it out'
      )
  return text


_STORY: Mapping[str, Callable[[str, Any], Any]] = {
  'size': _size,
  'fps': _number(0, 240, open_low=True),
  'seed': _whole(0, MAX_SEED),
  'context_frames': _whole(1, MAX_FRAMES),
}
_SCENE: Mapping[str, Callable[[str, Any], Any]] = {
  'prompt': _prompt,
  'frames': _whole(1, MAX_FRAMES),
  'seconds': _number(0, MAX_FRAMES, open_low=True),
  'cut': _switch,
  'guidance': _number(0, 100),
  'steps': _whole(1, MAX_STEPS),
  'temperature': _number(0, 100),
  'seed': _whole(0, MAX_SEED),
}
