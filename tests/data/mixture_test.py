import logging

import pytest

from phenaki_jax.data import mixture


def test_shares_are_stated_in_examples_and_in_tokens():
  found = mixture.compose(batch_size=10, image_share=0.2)
  assert (found.num_clips, found.num_images) == (8, 2)
  assert found.realised_image_share == found.requested_image_share == 0.2
  # An image is one latent step, a clip of 11 frames is six.
  assert found.token_share(6) == pytest.approx(2 / (2 + 8 * 6))


@pytest.mark.parametrize('share, images', [(0, 0), (0.05, 0), (0.2, 2), (1, 8)])
def test_what_cannot_be_met_is_rounded_and_stated(share, images, caplog):
  with caplog.at_level(logging.WARNING):
    found = mixture.compose(batch_size=8, image_share=float(share))
  assert found.num_images == images
  assert found.num_clips == 8 - images
  assert found.requested_image_share == share
  assert found.realised_image_share == images / 8
  assert bool(caplog.records) == (share == 0.05)


def test_rows_of_the_processes_are_a_partition():
  rows = [
    row
    for process in range(4)
    for row in mixture.rows_of_process(
      12, part='clips', process_index=process, process_count=4
    )
  ]
  assert rows == list(range(12))


@pytest.mark.parametrize('index, count', [(0, 5), (4, 4), (-1, 4)])
def test_rows_that_cannot_be_divided_are_refused(index, count):
  with pytest.raises(ValueError, match='process'):
    mixture.rows_of_process(
      12, part='clips', process_index=index, process_count=count
    )
