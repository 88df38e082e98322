import pytest

from phenaki_jax.training.seen import seen

BATCH = {'clips': 6, 'images': 2}
TOKENS = {'clips': 80, 'images': 16}


def test_examples_and_tokens_add_up_over_the_steps():
  assert seen(BATCH, 10, TOKENS) == {
    'clips_seen': 60,
    'images_seen': 20,
    'image_share': 0.25,
    'tokens_seen': 10 * (6 * 80 + 2 * 16),
    'image_token_share': pytest.approx(2 * 16 / (6 * 80 + 2 * 16)),
  }


@pytest.mark.parametrize(('part', 'share'), [('clips', 0.0), ('images', 1.0)])
def test_one_part_alone_is_all_or_nothing(part, share):
  values = seen({part: BATCH[part]}, 1, TOKENS)
  assert values['image_share'] == values['image_token_share'] == share


def test_a_model_without_tokens_counts_examples_alone():
  assert set(seen(BATCH, 1, {})) == {'clips_seen', 'images_seen', 'image_share'}
