"""How the training examples of a generator are made and weighed."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from phenaki_jax.config import Share, validated
from phenaki_jax.diffusion.config import DiffusionConfig
from phenaki_jax.errors import UserError
from phenaki_jax.masked_transformer.config import GeneratorConfig, Schedule
from phenaki_jax.masked_transformer.structure import MAX_LEVEL

GENERATOR_SETTINGS = (
  *('time_off_images', 'reencoded_context', 'context_noise'),
  *('midway_frames', 'midway_share', 'schedule', 'balance'),
  'critic_weight',
)
"""The settings that the diffusion of pixels or latents does not read."""


Level = Annotated[int, Field(ge=0, le=MAX_LEVEL)]


@validated
class GeneratorTaskConfig:
  """How the generator's training examples are made.

  Attributes:
    text_dropout: share of the captions replaced by the empty caption, for
      guidance (paper: 0.1).
    prediction_share: share of the clips without context frames for which a
      prefix is known instead (see `masked_transformer.tasks`).
    prediction_frames: frames of that prefix, 1 + k * tubelet (paper: 5).
    interpolation_share: share for which the first and the last latent frame
      are known.
    inpainting_share: share for which all but a box is known.
    outpainting_share: share for which a box is known.
    canvas_animation_share: share whose first frame is known, on the canvas of
      the generator (see `masked_transformer.canvas_tasks`).
    canvas_continuation_share: share of which a prefix of any length is known
      there.
    canvas_interpolation_share: share of which every m-th frame is known there,
      with a drawn m.
    canvas_region_share: share of which all but a box is known there.
    canvas_enlarged_share: share that is known there in low resolution, 1/2 or
      1/4, whose level the generator reads as a scalar.
    strides: every how many frames a clip without context frames is read, drawn
      at random. A generator with the scalar 'fps' reads the frame rate.
    source_share: share of the clips that see one of their own frames in the
      memory, in the role 'source'.
    content_share: share that see one there in the role 'content', which tells
      what is in it and not where.
    structure_share: share of the clips whose depth is shown on the canvas,
      blurred to a level that the generator reads as a scalar (Gen-1).
    structure_levels: the highest level; each one up to it is as likely (Gen-1:
      7, and 0 at first).
    depth_weights: file of the weights of DPT, which estimates the depth of
      clips in the step; empty for StoryWorld, whose depth is known.
    history_share: share of the clips that see the scenes before theirs in the
      memory, in the role 'history': first frames and captions, of clips that
      have earlier scenes. Below 1, guidance learns scenes without them, too.
    character_share: share that see first frames of these scenes there, without
      captions, in the role 'character'.
    time_off_clips: share of the clips for which the layers over time are off,
      for temporal guidance (Gen-1: 0.125).
    time_off_images: share of the images for which they are off.
    reencoded_context: share of the clips with context frames whose context
      has the tokens that the sampler sees: those of the context frames after
      the tokenizer encoded and decoded them.
    context_noise: largest share of the context tokens of a clip that are
      replaced by other ids in training (see `training.context_noise`); every
      clip draws its own share.
    midway_frames: frames by which the clips of the data are longer than those
      of the generator, a multiple of the tubelet. A window is cut out of the
      tokens of each (see `training.midway`).
    midway_share: share of the clips whose window starts in the middle, for
      stories that carry on tokens.
    schedule: distribution of the share of hidden tokens.
    balance: what has equal weight in the loss. 'tokens': every hidden token, as
      in the paper; an image has few of them, so that at the paper's sizes 20%
      of images are 4% of the loss. 'examples': every clip and image.
    critic_weight: weight of the critic's loss, for a generator with a critic.
    trained: 'all', or only what a run adds to the model of `start_from`: the
      'critic' (of a generator), the embeddings of new 'words', or the 'prompt'.
  """

  text_dropout: Share = 0.1
  prediction_share: Share = 0.1
  prediction_frames: PositiveInt = 5
  interpolation_share: Share = 0.0
  inpainting_share: Share = 0.0
  outpainting_share: Share = 0.0
  canvas_animation_share: Share = 0.0
  canvas_continuation_share: Share = 0.0
  canvas_interpolation_share: Share = 0.0
  canvas_region_share: Share = 0.0
  canvas_enlarged_share: Share = 0.0
  strides: tuple[PositiveInt, ...] = (1,)
  source_share: Share = 0.0
  content_share: Share = 0.0
  structure_share: Share = 0.0
  structure_levels: Level = 7
  depth_weights: str = ''
  history_share: Share = 0.0
  character_share: Share = 0.0
  time_off_clips: Share = 0.0
  time_off_images: Share = 0.0
  reencoded_context: Share = 0.0
  context_noise: Share = 0.0
  midway_frames: NonNegativeInt = 0
  midway_share: Share = 0.0
  schedule: Schedule = 'cosine'
  balance: Literal['tokens', 'examples'] = 'tokens'
  critic_weight: NonNegativeFloat = 1.0
  trained: Literal['all', 'critic', 'words', 'prompt'] = 'all'

  def __post_init__(self) -> None:
    """Check that the shares of the tasks leave none below zero."""
    shares = {
      **{f'canvas_{name}': x for name, x in self.canvas_shares.items()},
      **self.task_shares,
    }
    total = sum(shares.values())
    if total > 1 + 1e-6:
      raise UserError(
        f'the shares of the tasks ({", ".join(shares)}) add up to '
        f'{total:g}; they must be at most 1, and the rest is generation'
      )
    if bool(self.midway_frames) != bool(self.midway_share):
      raise UserError(
        f'task.midway_frames is {self.midway_frames} and task.midway_share is '
        f'{self.midway_share:g}; set both, or none'
      )
    if not self.strides:
      raise UserError('task.strides is empty; give (1,) for all frames')

  @property
  def task_shares(self) -> dict[str, float]:
    """Return the share of the clips of each task but generation."""
    names = ('prediction', 'interpolation', 'inpainting', 'outpainting')
    return {name: getattr(self, f'{name}_share') for name in names}

  @property
  def canvas_shares(self) -> dict[str, float]:
    """Return the share of the clips of each task of the canvas."""
    names = ('animation', 'continuation', 'interpolation', 'region', 'enlarged')
    return {name: getattr(self, f'canvas_{name}_share') for name in names}

  @property
  def uses_canvas(self) -> bool:
    """Return whether some clips have a canvas."""
    return any(self.canvas_shares.values()) or self.structure_share > 0

  @property
  def frame_shares(self) -> dict[str, float]:
    """Return the shares that see an own frame in the memory, by role."""
    shares = {'source': self.source_share, 'content': self.content_share}
    return {role: share for role, share in shares.items() if share}

  @property
  def scene_shares(self) -> dict[str, float]:
    """Return the shares that see earlier scenes in the memory, by role."""
    shares = {'history': self.history_share, 'character': self.character_share}
    return {role: share for role, share in shares.items() if share}

  @property
  def memory_shares(self) -> dict[str, float]:
    """Return the shares that see something in the memory, by role."""
    return {**self.frame_shares, **self.scene_shares}

  @property
  def pixel_settings(self) -> list[str]:
    """Return the names of the settings that need the pixels of clips."""
    shares = {
      **{f'canvas_{name}_share': x for name, x in self.canvas_shares.items()},
      'structure_share': self.structure_share,
      **{f'{role}_share': x for role, x in self.frame_shares.items()},
      'strides': self.strides != (1,),
    }
    return [name for name, value in shares.items() if value]

  def check(
    self, network: GeneratorConfig | DiffusionConfig, *, is_cached: bool
  ) -> None:
    """Check that a network can read what its examples tell.

    Args:
      network: its settings.
      is_cached: whether the clips are read from a cache of tokens.

    Raises:
      UserError: it has no port for that, or there are no pixels.
    """
    ports, is_diffusion = network.ports, isinstance(network, DiffusionConfig)
    name = 'diffusion' if is_diffusion else 'generator'
    if is_cached and (names := self.pixel_settings):
      raise UserError(
        f'task.{names[0]} is {getattr(self, names[0])}, which takes the pixels '
        'of clips, but data.token_cache holds their tokens alone; leave '
        'data.token_cache empty'
      )
    if self.uses_canvas and self.midway_frames:
      raise UserError(
        'task.midway_frames cuts windows out of tokens, but a canvas needs '
        'their pixels; leave one of them out'
      )
    if self.uses_canvas and not ports.canvas:
      raise UserError(
        f'task.{self.pixel_settings[0]} needs a canvas; set '
        f'{name}.ports.canvas=True'
      )
    if self.canvas_enlarged_share:
      what = 'a canvas of low resolution from an exact one'
      _check_level(network, name, 'canvas_enlarged_share', what)
    if self.depth_weights and not self.structure_share:
      raise UserError(
        f'task.depth_weights is {self.depth_weights}, but no clip shows its '
        'depth; set task.structure_share above 0, or leave it out'
      )
    if self.structure_share and self.structure_levels:
      what = 'how far depth is blurred'
      _check_level(network, name, 'structure_share', what)
    for role in self.memory_shares:
      if role not in ports.memory:
        raise UserError(
          f'task.{role}_share needs the role {role!r}; add it to '
          f'{name}.ports.memory'
        )
    is_off = self.time_off_clips or self.time_off_images
    if is_off and not is_diffusion and network.attention != 'factorized':
      raise UserError(
        'task.time_off_clips and task.time_off_images need layers over time; '
        'set generator.attention=factorized'
      )


def _check_level(
  network: GeneratorConfig | DiffusionConfig,
  name: str,
  setting: str,
  what: str,
) -> None:
  """Raise a UserError for a network without the scalar 'level'."""
  if 'level' not in network.ports.scalars:
    raise UserError(
      f"task.{setting} needs the scalar 'level', which tells {what}; add it to "
      f'{name}.ports.scalars'
    )
