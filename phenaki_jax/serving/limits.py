"""What a server accepts; everything else is refused before it is queued."""

import dataclasses

from pydantic import PositiveFloat, PositiveInt

from phenaki_jax.config import validated
from phenaki_jax.errors import UserError
from phenaki_jax.sampling.config import SamplingSettings
from phenaki_jax.stories.story import ModelDefaults, Story


class BusyError(Exception):
  """Report that a queue is full; the client may try again later."""


@validated
class Limits:
  """The limits of a server.

  Attributes:
    body_bytes: length of the body of a request.
    body_seconds: time in which a client has to send the body.
    prompt: characters of a prompt.
    scenes: of a story.
    frames: of a story.
    steps: decoding steps.
    work: decoding steps of all windows of a story together. Stories of the
      model's own steps are within it if they are within `frames`.
    programs: settings that are compiled at the request of clients; see
      `Programs`.
    queue: stories that wait, and requests of clips; more are refused with
      status 429.
    waiting_clips: clips that wait for the device; see `queue`.
    seconds: deadline of a story or of clips, from the request to the last
      frame.
    stories: finished stories that are stored; the oldest are deleted.
    scene_bytes: finished scenes on disk; beyond it, those that were made
      first are deleted, and made again if their story is changed.
    streams: clients that follow a story at the same time.
  """

  body_bytes: PositiveInt = 200_000
  body_seconds: PositiveFloat = 10.0
  prompt: PositiveInt = 400
  scenes: PositiveInt = 40
  frames: PositiveInt = 2400
  steps: PositiveInt = 64
  work: PositiveInt = 20_000
  programs: PositiveInt = 16
  queue: PositiveInt = 32
  waiting_clips: PositiveInt = 64
  seconds: PositiveFloat = 3600.0
  stories: PositiveInt = 1000
  scene_bytes: PositiveInt = 20_000_000_000
  streams: PositiveInt = 100


class Programs:
  """The kinds of sampling that clients have asked for.

  Steps, order, the schedules, and whether there are guidance and a negative
  text are compiled in, which takes time and memory that are never given back.
  """

  def __init__(self, most: int, own: SamplingSettings):
    """Set the number of kinds besides that of the model."""
    self._most, self._own = most, _kind(own)
    self._kinds: set[SamplingSettings] = set()

  def check(self, story: Story) -> None:
    """Raise a UserError if a resolved story needs too many other kinds."""
    if len(self._kinds | self._of(story)) > self._most:
      raise UserError(
        f'this server compiles at most {self._most} combinations of steps, '
        'order, guidance_schedule, guidance of 0 and negative besides its own; '
        f'leave them out, or use steps {self._own.steps}'
      )

  def add(self, story: Story) -> None:
    """Note what a story needs."""
    self._kinds |= self._of(story)

  def _of(self, story: Story) -> set[SamplingSettings]:
    kinds = {_kind(story.settings(scene)) for scene in story.scenes}
    return kinds - {self._own}


def _kind(settings: SamplingSettings) -> SamplingSettings:
  """Return settings without the values that are inputs of a program."""
  return dataclasses.replace(
    settings,
    guidance=float(settings.guidance > 0),
    negative='-' if settings.negative else '',
    temperature=1.0,
    choice_temperature=1.0,
  )


def check(story: Story, limits: Limits, defaults: ModelDefaults) -> None:
  """Raise a UserError unless a resolved story is within the limits.

  The size and the context frames must be those of the model: each other value
  would compile programs of its own.
  """
  if story.size != defaults.size:
    raise UserError(
      f'size is {list(story.size or ())}; this server makes frames of '
      f'{list(defaults.size)} (height, width): leave size out'
    )
  if story.context_frames != defaults.context_frames:
    raise UserError(
      f'context_frames is {story.context_frames}; this server uses '
      f'{defaults.context_frames}: leave context_frames out'
    )
  if story.context != 'frames':
    raise UserError(
      f'context is {story.context}; this server carries on frames: leave '
      'context out, or use `phenaki story`'
    )
  for number, scene in enumerate(story.scenes, 1):
    # A path would name a file of the server.
    if scene.start is not None:
      raise UserError(
        f'scene {number} has a start; this server continues no images and '
        'clips: use `phenaki story`'
      )
    if scene.context_frames != defaults.context_frames:
      raise UserError(
        f'scene {number}: context_frames is {scene.context_frames}; this '
        f'server uses {defaults.context_frames}: leave it out'
      )
    if (scene.candidates or 1) > 1:
      raise UserError(
        f'scene {number} has {scene.candidates} candidates; this server makes '
        'one: leave candidates out, and roll the scene again'
      )
  _at_most(len(story.scenes), limits.scenes, 'the story has', 'scenes')
  _at_most(story.num_frames, limits.frames, 'the story has', 'frames')
  new = defaults.clip_frames - defaults.context_frames
  # At most one window of each scene has fewer new frames.
  windows = -(-limits.frames // new) + limits.scenes
  most = max(limits.work, defaults.settings.steps * windows)
  work = 0
  for number, scene in enumerate(story.scenes, 1):
    where = f'scene {number}: '
    _at_most(
      len(scene.prompt), limits.prompt, f'{where}the prompt has', 'characters'
    )
    settings = story.settings(scene)
    _at_most(
      len(settings.negative),
      limits.prompt,
      f'{where}the negative text has',
      'characters',
    )
    steps = settings.steps
    _at_most(steps, limits.steps, f'{where}steps is', 'decoding steps')
    work += steps * -(-(scene.frames or 0) // new)
  _at_most(work, most, 'the story needs', 'decoding steps in all')


def _at_most(value: int, most: int, what: str, unit: str) -> None:
  if value > most:
    raise UserError(f'{what} {value}; this server allows at most {most} {unit}')
