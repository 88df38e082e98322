"""Packing of images, and the text index of joined rows."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phenaki_jax.generator import EncodedTexts
from phenaki_jax.training.rows import (
  clip_rows,
  image_rows,
  join_rows,
  pack_images,
)

BITS = np.random.default_rng(0)


def _texts(number, start):
  return jnp.repeat(jnp.arange(start, start + number)[:, None], 4, axis=1)


def _clips(number=3):
  ids = jnp.asarray(BITS.integers(0, 9, (number, 3, 2, 2)))
  return clip_rows(
    ids, ids > 4, jnp.array([3, 2, 1])[:number], _texts(number, 10)
  )


def _images(number=4):
  ids = jnp.asarray(BITS.integers(0, 9, (number, 2, 2)))
  frames_at = jnp.asarray(BITS.integers(0, 3, number))
  return image_rows(ids, ids > 4, frames_at, _texts(number, 50), length=3)


@settings(deadline=None, max_examples=8)
@given(images=st.integers(1, 9), length=st.integers(1, 4))
def test_packing_keeps_every_image_in_order(images, length):
  values = jnp.arange(2 * images).reshape(images, 2) + 1
  packed = np.asarray(pack_images(values, length, fill=-1))
  assert packed.shape == (-(-images // length), length, 2)
  flat = packed.reshape(-1, 2)
  np.testing.assert_array_equal(flat[:images], values)
  assert (flat[images:] == -1).all()


def test_a_clip_is_a_row_with_one_text():
  rows = _clips()
  np.testing.assert_array_equal(
    rows.segments, [[0, 0, 0], [0, 0, -1], [0, -1, -1]]
  )
  np.testing.assert_array_equal(rows.frames_at, [[0, 1, 2]] * 3)
  np.testing.assert_array_equal(rows.text_index, [0, 1, 2])
  np.testing.assert_array_equal(rows.is_clip, [True] * 3)


def test_images_are_segments_with_texts_of_their_own():
  rows = _images()
  np.testing.assert_array_equal(rows.segments, [[0, 1, 2], [0, -1, -1]])
  np.testing.assert_array_equal(rows.text_index, [[0, 1, 2], [3, 0, 0]])
  assert rows.texts.shape == (4, 4) and rows.num_clips == 0


@pytest.mark.parametrize('images', [1, 3, 4])
def test_joined_rows_refer_to_the_same_texts(images):
  clips, packed = _clips(2), _images(images)
  rows = join_rows(clips, packed)
  assert rows.num_clips == 2 and rows.texts.shape == (2 + images, 4)
  np.testing.assert_array_equal(rows.is_clip[:2], [True, True])
  assert not rows.is_clip[2:].any()
  # The caption of each latent frame is the one it had before.
  read = rows.texts[rows.text_index][..., 0]
  np.testing.assert_array_equal(read[:2], [[10] * 3, [11] * 3])
  real = np.asarray(packed.segments >= 0)
  np.testing.assert_array_equal(read[2:][real], 50 + np.arange(images))
  np.testing.assert_array_equal(rows.ids[2:], packed.ids)
  np.testing.assert_array_equal(rows.ids[:2], clips.ids)


def test_the_weights_of_each_example_sum_to_one():
  rows = join_rows(_clips(), _images())
  weights = np.where(rows.hidden, rows.weights, 0)
  for row, segments in enumerate(np.asarray(rows.segments)):
    for segment in set(segments) - {-1}:
      own = segments == segment
      total = weights[row, own].sum()
      assert total == pytest.approx(float(rows.hidden[row, own].any()))


def test_vectors_of_texts_are_joined_as_ids_are():
  clips, images = _clips(), _images()

  def with_vectors(rows):
    vectors = jnp.repeat(rows.texts[..., None].astype(float), 2, -1)
    return rows.replace(
      texts=EncodedTexts(vectors=vectors, mask=rows.texts > 12)
    )

  ids = join_rows(clips, images)
  joined = join_rows(with_vectors(clips), with_vectors(images))
  assert joined.num_texts == ids.num_texts == 7
  np.testing.assert_array_equal(joined.text_index, ids.text_index)
  np.testing.assert_array_equal(joined.texts.vectors[..., 1], ids.texts)
  np.testing.assert_array_equal(joined.texts.mask, ids.texts > 12)
