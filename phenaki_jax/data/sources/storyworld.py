"""StoryWorld as a source; its examples are rendered, so none is broken."""

import dataclasses
import hashlib
import math
from collections.abc import Iterator
from typing import Any, Literal

from phenaki_jax import storyworld
from phenaki_jax.data import schema
from phenaki_jax.errors import UserError

# In pixels. The caption does not depend on the size.
_SMALL = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoryWorldReader:
  """A reader that renders the example of an index.

  Attributes:
    subset: name of a subset of StoryWorld.
    seed: of the random draws.
    split: 'train' or 'heldout'.
    continuation_share: share of clips that continue an earlier scene.
    context_frames: leading frames of such a clip that show that scene.
  """

  subset: str
  seed: int = 0
  split: Literal['train', 'heldout'] = 'train'
  continuation_share: float = 0.0
  context_frames: int = 5

  def __post_init__(self) -> None:
    storyworld.subset_named(self.subset)

  def example(
    self, record: schema.Record, request: schema.ExampleRequest
  ) -> schema.Example:
    """Render the example whose index is `record.offset`."""
    return self.render(record.kind, record.offset, request)

  def render(
    self,
    kind: str,
    index: int,
    request: schema.ExampleRequest,
    *,
    draws: bool = True,
  ) -> schema.Example:
    """Render example `index` of a kind; `request.position` is ignored.

    Unless it `draws`, its frames are black.
    """
    if kind == schema.IMAGE:
      image = storyworld.training_image(
        self.seed,
        index,
        self.subset,
        size=request.size,
        split=self.split,
        draws=draws,
      )
      return schema.Example(pixels=image.frame, caption=image.caption)
    clip = storyworld.training_clip(
      self.seed,
      index,
      self.subset,
      frames=request.frames,
      size=request.size,
      fps=request.fps,
      continuation_share=self.continuation_share,
      context_frames=self.context_frames,
      split=self.split,
      depth=request.depth,
      history=request.history,
      draws=draws,
    )
    return schema.Example(
      pixels=clip.frames,
      depth=clip.depth,
      caption=clip.caption,
      num_frames=request.frames,
      context_frames=clip.context_frames,
      history=tuple(
        schema.EarlierScene(frame=one.frame, caption=one.caption)
        for one in clip.history
      ),
    )

  def caption(self, kind: str, index: int) -> str:
    """Return the caption of example `index` of a kind."""
    return self.captions(kind, index)[0]

  def captions(
    self, kind: str, index: int, *, history: int = 0
  ) -> tuple[str, ...]:
    """Return the captions of example `index` and of its earlier scenes.

    `history` is that of the request of the example, which changes it.
    """
    request = schema.ExampleRequest(
      size=(_SMALL, _SMALL),
      frames=self.context_frames + 1,
      fps=8.0,
      history=history,
    )
    example = self.render(kind, index, request, draws=False)
    return example.caption, *(scene.caption for scene in example.history)

  def examine(
    self, record: schema.Record, *, max_duration: float = math.inf
  ) -> schema.MediaInfo:
    """Hash the values that define the example, without rendering it."""
    world = dataclasses.asdict(self)
    text = f'{sorted(world.items())}|{record.kind}|{record.offset}'
    digest = hashlib.sha256(text.encode()).hexdigest()
    return schema.MediaInfo(content_hash=digest)


class StoryWorld:
  """A source of the first clips and the first images of StoryWorld."""

  layout = 'storyworld'
  columns: frozenset[str] = frozenset()

  def __init__(
    self, reader: StoryWorldReader, *, num_clips: int, num_images: int
  ):
    if min(num_clips, num_images) < 0 or num_clips + num_images == 0:
      raise UserError(
        f'StoryWorld with {num_clips} clips and {num_images} images has no '
        'examples; request at least one'
      )
    self.reader = reader
    self._num_clips = num_clips
    self._num_images = num_images

  def __len__(self) -> int:
    """Return the number of clips and images."""
    return self._num_clips + self._num_images

  def __iter__(self) -> Iterator[schema.Record]:
    """Yield every record, in order."""
    return map(self.__getitem__, range(len(self)))

  def __getitem__(self, index: int) -> schema.Record:
    """Return the record at `index`; clips come first, then images."""
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
    """Return the layout and the fields of the reader."""
    return {'layout': self.layout, **dataclasses.asdict(self.reader)}

  def notes(self) -> dict[str, int]:
    """Return no counts, because every example is used."""
    return {}
