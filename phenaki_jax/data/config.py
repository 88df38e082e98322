"""What the loader hands out: from where, how large, how many, how mixed."""

import dataclasses

from phenaki_jax.errors import UserError

SPLITS = ('train', 'heldout')


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig:
  """Describe the examples of every batch.

  Attributes:
    source: 'storyworld' draws an endless stream from the built-in world,
      'manifest' reads what `phenaki data build` wrote to `manifest`.
    manifest: folder of the manifest.
    subset: part of StoryWorld, for the source 'storyworld'.
    split: 'train', or 'heldout' for what training never sees.
    size: height and width, in pixels.
    frames: length of a clip, 1 + 2k.
    fps: frames per second of the clips handed out.
    batch_size: examples of a step, over all processes.
    image_share: share of images among the examples of every batch.
    continuation_share: share of StoryWorld clips that go on from an earlier
      scene.
    context_frames: leading frames such a clip shows of the earlier scene.
    heldout_share: share of a manifest's records that are the 'heldout' split.
    seed: of the order of the examples and of every draw.
    num_threads: loader threads; 0 loads in the caller's thread.
    prefetch: batches made ahead at most.
    cache_bytes: bound of the memory that keeps decoded clips and images of a
      manifest, so that each file is decoded once; 0 keeps none.
  """

  source: str = 'storyworld'
  manifest: str = ''
  subset: str = 'easy'
  split: str = 'train'
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
    if self.source not in ('storyworld', 'manifest'):
      raise UserError(
        f"data.source is {self.source!r}; use 'storyworld' or 'manifest'"
      )
    if self.source == 'manifest' and not self.manifest:
      raise UserError(
        "data.source is 'manifest' but data.manifest is empty; name the "
        'folder that `phenaki data build --out DIR` wrote'
      )
    if self.split not in SPLITS:
      raise UserError(
        f'data.split is {self.split!r}; use one of {", ".join(SPLITS)}'
      )
    if len(self.size) != 2 or min(self.size) < 1:
      raise UserError(
        f'data.size is {self.size}; give height,width in pixels, such as 32,32'
      )
    if self.frames < 1 or self.frames % 2 == 0:
      raise UserError(
        f'data.frames is {self.frames}; a clip has 1 + 2k frames: 1, 3, 5, ...'
      )
    if not self.fps > 0:
      raise UserError(f'data.fps is {self.fps}; it must be positive')
    if self.batch_size < 1:
      raise UserError(
        f'data.batch_size is {self.batch_size}; it must be at least 1'
      )
    for name in ('image_share', 'continuation_share'):
      if not 0 <= getattr(self, name) <= 1:
        raise UserError(
          f'data.{name} is {getattr(self, name)}; it must lie in 0..1'
        )
    if not 0 <= self.heldout_share < 1:
      raise UserError(
        f'data.heldout_share is {self.heldout_share}; it must lie in 0..1, '
        'below 1'
      )
    if self.context_frames < 1 or self.context_frames % 2 == 0:
      raise UserError(
        f'data.context_frames is {self.context_frames}; it must be 1 + 2k, so '
        'that the context ends where a latent step ends'
      )
    joins = self.source == 'storyworld' and self.continuation_share > 0
    if joins and self.image_share < 1 and self.context_frames >= self.frames:
      raise UserError(
        f'data.context_frames is {self.context_frames}, but a clip has '
        f'{self.frames} frames; it must be less, or data.continuation_share 0'
      )
    for name in ('num_threads', 'prefetch', 'cache_bytes', 'seed'):
      if getattr(self, name) < 0:
        raise UserError(
          f'data.{name} is {getattr(self, name)}; it cannot be negative'
        )
