"""A generator's shape, and sentences for what cannot be."""

import pytest

from phenaki_jax.masked_transformer.config import SIZES, GeneratorConfig


@pytest.mark.parametrize(
  ('field', 'sentence'),
  [
    ({'positions': 'sine'}, "unknown positions 'sine'"),
    ({'width': 30, 'num_heads': 4}, 'width 30 is no multiple'),
    ({'remat': 'some'}, "unknown remat 'some'"),
  ],
)
def test_a_shape_that_cannot_be_is_a_sentence(field, sentence):
  with pytest.raises(ValueError, match=sentence):
    GeneratorConfig(**field)


@pytest.mark.parametrize('name', SIZES)
def test_every_size_builds_with_heads_wide_enough_for_three_axes(name):
  config = GeneratorConfig(**SIZES[name])
  assert config.width // config.num_heads >= 6
