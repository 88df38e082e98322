"""Stories: values from the user, and defaults from the model.

A `Story` holds the scenes of a video. Values that are None are open:
`resolve` fills them in from the model, and the result describes every frame
of the video.
"""

import dataclasses
import functools
import unicodedata
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, TypeAlias, get_args

import pydantic
from pydantic import AfterValidator, Field, InstanceOf
from pydantic.dataclasses import dataclass
from pydantic.json_schema import SkipJsonSchema

from phenaki_jax import config
from phenaki_jax.errors import UserError
from phenaki_jax.sampling.config import (
  GuidanceSchedule,
  Order,
  SamplingSettings,
)
from phenaki_jax.stories.markup import shorten

MAX_SCENES = 1000
MAX_FRAMES = 100_000
MAX_PROMPT = 1000
MAX_SEED = 2**32 - 1
MIN_FPS = 0.01
MAX_STEPS = 1000
MAX_SIDE = 4096
MAX_CANDIDATES = 64
# Candidates are held in memory until the best one is known.
MAX_CANDIDATE_FRAMES = 2000

Choice = Literal['likelihood', 'critic', 'oracle']
Context = Literal['frames', 'tokens']

# The sampling settings that a scene can give.
SETTINGS = (
  *('guidance', 'guidance_schedule', 'negative', 'steps', 'order'),
  'temperature',
)

_STRICT = pydantic.ConfigDict(extra='forbid', allow_inf_nan=False)


def _number(
  low: int | float,
  high: int,
  *,
  default: int | None = None,
  kind: str = 'a number',
  above: bool = False,
) -> Any:
  """Declare a number from `low` to `high`, or one above `low`."""
  bounds = f'above {low}, at most {high}' if above else f'from {low} to {high}'
  return Field(
    default=default,
    strict=True,
    gt=low if above else None,
    ge=None if above else low,
    le=high,
    description=f'{kind} {bounds}',
  )


_whole = functools.partial(_number, kind='a whole number')


def _word(kind: Any) -> Any:
  """Declare one of the words of a `Literal`."""
  words = ', '.join(get_args(kind))
  return Field(default=None, description=f'one of {words}')


def _clean(text: str, name: str = 'prompt') -> str:
  """Normalise white space, and validate a prompt or another text."""
  text = ' '.join(text.split())
  if not text:
    raise UserError(f'{name} is empty; describe what happens in the scene')
  if len(text) > MAX_PROMPT:
    raise UserError(
      f'{name} has {len(text)} characters; it must have at most {MAX_PROMPT}'
    )
  for character in text:
    if unicodedata.category(character) in ('Cc', 'Cs'):
      raise UserError(
        f'{name} contains the control character {character!r}; remove it'
      )
  return text


_Negative: TypeAlias = Annotated[
  str,
  AfterValidator(functools.partial(_clean, name='negative')),
  Field(strict=True),
]
_Style: TypeAlias = Annotated[
  str,
  AfterValidator(functools.partial(_clean, name='style')),
  Field(strict=True),
]


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Scene:
  """One scene of a story; None leaves a value to the story or the model.

  Attributes:
    prompt: text of the scene, 1 to 1000 characters.
    frames: length in frames; give this or `seconds`, or neither for one clip
      of the model.
    seconds: length in seconds.
    cut: start afresh instead of continuing the previous scene.
    start: image or clip that the scene continues in place of the previous
      scene; its frames are not frames of the story.
    context_frames: replaces the story's context_frames in this scene.
    guidance: guidance scale, 0 for none.
    guidance_schedule: how the scale changes over the decoding steps.
    negative: text that the guidance moves away from.
    steps: decoding steps.
    order: which tokens are kept first.
    temperature: sampling temperature, 0 for the most likely tokens.
    seed: replaces the story's seed in this scene.
    candidates: number of candidates of the scene, of which the best is kept.
  """

  prompt: Annotated[str, AfterValidator(_clean)] = Field(
    strict=True, description='text in quotation marks'
  )
  frames: int | None = _whole(1, MAX_FRAMES)
  seconds: float | None = _number(0, MAX_FRAMES, above=True)
  cut: bool = Field(default=False, strict=True, description='true or false')
  start: str | None = Field(
    default=None,
    strict=True,
    min_length=1,
    description='the path of an image or clip',
  )
  context_frames: int | None = _whole(1, MAX_FRAMES)
  guidance: float | None = _number(0, 100)
  guidance_schedule: GuidanceSchedule | None = _word(GuidanceSchedule)
  negative: _Negative | None = Field(
    default=None, description='text in quotation marks'
  )
  steps: int | None = _whole(1, MAX_STEPS)
  order: Order | None = _word(Order)
  temperature: float | None = _number(0, 100)
  seed: int | None = _whole(0, MAX_SEED)
  candidates: int | None = _whole(1, MAX_CANDIDATES)

  def __post_init__(self) -> None:
    """Check that the length is given once."""
    if self.frames is not None and self.seconds is not None:
      raise UserError(
        f'a scene has both frames ({self.frames}) and seconds '
        f'({self.seconds:g}); give one of them'
      )


_Side = Annotated[int, Field(strict=True, ge=8, le=MAX_SIDE)]


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Story:
  """The scenes of one video; None leaves a value to the model.

  Attributes:
    scenes: 1 to 1000 scenes.
    size: height and width in pixels.
    fps: frames per second.
    seed: seed of every scene that has none of its own.
    context_frames: K, the number of last frames that the next window sees.
    context: what it sees of them: 'frames' are encoded again, as in the paper;
      'tokens' are carried on as they were sampled. Scenes then last whole
      latent frames.
    style: text that is added to the prompt of every scene, after a comma.
    candidates: number of candidates of scenes that give none.
    choose: what the best candidate of a scene has: 'likelihood' is the mean
      log-probability of its tokens, 'critic' what the model's critic takes for
      real, 'oracle' the facts of the prompts, in worlds that can be read.
    sampling: settings where a scene gives none. They come from the model;
      story files cannot hold them.
  """

  scenes: tuple[Scene, ...] = Field(
    min_length=1,
    max_length=MAX_SCENES,
    description=f'a list of 1 to {MAX_SCENES} scenes',
  )
  size: tuple[_Side, _Side] | None = Field(
    default=None,
    description=f'[height, width] in pixels, each from 8 to {MAX_SIDE}',
  )
  fps: float | None = _number(MIN_FPS, 240)
  seed: int = _whole(0, MAX_SEED, default=0)
  context_frames: int | None = _whole(1, MAX_FRAMES)
  context: Context = Field(
    default='frames', description=f'one of {", ".join(get_args(Context))}'
  )
  style: _Style | None = Field(
    default=None, description='text in quotation marks'
  )
  candidates: int | None = _whole(1, MAX_CANDIDATES)
  choose: Choice = Field(
    default='likelihood',
    description=f'one of {", ".join(get_args(Choice))}',
  )
  sampling: SkipJsonSchema[InstanceOf[SamplingSettings] | None] = Field(
    default=None, exclude=True
  )

  @property
  def num_frames(self) -> int:
    """Return the length of a resolved story in frames."""
    return sum(scene.frames or 0 for scene in self.scenes)

  def settings(self, scene: Scene) -> SamplingSettings:
    """Return the sampling settings of a scene of a resolved story."""
    assert self.sampling is not None, 'the story is not resolved'
    own = {k: v for k, v in _given(scene).items() if k in SETTINGS}
    return dataclasses.replace(self.sampling, **own)

  def prompts_until(self, number: int) -> list[str]:
    """Return the prompts of scene `number` and of those that it continues."""
    first = number
    while not self.scenes[first].cut:
      first -= 1
    return [scene.prompt for scene in self.scenes[first : number + 1]]


_ADAPTER = pydantic.TypeAdapter(Story)
_FIELDS: dict[str, Any] = {
  'story': Story.__pydantic_fields__,  # type: ignore[attr-defined]
  'scene': Scene.__pydantic_fields__,  # type: ignore[attr-defined]
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelDefaults:
  """The defaults of a model for values that a story leaves open.

  Attributes:
    size: height and width in pixels.
    fps: frames per second.
    context_frames: K, the context frames the model was trained with.
    clip_frames: length of a clip, in frames.
    tubelet: frames per latent frame, after the first.
    settings: sampling settings.
  """

  size: tuple[int, int]
  fps: float
  context_frames: int
  clip_frames: int
  tubelet: int
  settings: SamplingSettings = SamplingSettings()


def build(
  values: Any, locate: Callable[[Mapping[str, Any]], str] = lambda error: ''
) -> Story:
  """Build a story from plain values, such as those of a parsed file.

  Args:
    values: a mapping of the fields of a story.
    locate: returns the start of the message about a pydantic error: where
      the wrong value is.

  Raises:
    UserError: a value is missing, unknown or out of range.
  """
  try:
    return _ADAPTER.validate_python(values)
  except pydantic.ValidationError as error:
    first = config.first_fault(error)
    raise UserError(locate(first) + _explain(first)) from error


def _explain(error: Mapping[str, Any]) -> str:
  """Describe a validation error of a story in one sentence."""
  where, kind, value = error['loc'], error['type'], shorten(error['input'])
  if kind == 'value_error':
    return str(error['ctx']['error'])
  what = 'scene' if where[:1] == ('scenes',) and len(where) > 1 else 'story'
  keys = sorted(k for k, f in _FIELDS[what].items() if not f.exclude)
  if kind == 'dataclass_type':
    return f'a {what} must be a group of keys ({", ".join(keys)}), not {value}'
  name = next(str(part) for part in reversed(where) if isinstance(part, str))
  if name not in keys:
    return config.unknown_key(f'{what} key', shorten(name), keys)
  if kind == 'missing' and where[-1] == name:
    return f'the {what} has no {name}; add "{name}:"'
  return f'{name} must be {_FIELDS[what][name].description}, not {value}'


def with_options(
  story: Story,
  *,
  seed: int | None = None,
  frames: int | None = None,
  style: str | None = None,
  candidates: int | None = None,
  choose: str | None = None,
  context: str | None = None,
  fps: float | int | None = None,
  **settings: Any,
) -> Story:
  """Apply options to a story; options that are None change nothing.

  Args:
    story: the story.
    seed: replaces the story's seed.
    frames: length of scenes that give none.
    style: replaces the story's style.
    candidates: number of candidates of scenes that give none.
    choose, context, fps: replace those of the story.
    **settings: those of `SETTINGS`, for scenes that give none.

  Raises:
    UserError: a value is out of range.
  """
  scenes = []
  for scene in story.scenes:
    values = {**settings, **_given(scene)}
    if scene.seconds is None:
      values.setdefault('frames', frames)
    scenes.append(values)
  given = {
    'seed': seed,
    'style': style,
    'candidates': candidates,
    'choose': choose,
    'context': context,
    'fps': fps,
  }
  own = {name: value for name, value in given.items() if value is not None}
  return build({**vars(story), **own, 'scenes': scenes})


def resolve(story: Story, defaults: ModelDefaults) -> Story:
  """Fill in every open value, and check that the model can make the story.

  Scenes keep their own settings; `Story.settings` combines them with the
  model's.

  Raises:
    UserError: K is not 1 + k * tubelet below the clip's length, a scene is
      shorter than a frame, a prompt is too long with the style, or the story
      or a scene with candidates is too long.
  """
  fps = story.fps or defaults.fps
  context_frames = story.context_frames or defaults.context_frames
  _check_context(context_frames, defaults)
  scenes = []
  for number, scene in enumerate(story.scenes, 1):
    frames = scene.frames or defaults.clip_frames
    if scene.seconds is not None:
      frames = round(scene.seconds * fps)
    if frames < 1:
      raise UserError(
        f'scene {number} lasts {scene.seconds} seconds, which is less than '
        f'a frame at {fps:g} frames per second; it must last at least '
        f'{1 / fps:.3g} seconds'
      )
    if scene.context_frames is not None:
      _check_context(scene.context_frames, defaults)
    candidates = scene.candidates or story.candidates or 1
    if candidates > 1 and frames > MAX_CANDIDATE_FRAMES:
      raise UserError(
        f'scene {number} has {candidates} candidates of {frames} frames; a '
        f'scene with candidates has at most {MAX_CANDIDATE_FRAMES} frames: '
        'divide it, or set candidates: 1'
      )
    if story.context == 'tokens':
      is_first = scene.cut or number == 1
      is_single = is_first and scene.start is None
      frames = _whole_latent(
        number, frames, scene, int(is_single), defaults.tubelet
      )
    styled = f'{scene.prompt}, {story.style}' if story.style else scene.prompt
    values = {
      'prompt': styled,
      'frames': frames,
      'seconds': None,
      'cut': scene.cut or number == 1 or scene.start is not None,
      'context_frames': scene.context_frames or context_frames,
      'seed': story.seed if scene.seed is None else scene.seed,
      'candidates': candidates,
    }
    scenes.append({**vars(scene), **values})
  resolved = build(
    {
      'scenes': scenes,
      'size': story.size or defaults.size,
      'fps': fps,
      'seed': story.seed,
      'context_frames': context_frames,
      'context': story.context,
      'choose': story.choose,
      'sampling': story.sampling or defaults.settings,
    }
  )
  if resolved.num_frames > MAX_FRAMES:
    raise UserError(
      f'the story has {resolved.num_frames} frames; it must have at most '
      f'{MAX_FRAMES}'
    )
  return resolved


def _whole_latent(
  number: int, frames: int, scene: Scene, single: int, tubelet: int
) -> int:
  """Return a length of whole latent frames, of which `single` have one frame.

  A length that the story gives in frames must be one.
  """
  whole = max(1 - single, round((frames - single) / tubelet))
  fitting = single + whole * tubelet
  if scene.frames is not None and fitting != frames:
    raise UserError(
      f'scene {number} has {frames} frames; with context: tokens it has '
      f'{single} + k * {tubelet}: use {fitting}'
    )
  return fitting


def _check_context(frames: int, defaults: ModelDefaults) -> None:
  clip, tubelet = defaults.clip_frames, defaults.tubelet
  allowed = range(1, clip, tubelet)
  if not allowed:
    raise UserError(
      f'the model makes clips of {clip} frame, which cannot continue other '
      'frames; use a model that was trained on longer clips'
    )
  if frames not in allowed:
    nearest = min(allowed, key=lambda k: (abs(k - frames), -k))
    raise UserError(
      f'context_frames is {frames}; it must be 1 + k * {tubelet} and below '
      f"the model's clip length of {clip}: use {nearest}. (For a scene that "
      'sees nothing of the previous one, set cut: true.)'
    )


def _given(scene: Scene) -> dict[str, Any]:
  return {k: v for k, v in vars(scene).items() if v is not None}
