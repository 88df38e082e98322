"""StoryWorld as a source: examples made by code, so nothing can be broken."""

import dataclasses
import hashlib
from typing import Any

from phenaki_jax import storyworld
from phenaki_jax.data import schema
from phenaki_jax.errors import UserError

# The caption of an example does not depend on its size or rate; these are
# the cheapest at which it can be asked for.
_SMALL = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoryWorldReader:
  """Render the example of an index.

  Attributes:
    subset: name of a subset of StoryWorld.
    seed: of the world.
    split: 'train' or 'heldout'.
    continuation_share: share of clips that go on from an earlier scene.
    context_frames: leading frames that such a clip shows of it.
  """

  subset: str
  seed: int = 0
  split: str = 'train'
  continuation_share: float = 0.0
  context_frames: int = 5

  def __post_init__(self) -> None:
    storyworld.subset_named(self.subset)

  def example(self, record: schema.Record, view: schema.View) -> schema.Example:
    """Render the example of `record.offset`; a view's position is ignored."""
    return self.render(record.kind, record.offset, view)

  def render(self, kind: str, index: int, view: schema.View) -> schema.Example:
    """Render example `index` of a kind, at the view's size, rate and length."""
    if kind == schema.IMAGE:
      image = storyworld.training_image(
        self.seed, index, self.subset, size=view.size, split=self.split
      )
      return schema.Example(pixels=image.frame, caption=image.caption)
    clip = storyworld.training_clip(
      self.seed,
      index,
      self.subset,
      frames=view.frames,
      size=view.size,
      fps=view.fps,
      continuation_share=self.continuation_share,
      context_frames=self.context_frames,
      split=self.split,
    )
    return schema.Example(
      pixels=clip.frames,
      caption=clip.caption,
      num_frames=view.frames,
      context_frames=clip.context_frames,
    )

  def caption(self, kind: str, index: int) -> str:
    """Return the caption of example `index` of a kind."""
    view = schema.View(
      size=(_SMALL, _SMALL), frames=self.context_frames + 2, fps=8.0
    )
    return self.render(kind, index, view).caption

  def examine(self, record: schema.Record) -> schema.Facts:
    """Return the hash of what defines the example; nothing is rendered."""
    world = dataclasses.asdict(self)
    text = f'{sorted(world.items())}|{record.kind}|{record.offset}'
    return schema.Facts(content_hash=hashlib.sha256(text.encode()).hexdigest())


class StoryWorld:
  """List `num_clips` clips and `num_images` images of the world."""

  layout = 'storyworld'
  columns: frozenset[str] = frozenset()

  def __init__(
    self, reader: StoryWorldReader, *, num_clips: int, num_images: int
  ):
    if min(num_clips, num_images) < 0 or num_clips + num_images == 0:
      raise UserError(
        f'StoryWorld with {num_clips} clips and {num_images} images has no '
        'examples; ask for at least one'
      )
    self.reader = reader
    self._num_clips = num_clips
    self._num_images = num_images

  def __len__(self) -> int:
    """Return the number of clips and images."""
    return self._num_clips + self._num_images

  def __getitem__(self, index: int) -> schema.Record:
    """Return the clips in order, then the images."""
    if not 0 <= index < len(self):
      raise IndexError(index)
    is_clip = index < self._num_clips
    kind = schema.CLIP if is_clip else schema.IMAGE
    number = index if is_clip else index - self._num_clips
    return schema.Record(
      key=f'{kind}-{number:08d}',
      kind=kind,
      caption=self.reader.caption(kind, number),
      offset=number,
      size=0,
    )

  def spec(self) -> dict[str, Any]:
    """Return the layout and the reader's fields."""
    return {'layout': self.layout, **dataclasses.asdict(self.reader)}

  def notes(self) -> dict[str, int]:
    """Return nothing: every example is used."""
    return {}
