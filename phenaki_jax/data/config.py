"""Configuration of the data: sources, sizes and the mixture of a batch."""

import dataclasses
import math
from typing import Literal

from phenaki_jax.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class SourceConfig:
  """One source of examples.

  Attributes:
    layout: 'storyworld' renders new examples of the built-in world
      indefinitely; 'manifest' reads what `phenaki data build` wrote.
    path: folder of the manifest.
    subset: name of a subset of StoryWorld.
    weight: how often the source is drawn, relative to the other sources.
  """

  layout: Literal['storyworld', 'manifest']
  path: str = ''
  subset: str = 'easy'
  weight: float = 1.0

  def __post_init__(self) -> None:
    if self.layout == 'manifest' and not self.path:
      raise UserError(
        "data.sources has a source of the layout 'manifest' without a path; "
        'name the folder that `phenaki data build --out DIR` wrote'
      )
    if not 0 < self.weight < math.inf:
      raise UserError(
        f'data.sources has a weight of {self.weight}; it must be positive and '
        'finite'
      )

  @property
  def name(self) -> str:
    """Return the layout with the subset or the path, for messages."""
    is_world = self.layout == 'storyworld'
    return f'{self.layout} {self.subset if is_world else self.path}'


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig:
  """The examples of every batch.

  Attributes:
    sources: where the examples come from. Those of one kind (clips, images)
      are drawn from the sources that have the kind, by their weights.
    split: 'train', or 'heldout' for examples that are never trained on.
    size: height and width, in pixels.
    frames: frames of a clip, 1 + k * tubelet.
    fps: frames per second of the clips.
    batch_size: examples per step, over all processes.
    image_share: share of images among the examples of every batch, 0 to 1.
    continuation_share: share of StoryWorld clips that continue an earlier
      scene, 0 to 1.
    context_frames: leading frames of such a clip that show the earlier scene,
      1 + k * tubelet.
    heldout_share: share of a manifest's records in the split 'heldout'.
    seed: of the order of the examples and of all random draws.
    num_threads: loader threads; 0 loads in the caller's thread.
    prefetch: maximum number of batches that are loaded ahead.
    cache_bytes: maximum size of the cache that keeps decoded clips and images
      of manifests, so that each file is decoded once; 0 disables it.
  """

  sources: tuple[SourceConfig, ...] = (SourceConfig(layout='storyworld'),)
  split: Literal['train', 'heldout'] = 'train'
  size: tuple[int, int] = (32, 32)
  frames: int = 9
  fps: float = 8.0
  batch_size: int = 32
  image_share: float = 0.2
  continuation_share: float = 0.5
  context_frames: int = 5
  heldout_share: float = 0.02
  seed: int = 0
  num_threads: int = 2
  prefetch: int = 4
  cache_bytes: int = 0

  def __post_init__(self) -> None:
    rules = (
      ('sources', bool(self.sources), 'must name at least one source'),
      ('size', min(self.size) >= 1, 'must be height,width in pixels: 32,32'),
      ('frames', self.frames >= 1, 'must be at least 1'),
      ('fps', self.fps > 0, 'must be positive'),
      ('batch_size', self.batch_size >= 1, 'must be at least 1'),
      ('image_share', 0 <= self.image_share <= 1, 'must be in 0..1'),
      (
        'continuation_share',
        0 <= self.continuation_share <= 1,
        'must be in 0..1',
      ),
      (
        'heldout_share',
        0 <= self.heldout_share < 1,
        'must be at least 0 and less than 1',
      ),
      ('context_frames', self.context_frames >= 1, 'must be at least 1'),
      ('seed', self.seed >= 0, 'must not be negative'),
      ('num_threads', self.num_threads >= 0, 'must not be negative'),
      ('prefetch', self.prefetch >= 0, 'must not be negative'),
      ('cache_bytes', self.cache_bytes >= 0, 'must not be negative'),
    )
    for name, is_valid, rule in rules:
      if not is_valid:
        raise UserError(f'data.{name} is {getattr(self, name)}; it {rule}')
    if self.has_continuations and self.context_frames >= self.frames:
      raise UserError(
        f'data.context_frames is {self.context_frames}, but a clip has '
        f'data.frames={self.frames}; it must be less, or set '
        'data.continuation_share=0'
      )

  @property
  def has_continuations(self) -> bool:
    """Return whether any clip continues an earlier scene of StoryWorld."""
    has_world = any(source.layout == 'storyworld' for source in self.sources)
    return has_world and self.continuation_share > 0 and self.image_share < 1
