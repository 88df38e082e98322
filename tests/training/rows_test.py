"""Packing of images, and the text index of joined rows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phenaki_jax import rng
from phenaki_jax.generator import EncodedTexts
from phenaki_jax.masked_transformer.config import GeneratorConfig
from phenaki_jax.nn.conditions import ABSENT, Conditions
from phenaki_jax.text.config import TextConfig
from phenaki_jax.tokenizer.config import TokenizerConfig
from phenaki_jax.training.generator_task import GeneratorTask
from phenaki_jax.training.rows import (
  Layout,
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
  np.testing.assert_array_equal(rows.layout.text_order, [0, 1, 2])
  np.testing.assert_array_equal(rows.is_clip, [True] * 3)


def test_images_are_segments_with_texts_of_their_own():
  rows = _images()
  np.testing.assert_array_equal(rows.segments, [[0, 1, 2], [0, -1, -1]])
  np.testing.assert_array_equal(rows.layout.text_order, [0, 1, 2, 3, 0, 0])
  assert rows.texts.shape == (4, 4) and rows.layout.num_clips == 0


def _texts_of_frames(layout):
  """Return the index of the text of each latent frame, as networks read it."""
  packed = layout.packing.packed
  plain = layout.num_rows // layout.groups - packed
  groups = layout.text_order.reshape(layout.groups, -1)
  rows = np.concatenate(
    [
      groups[:, :plain, None].repeat(layout.length, 2),
      groups[:, plain:].reshape(layout.groups, packed, layout.length),
    ],
    axis=1,
  )
  return rows.reshape(-1, layout.length)


@settings(deadline=None, max_examples=25)
@given(
  groups=st.integers(1, 4),
  each=st.integers(1, 4),
  images=st.integers(0, 12),
  length=st.integers(1, 3),
)
def test_every_group_has_the_rows_of_its_texts(groups, each, images, length):
  """Each example is in one row, and each row reads the texts of its own."""
  num_rows = groups * each
  clips = num_rows - -(-images // length)
  if clips < 0:
    return
  layout = Layout(
    num_clips=clips, num_images=images, length=length, groups=groups
  )
  assert sorted(layout.order) == list(range(num_rows))
  is_image = (layout.order >= clips).reshape(groups, each)
  counts = is_image.sum(1)
  assert counts.max() - counts.min() <= 1, 'images are spread over the groups'
  plain = each - layout.packing.packed
  assert not is_image[:, :plain].any(), 'packed rows come last'
  for row, texts in zip(layout.order, _texts_of_frames(layout), strict=True):
    if row < clips:
      assert set(texts) == {row}
    else:
      first = (row - clips) * length
      real = texts[: images - first]
      np.testing.assert_array_equal(real, clips + first + np.arange(len(real)))


def test_groups_that_do_not_divide_the_rows_are_refused():
  with pytest.raises(ValueError, match='5 rows in 2 groups'):
    Layout(num_clips=4, num_images=1, length=3, groups=2)


@pytest.mark.parametrize(('images', 'groups'), [(1, 1), (3, 3), (4, 2)])
def test_joined_rows_are_those_of_clips_and_images(images, groups):
  clips, packed = _clips(2), _images(images)
  rows = join_rows(clips, packed, groups=groups)
  assert rows.num_texts == 2 + images
  order = rows.layout.order
  for name in ('ids', 'hidden', 'segments', 'frames_at'):
    parts = [getattr(clips, name), getattr(packed, name)]
    np.testing.assert_array_equal(
      getattr(rows, name), np.concatenate(parts)[order]
    )
  np.testing.assert_array_equal(rows.is_clip, order < 2)
  # The caption of each latent frame is the one it had before.
  read = rows.texts[_texts_of_frames(rows.layout)][..., 0]
  real = np.asarray(rows.segments) >= 0
  expected = np.concatenate(
    [[[10] * 3, [11] * 3], pack_images(50 + jnp.arange(images), 3, fill=0)]
  )
  np.testing.assert_array_equal(read[real], expected[order][real])


def test_the_weights_of_each_example_sum_to_one():
  rows = join_rows(_clips(), _images())
  weights = np.where(rows.hidden, rows.weights, 0)
  for row, segments in enumerate(np.asarray(rows.segments)):
    for segment in set(segments) - {-1}:
      own = segments == segment
      total = weights[row, own].sum()
      assert total == pytest.approx(float(rows.hidden[row, own].any()))


def test_vectors_of_texts_are_arranged_as_ids_are():
  clips, images = _clips(), _images()

  def with_vectors(rows):
    vectors = jnp.repeat(rows.texts[..., None].astype(float), 2, -1)
    return rows.replace(
      texts=EncodedTexts(vectors=vectors, mask=rows.texts > 12)
    )

  joined = join_rows(with_vectors(clips), with_vectors(images))
  texts = joined.arranged(joined.texts)
  expected = join_rows(clips, images).texts[joined.layout.text_order]
  np.testing.assert_array_equal(texts.vectors[..., 1], expected)
  np.testing.assert_array_equal(texts.mask, expected > 12)


def test_conditions_follow_their_rows():
  """Those of clips and of images, in any number of groups."""
  clips, images = _clips(2), _images(6)
  scalars = {'fps': jnp.array([8.0, 4.0])}
  clips = clips.replace(conditions=Conditions(scalars=scalars))
  switch = jnp.array([[True, False, True], [False, True, False]])
  images = images.replace(conditions=Conditions(over_time=switch))
  for groups, order in ((1, [0, 1, 2, 3]), (2, [0, 2, 1, 3])):
    rows = join_rows(clips, images, groups=groups)
    np.testing.assert_array_equal(rows.layout.order, order)
    fps = np.array([8, 4, ABSENT, ABSENT])[order]
    np.testing.assert_array_equal(rows.conditions.scalars['fps'], fps)
    expected = np.concatenate([np.ones((2, 3), bool), switch])[order]
    np.testing.assert_array_equal(rows.conditions.over_time, expected)
    assert rows.places['conditions'] is rows.conditions
  # Micro-batches of one group each.
  parts = rows.divided(2)
  found = np.asarray(parts.conditions.over_time).reshape(-1, 3)
  np.testing.assert_array_equal(found, rows.conditions.over_time)
  assert parts.conditions.scalars['fps'].shape == (2, 2)
  assert join_rows(_clips(2), _images(6)).conditions is None


def test_images_take_rows_of_the_length_of_clips():
  task = GeneratorTask(
    config=GeneratorConfig(codebook_size=12, grid=(3, 2, 2), width=16),
    text=TextConfig(max_length=5),
    tokenizer=TokenizerConfig(patch=(4, 4)),
    tokenizer_params={},
    # The shape of another bucket.
    layout=Layout(num_clips=8, num_images=8, length=3),
    is_padded=False,
  )
  draw = np.random.default_rng(0)
  text = np.ones((3, 5), np.int32)
  batch = {
    'clips': {
      'tokens': draw.integers(0, 12, (3, 2, 2, 4), np.int32),
      'text': text,
      'num_frames': np.full(3, 3, np.int32),
      'context_frames': np.zeros(3, np.int32),
    },
    'images': {
      'tokens': draw.integers(0, 12, (3, 2, 4), np.int32),
      'text': text,
    },
  }
  assert task.num_examples(batch) == {'clips': 3, 'images': 3}
  rows = task.rows({}, jax.tree.map(jnp.asarray, batch), rng.root(0))
  # Two rows hold three images, two of them in the first.
  assert rows.ids.shape == (5, 2, 2, 4)
  np.testing.assert_array_equal(rows.ids[:3], batch['clips']['tokens'])
  images = np.asarray(rows.ids[3:]).reshape(-1, 2, 4)
  np.testing.assert_array_equal(images[:3], batch['images']['tokens'])
  segments = np.asarray(rows.segments)
  assert segments[3:].tolist() == [[0, 1], [0, -1]]
  assert np.asarray(rows.hidden).any(axis=(1, 2, 3)).all()
