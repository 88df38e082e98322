import collections

import pytest

from phenaki_jax.data import mixture


def test_shares_are_given_in_examples_and_in_tokens():
  found = mixture.compose(batch_size=10, image_share=0.2)
  assert found.counts == {'clips': 8, 'images': 2}
  assert found.image_share == 0.2
  # An image has one latent frame, a clip of 11 frames has six.
  assert found.token_share(6) == pytest.approx(2 / (2 + 8 * 6))


def test_tokens_of_a_batch_are_those_of_its_examples():
  found = mixture.compose(batch_size=30, image_share=0.2)
  assert found.latent_frames(5) == 24 * 5 + 6
  assert mixture.compose(batch_size=30, image_share=0.0).latent_frames(5) == 150
  assert mixture.compose(batch_size=30, image_share=1.0).latent_frames(5) == 30


@pytest.mark.parametrize('share, images', [(0, 0), (0.05, 0), (0.2, 2), (1, 8)])
def test_the_number_of_images_is_rounded(share, images):
  found = mixture.compose(batch_size=8, image_share=float(share))
  assert found.num_images == images
  assert found.num_clips == 8 - images
  assert found.image_share == images / 8


@pytest.mark.parametrize('multiple', [8, 64, 128, 256])
def test_rows_divide_for_every_share_of_images(multiple):
  """At most 1% of the latent frames are empty, and the share is the nearest."""
  for percent in range(0, 101, 3):
    found = mixture.compose(
      batch_size=512,
      image_share=percent / 100,
      row_multiple=multiple,
      latent_frames=6,
    )
    rows = found.num_rows(6)
    assert rows % multiple == 0
    frames = 6 * found.num_clips + found.num_images
    assert 0.99 * 6 * rows <= frames <= 6 * rows
    step = 6 / (found.num_clips + found.num_images)
    assert abs(found.image_share - percent / 100) <= step
    wanted = 512 * (1 - 5 / 6 * percent / 100)
    assert rows == multiple or abs(rows - wanted) <= multiple / 2


@pytest.mark.parametrize(
  'weights, integers',
  [
    ([1.0], (1,)),
    ([0.7, 0.3], (7, 3)),
    ([3.0, 7.0, 5.5], (6, 14, 11)),
    ([1e-05, 1.0], (1, 100_000)),
  ],
)
def test_weights_become_integers_of_the_same_proportions(weights, integers):
  assert mixture.integer_weights(weights) == integers


def test_one_source_has_every_position():
  assert [mixture.source_at(i, (3,)) for i in range(5)] == [
    (0, i) for i in range(5)
  ]


@pytest.mark.parametrize(
  'weights', [(7, 3), (1, 1, 1), (0, 5, 1, 9, 0, 2), (1, 99)]
)
def test_shares_are_exact_and_sources_are_interleaved_evenly(weights):
  total = sum(weights)
  counts = collections.Counter()
  for position in range(4 * total):
    source, place = mixture.source_at(position, weights)
    assert place == counts[source]
    counts[source] += 1
    for number, weight in enumerate(weights):
      exact = (position + 1) * weight / total
      assert abs(counts[number] - exact) < len(weights)
  assert [counts[i] for i in range(len(weights))] == [4 * w for w in weights]


def test_positions_far_out_follow_the_same_pattern():
  weights, total = (7, 3), 10
  for position in range(total):
    source, place = mixture.source_at(position, weights)
    far = mixture.source_at(position + 10**9 * total, weights)
    assert far == (source, place + 10**9 * weights[source])
