"""What an evaluation is asked to measure."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

from phenaki_jax.errors import UserError
from phenaki_jax.sampling.config import SamplingSettings
from phenaki_jax.storyworld import subset_named
from phenaki_jax.types import Split

StoryTask = Literal['', 'continuation', 'visualisation']
_COUNTS = ('prompts', 'stories', 'returns', 'changes', 'seed')
_POSITIVE = ('scenes', 'image_only_prompts', 'batch_size')
# What has no meaning for the stories of a set.
_NOT_OF_STORIES = (
  *('prompts', 'scenes', 'returns', 'changes', 'image_only', 'frechet'),
  *('manifest', 'image_only_prompts'),
  *('reconstructions', 'world', 'subset', 'split'),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
  """What to evaluate.

  Attributes:
    prompts: number of clips of single prompts; 0 for none.
    split: combinations of facts in these prompts: 'heldout', 'train' or 'all'.
    stories: number of stories; 0 for none.
    scenes: number of scenes in each story.
    returns: number of stories in which somebody leaves and comes back.
    changes: number of pairs of scenes for each fact that can change; 0 for
      none.
    image_only: whether to make clips of concepts that only images show.
    image_only_prompts: number of clips of each such concept.
    frechet: whether to compare the clips of single prompts with as many
      held-out ones by the features of a trained network.
    story_set: HDF5 file of stories; those of its test split are generated in
      place of all else, and compared with their pictures (story FID, and the
      characters that `reader`, the run of a reader of characters, finds).
    task: 'continuation' of the first picture of each story of a set, which is
      given and not measured, or 'visualisation' of all its scenes; empty:
      continuation for a model that reads a source frame, else visualisation.
    features: networks that compare the clips of single prompts with as many
      held-out ones (FID, KID, FVD), and reconstructions with the originals
      (LPIPS); see `networks.open_features`.
    reconstructions: number of held-out clips to reconstruct; 0 for none.
      None is 32, or 0 if the training data is not here.
    manifest: folder of the manifest of held-out clips; empty for the training
      data.
    world: one of `worlds.NAMES`; empty for that of the training data.
    subset: part of StoryWorld; empty for the one the model was trained on.
    reader: reader of the sprite world, or of the characters of a story set;
      empty for the one that ships with the package, or for none.
    settings: sampling settings that replace the defaults of the model.
    seed: of prompts and samples.
    batch_size: clips sampled at once; it changes no number.
  """

  prompts: int = 200
  split: Split = 'heldout'
  stories: int = 20
  scenes: int = 8
  returns: int = 0
  changes: int = 20
  image_only: bool = False
  image_only_prompts: int = 20
  frechet: bool = False
  features: tuple[str, ...] = ()
  reconstructions: int | None = None
  manifest: str = ''
  world: str = ''
  story_set: str = ''
  task: StoryTask = ''
  subset: str = ''
  reader: str = ''
  settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  seed: int = 0
  batch_size: int = 16

  def __post_init__(self) -> None:
    """Validate the counts and the subset."""
    for name in (*_COUNTS, *_POSITIVE):
      least, value = int(name in _POSITIVE), getattr(self, name)
      if value < least:
        raise UserError(f'{name} is {value}; it must be at least {least}')
    if self.subset:
      subset_named(self.subset)  # Checks the name.
    if self.frechet and not self.prompts:
      raise UserError(
        'frechet compares the clips of single prompts, but prompts is 0; set '
        'prompts, such as 200'
      )
    if self.story_set:
      self._check_story_set()
      return
    if self.task:
      raise UserError(
        f'--task is {self.task}, which is one of --story-set; name a set of '
        'stories, or leave --task out'
      )
    if self.features and not self.prompts and self.reconstructions == 0:
      raise UserError(
        'features compare the clips of single prompts and reconstructions, but '
        'prompts and reconstructions are 0; set one of them'
      )
    wanted = self.reconstructions
    if wanted is not None and wanted < 0:
      raise UserError(f'reconstructions is {wanted}; it must be at least 0')
    if not (self.tells_stories or wanted):
      raise UserError(
        'there is nothing to evaluate; set prompts, stories, returns, '
        'changes, image_only or reconstructions'
      )

  @property
  def tells_stories(self) -> bool:
    """Return whether anything is generated from text."""
    asked = self.prompts or self.stories or self.returns or self.changes
    return bool(asked or self.image_only)

  def sampling(self, defaults: SamplingSettings) -> SamplingSettings:
    """Return sampling settings with those of the request."""
    return dataclasses.replace(defaults, **self.settings)

  def _check_story_set(self) -> None:
    if not (self.stories and (self.features or self.reader)):
      raise UserError(
        f'--story-set is {self.story_set}, --stories {self.stories}; give the '
        'number of stories, and --features NAME, networks of single frames, or '
        '--reader RUN, a reader of characters'
      )
    unread = [
      f'--{name.replace("_", "-")}'
      for name in _NOT_OF_STORIES
      if getattr(self, name) != type(self).__dataclass_fields__[name].default
    ]
    if unread:
      raise UserError(
        f'--story-set measures stories alone, and takes no '
        f'{", ".join(unread)}; leave them out'
      )
