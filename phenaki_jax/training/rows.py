"""Token rows: the input of the masked transformer.

A row is a token grid of one clip, or of several packed images. An image takes
one latent frame of a row, as a segment of its own with its own caption, so that
clips and images share one compiled forward pass and no image is padded to the
length of a clip.

The devices of a mesh hold equal groups of rows. Rows of images are spread over
the groups, and every group has its rows in the same order, so that each device
computes the same program on rows and texts of its own.
"""

import dataclasses
import functools
from typing import Any, no_type_check

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from phenaki_jax.generator import EncodedTexts, Texts
from phenaki_jax.nn.attention import Packing
from phenaki_jax.nn.conditions import Conditions, join
from phenaki_jax.sharding import constrain
from phenaki_jax.training.micro_batches import split


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
  """Where the clips and the images of a batch are in its rows.

  Each group has first rows of a clip, then rows that may hold packed images. A
  place for packed images that none are left for holds a clip.

  Attributes:
    num_clips, num_images: examples of a batch, without padding.
    length: latent frames of a row.
    groups: number of equal groups of rows, as many as devices split a batch.

  Raises:
    ValueError: the groups do not divide the rows.
  """

  num_clips: int
  num_images: int
  length: int
  groups: int = 1

  def __post_init__(self) -> None:
    if self.num_rows % self.groups:
      raise ValueError(f'{self.num_rows} rows in {self.groups} groups')

  @property
  def image_rows(self) -> int:
    """Return the number of rows of packed images."""
    return -(-self.num_images // self.length)

  @property
  def num_rows(self) -> int:
    """Return R."""
    return self.num_clips + self.image_rows

  @property
  def packing(self) -> Packing:
    """Return where the rows are that may have several texts."""
    packed = -(-self.image_rows // self.groups)
    return Packing(groups=self.groups, packed=packed)

  @functools.cached_property
  def order(self) -> np.ndarray:
    """Return the index of each row among those of clips, then of images."""
    packed, each = self.packing.packed, self.num_rows // self.groups
    order = np.full((self.groups, each), -1)
    # One row of images for each group, then the second for each group, ...
    place = np.arange(self.image_rows)
    column = each - packed + place // self.groups
    order[place % self.groups, column] = self.num_clips + place
    order[order < 0] = np.arange(self.num_clips)
    return order.reshape(-1)

  @functools.cached_property
  def text_order(self) -> np.ndarray:
    """Return the text of each place, in the order of `nn.attention.Packing`.

    Texts are numbered by clips, then by images.
    """
    clips = np.repeat(np.arange(self.num_clips)[:, None], self.length, 1)
    images = np.zeros((self.image_rows, self.length), clips.dtype)
    images.flat[: self.num_images] = self.num_clips + np.arange(self.num_images)
    frames = np.concatenate([clips, images])[self.order]
    frames = frames.reshape(self.groups, -1, self.length)
    plain = frames.shape[1] - self.packing.packed
    texts = [frames[:, :plain, 0], frames[:, plain:].reshape(self.groups, -1)]
    return np.concatenate(texts, 1).reshape(-1)


# No type checks: JAX also builds it around leaves that are not arrays.
@no_type_check
@flax.struct.dataclass
class Rows:
  """Token rows, in the order of their layout.

  Attributes:
    ids: true token ids.
    hidden: True at tokens that the model must predict.
    segments: segment of each latent frame, -1 where the row is empty.
    frames_at: index of each latent frame in its clip.
    is_clip: True at rows that hold a clip.
    texts: the caption of each clip, then of each image, as ids or as vectors;
      equal ones are not merged. Those of a micro-batch are in the order in
      which the networks read them.
    conditions: what the ports of the networks read; None: nothing.
    layout: which clips and images the rows of the whole batch hold.
    parts: number of micro-batches, if these are the rows of one of them.
  """

  ids: Int[Array, 'R t h w']
  hidden: Bool[Array, 'R t h w']
  segments: Int[Array, 'R t']
  frames_at: Int[Array, 'R t']
  is_clip: Bool[Array, 'R']
  texts: Texts
  conditions: Conditions | None = None
  layout: Layout = flax.struct.field(pytree_node=False, kw_only=True)
  parts: int = flax.struct.field(pytree_node=False, default=1)

  @property
  def num_texts(self) -> int:
    """Return the number of captions."""
    return jax.tree.leaves(self.texts)[0].shape[0]

  @property
  def places(self) -> dict[str, Any]:
    """Return what the networks read beside the tokens and the texts."""
    packing = self.layout.packing
    return {
      'segments': self.segments,
      'frames_at': self.frames_at,
      'packing': Packing(
        groups=packing.groups // self.parts, packed=packing.packed
      ),
      'conditions': self.conditions,
    }

  def arranged(self, texts: EncodedTexts) -> EncodedTexts:
    """Bring encoded captions into the order in which the networks read them.

    Each device then holds the texts of its own rows. The vectors are exchanged
    once, and not the keys and values of every layer.
    """
    order = self.layout.text_order
    if self.parts > 1 or np.array_equal(order, np.arange(self.num_texts)):
      return texts
    # Split by width, every device takes from all texts without a copy of them.
    vectors = constrain(texts.vectors, None, None, 'exchanged')[order]
    return EncodedTexts(
      vectors=constrain(vectors, 'batch', None, None), mask=texts.mask[order]
    )

  def divided(self, parts: int) -> 'Rows':
    """Divide the rows into micro-batches of equal shapes.

    Each of them has as many groups of rows as the others, with their texts.

    Args:
      parts: number of micro-batches, which divides the groups.

    Returns:
      Rows whose arrays have a first dimension of that size.
    """
    ways, order = self.layout.groups // parts, self.layout.text_order
    texts: Any = self.texts
    if isinstance(texts, EncodedTexts):
      texts = EncodedTexts(
        vectors=constrain(texts.vectors, None, None, 'exchanged'),
        mask=texts.mask,
      )
    texts = jax.tree.map(lambda array: array[order], texts)
    own = dataclasses.replace(self, texts=texts)
    divided: Rows = split(own, parts, ways=ways)
    return dataclasses.replace(divided, parts=parts)

  @property
  def weights(self) -> Float[Array, 'R t h w']:
    """Return weights that sum to 1 over the hidden tokens of an example."""
    counts = jnp.sum(self.hidden, (2, 3), dtype=jnp.float32)
    same = self.segments[:, :, None] == self.segments[:, None, :]
    total = jnp.einsum('Rst,Rt->Rs', same.astype(jnp.float32), counts)
    weights = 1.0 / jnp.maximum(total, 1.0)
    return jnp.broadcast_to(weights[:, :, None, None], self.ids.shape)


def clip_rows(
  ids: Int[Array, 'B t h w'],
  hidden: Bool[Array, 'B t h w'],
  num_latent: Int[Array, 'B'],
  texts: Texts,
  conditions: Conditions | None = None,
) -> Rows:
  """Make one row of each clip; see `Rows`.

  `num_latent` is the number of leading latent frames that are not padding.
  """
  batch, t = ids.shape[:2]
  index = jnp.broadcast_to(jnp.arange(t), (batch, t))
  return Rows(
    ids=ids,
    hidden=hidden,
    segments=jnp.where(index < num_latent[:, None], 0, -1),
    frames_at=index,
    is_clip=jnp.ones(batch, bool),
    texts=texts,
    conditions=conditions,
    layout=Layout(num_clips=batch, num_images=0, length=t),
  )


def image_rows(
  ids: Int[Array, 'B h w'],
  hidden: Bool[Array, 'B h w'],
  frames_at: Int[Array, 'B'],
  texts: Texts,
  *,
  length: int,
  over_time: Bool[Array, 'B'] | None = None,
) -> Rows:
  """Pack images into rows of `length` latent frames; see `Rows`.

  `frames_at` is the index that each image takes in a clip; `over_time` tells
  for which of them the layers over time act, by default for all.
  """
  images = jnp.arange(ids.shape[0], dtype=jnp.int32)
  layout = Layout(num_clips=0, num_images=ids.shape[0], length=length)
  conditions = None
  if over_time is not None:
    switches = pack_images(over_time, length, fill=1)
    conditions = Conditions(over_time=switches)
  return Rows(
    ids=pack_images(ids, length, fill=0),
    hidden=pack_images(hidden, length, fill=0),
    segments=pack_images(images % length, length, fill=-1),
    frames_at=pack_images(frames_at, length, fill=0),
    is_clip=jnp.zeros(layout.num_rows, bool),
    texts=texts,
    conditions=conditions,
    layout=layout,
  )


def pack_images(values: Array, length: int, *, fill: int) -> Array:
  """Pack one entry per image into rows; the last row is padded.

  Args:
    values: [images, ...] entries.
    length: entries of a row.
    fill: value of the padding.

  Returns:
    [rows, length, ...] entries, rows = ceil(images / length).
  """
  rows = -(-values.shape[0] // length)
  padding = [(0, rows * length - values.shape[0])]
  padding += [(0, 0)] * (values.ndim - 1)
  values = jnp.pad(values, padding, constant_values=fill)
  return values.reshape(rows, length, *values.shape[1:])


def join_rows(*parts: Rows, groups: int = 1) -> Rows:
  """Join rows of clips, of images, or of both in this order, in one layout.

  Args:
    *parts: from `clip_rows` and `image_rows`.
    groups: see `Layout`.
  """
  layout = Layout(
    num_clips=sum(part.layout.num_clips for part in parts),
    num_images=sum(part.layout.num_images for part in parts),
    length=parts[-1].layout.length,
    groups=groups,
  )
  joined = dataclasses.replace(parts[0], layout=layout)
  if len(parts) > 1:
    same = [
      dataclasses.replace(part, layout=layout, conditions=None)
      for part in parts
    ]
    joined = jax.tree.map(lambda *arrays: jnp.concatenate(arrays), *same)
    conditions = join(
      [part.conditions for part in parts],
      [part.layout.num_rows for part in parts],
    )
    joined = dataclasses.replace(joined, conditions=conditions)
  if np.array_equal(layout.order, np.arange(layout.num_rows)):
    return joined
  names = ('ids', 'hidden', 'segments', 'frames_at', 'is_clip', 'conditions')
  ordered = {
    name: jax.tree.map(lambda x: x[layout.order], getattr(joined, name))
    for name in names
  }
  return dataclasses.replace(joined, **ordered)


def texts_of(part: dict[str, Any]) -> Texts:
  """Return the texts of a part: their vectors if it has them, or their ids."""
  if 'text_vectors' not in part:
    return part['text']
  return EncodedTexts(vectors=part['text_vectors'], mask=part['text'] > 0)
