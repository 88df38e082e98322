"""Configuration of the data: sources, sizes and the mixture of a batch."""

import dataclasses
from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from phenaki_jax.config import Rate, Seed, Share, validated
from phenaki_jax.errors import UserError

_SEED_STEP = 0x9E3779B1  # distance of the seeds of buckets


@validated
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
  weight: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0

  def __post_init__(self) -> None:
    if self.layout == 'manifest' and not self.path:
      raise UserError(
        "data.sources has a source of the layout 'manifest' without a path; "
        'name the folder that `phenaki data build --out DIR` wrote'
      )

  @property
  def name(self) -> str:
    """Return the layout with the subset or the path, for messages."""
    is_world = self.layout == 'storyworld'
    return f'{self.layout} {self.subset if is_world else self.path}'


@validated
class BucketConfig:
  """A shape of the clips and images of some steps.

  Attributes:
    frames: frames of a clip, 1 + k * tubelet.
    size: height and width, in pixels.
    weight: how many steps have this shape, relative to the other buckets.
    batch_size: examples per step, over all processes; None means that of
      `DataConfig`.
  """

  frames: PositiveInt
  size: tuple[PositiveInt, PositiveInt]
  weight: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
  batch_size: PositiveInt | None = None


@validated
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
    buckets: shapes of training batches, of which every step has one; empty if
      all have that of `size` and `frames`, which is one of them and that of
      evaluations and samples. Each shape is compiled once.
    row_multiple: number that divides the token rows of a generator's batch; a
      clip is a row, and images are packed. If it is more than 1, the number of
      examples is the nearest to `batch_size` for which it does. A mesh splits a
      batch among data * fsdp devices, which must divide its rows.
    clip_captions: whether clips have their captions. False: the captions of
      clips are never read, so that motion is learnt from clips without text,
      and text from images (Make-A-Video, arXiv 2209.14792).
    continuation_share: share of the clips that continue an earlier scene, 0
      to 1, among those of StoryWorld and the later scenes of story films.
    context_frames: leading frames of such a clip that show the earlier scene,
      1 + k * tubelet.
    heldout_share: share of a manifest's records in the split 'heldout'.
    seed: of the order of the examples and of all random draws, 0 to 2**32 - 1.
    num_threads: loader threads; 0 loads in the caller's thread.
    prefetch: maximum number of batches that are loaded ahead.
    frame_cache_bytes: maximum memory for decoded clips and images of manifests,
      so that each file is decoded once; 0 keeps none.
    token_cache: folder of the tokens of the training examples, which `phenaki
      encode --tokens` wrote; a generator then trains on them instead of on
      pixels. Empty for none.
  """

  sources: Annotated[tuple[SourceConfig, ...], Field(min_length=1)] = (
    SourceConfig(layout='storyworld'),
  )
  split: Literal['train', 'heldout'] = 'train'
  size: tuple[PositiveInt, PositiveInt] = (32, 32)
  frames: PositiveInt = 9
  fps: PositiveFloat = 8.0
  batch_size: PositiveInt = 32
  image_share: Share = 0.2
  buckets: tuple[BucketConfig, ...] = ()
  row_multiple: PositiveInt = 1
  clip_captions: bool = True
  continuation_share: Share = 0.5
  context_frames: PositiveInt = 5
  heldout_share: Rate = 0.02
  seed: Seed = 0
  num_threads: NonNegativeInt = 2
  prefetch: NonNegativeInt = 4
  frame_cache_bytes: NonNegativeInt = 0
  token_cache: str = ''

  def __post_init__(self) -> None:
    if self.has_continuations and self.context_frames >= self.frames:
      raise UserError(
        f'data.context_frames is {self.context_frames}, but a clip has '
        f'data.frames={self.frames}; it must be less, or set '
        'data.continuation_share=0'
      )
    shapes = [(bucket.frames, bucket.size) for bucket in self.buckets]
    if shapes and (self.frames, self.size) not in shapes:
      raise UserError(
        f'data.buckets has {shapes}, but not data.frames={self.frames} of '
        f'data.size={self.size}; add it, or change data.frames and data.size'
      )
    if shapes and self.token_cache:
      raise UserError(
        f'data.token_cache is {self.token_cache}, but a cache holds clips of '
        'one shape; leave it or data.buckets out'
      )

  def of_buckets(self) -> 'list[DataConfig]':
    """Return the config of each bucket, without buckets."""
    # Each has an order and a share of the memory of its own.
    return [
      dataclasses.replace(
        self,
        buckets=(),
        frames=bucket.frames,
        size=bucket.size,
        batch_size=bucket.batch_size or self.batch_size,
        seed=(self.seed + number * _SEED_STEP) % 2**32,
        frame_cache_bytes=self.frame_cache_bytes // len(self.buckets),
      )
      for number, bucket in enumerate(self.buckets)
    ]

  def heldout(self, manifest: str = '') -> 'DataConfig':
    """Return the config of single held-out clips, read in their order.

    Args:
      manifest: folder of a manifest to read in place of the sources. All of
        its clips are held out if `heldout_share` is 0.
    """
    data = dataclasses.replace(
      self,
      split='heldout',
      image_share=0.0,
      continuation_share=0.0,
      batch_size=1,
      row_multiple=1,
      num_threads=0,
      prefetch=0,
      frame_cache_bytes=0,
      token_cache='',
    )
    if not manifest:
      return data
    return dataclasses.replace(
      data,
      sources=(SourceConfig(layout='manifest', path=manifest),),
      split='heldout' if self.heldout_share else 'train',
    )

  @property
  def has_continuations(self) -> bool:
    """Return whether any clip continues an earlier scene of StoryWorld."""
    has_world = any(source.layout == 'storyworld' for source in self.sources)
    return has_world and self.continuation_share > 0 and self.image_share < 1
