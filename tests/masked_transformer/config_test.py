"""The shape of a generator, and the errors for invalid shapes."""

import pytest

from phenaki_jax.masked_transformer.config import SIZES, GeneratorConfig


@pytest.mark.parametrize(
  ('field', 'sentence'),
  [
    (
      {'positions': 'sine'},
      "positions is 'sine', but it must be 'rotary' or 'learned'",
    ),
    (
      {'width': 30, 'num_heads': 4},
      'width 30 must be a multiple of num_heads 4',
    ),
    ({'code_levels': (8, 8)}, 'make 64 codes, but codebook_size is 8192'),
    ({'remat': 'some'}, "remat is 'some'"),
  ],
)
def test_invalid_shape_raises(field, sentence):
  with pytest.raises(ValueError, match=sentence):
    GeneratorConfig(**field)


@pytest.mark.parametrize('name', SIZES)
def test_every_size_builds_with_heads_wide_enough_for_three_axes(name):
  config = GeneratorConfig(**SIZES[name])
  assert config.width // config.num_heads >= 6
