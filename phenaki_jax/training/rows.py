"""Token rows: the input of the masked transformer.

A row is a token grid of one clip, or of several packed images. An image takes
one latent frame of a row, as a segment of its own with its own caption, so that
clips and images share one compiled forward pass and no image is padded to the
length of a clip.
"""

import dataclasses
from typing import no_type_check

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from phenaki_jax.generator import Texts


# No type checks: JAX also builds it around leaves that are not arrays.
@no_type_check
@flax.struct.dataclass
class Rows:
  """Token rows; the rows of clips come first.

  Attributes:
    ids: true token ids.
    hidden: True at tokens that the model must predict.
    segments: segment of each latent frame, -1 where the row is empty.
    frames_at: index of each latent frame in its clip.
    texts: the caption of each clip and image, as ids or as vectors; equal ones
      are not merged.
    text_index: the caption of each latent frame, or of each row [R] if no row
      has more than one.
    num_clips: number of rows that hold a clip.
  """

  ids: Int[Array, 'R t h w']
  hidden: Bool[Array, 'R t h w']
  segments: Int[Array, 'R t']
  frames_at: Int[Array, 'R t']
  texts: Texts
  text_index: Int[Array, 'R *r']
  num_clips: int = flax.struct.field(pytree_node=False)

  @property
  def num_texts(self) -> int:
    """Return the number of captions."""
    return jax.tree.leaves(self.texts)[0].shape[0]

  @property
  def places(self) -> dict[str, Array]:
    """Return what the networks read beside the tokens and the texts."""
    names = ('segments', 'frames_at', 'text_index')
    return {name: getattr(self, name) for name in names}

  @property
  def weights(self) -> Float[Array, 'R t h w']:
    """Return weights that sum to 1 over the hidden tokens of an example."""
    counts = jnp.sum(self.hidden, (2, 3), dtype=jnp.float32)
    same = self.segments[:, :, None] == self.segments[:, None, :]
    total = jnp.einsum('Rst,Rt->Rs', same.astype(jnp.float32), counts)
    weights = 1.0 / jnp.maximum(total, 1.0)
    return jnp.broadcast_to(weights[:, :, None, None], self.ids.shape)

  @property
  def is_clip(self) -> Bool[Array, 'R']:
    """Return True at rows that hold a clip."""
    return jnp.arange(self.ids.shape[0]) < self.num_clips


def clip_rows(
  ids: Int[Array, 'B t h w'],
  hidden: Bool[Array, 'B t h w'],
  num_latent: Int[Array, 'B'],
  texts: Texts,
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
    texts=texts,
    text_index=jnp.arange(batch),
    num_clips=batch,
  )


def image_rows(
  ids: Int[Array, 'B h w'],
  hidden: Bool[Array, 'B h w'],
  frames_at: Int[Array, 'B'],
  texts: Texts,
  *,
  length: int,
) -> Rows:
  """Pack images into rows of `length` latent frames; see `Rows`.

  `frames_at` is the index that each image takes in a clip.
  """
  images = jnp.arange(ids.shape[0], dtype=jnp.int32)
  return Rows(
    ids=pack_images(ids, length, fill=0),
    hidden=pack_images(hidden, length, fill=0),
    segments=pack_images(images % length, length, fill=-1),
    frames_at=pack_images(frames_at, length, fill=0),
    texts=texts,
    text_index=pack_images(images, length, fill=0),
    num_clips=0,
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


def join_rows(clips: Rows, images: Rows) -> Rows:
  """Join the rows of clips and of images; every row then has t text indices."""
  t = clips.ids.shape[1]
  per_frame = jnp.repeat(clips.text_index[:, None], t, axis=1)
  shifted = images.text_index + clips.num_texts
  return jax.tree.map(
    lambda one, other: jnp.concatenate([one, other]),
    dataclasses.replace(clips, text_index=per_frame),
    dataclasses.replace(images, text_index=shifted, num_clips=clips.num_clips),
  )
