"""Invalid sizes of the text encoder raise an error that names the field."""

import pytest

from phenaki_jax.text.config import TextConfig


@pytest.mark.parametrize(
  'field, value',
  [
    ('vocab_size', 3),
    ('width', 0),
    ('num_layers', 0),
    ('num_heads', -1),
    ('head_dim', 0),
    ('mlp_dim', 0),
    ('max_length', 0),
    ('dropout', 1.0),
    ('dropout', -0.1),
    ('relative_buckets', 6),
    ('relative_buckets', 0),
    ('relative_max_distance', 8),
  ],
)
def test_invalid_size_raises(field, value):
  with pytest.raises(ValueError, match=f'{field} is {value}, but it must'):
    TextConfig(**{field: value})
