"""The names that configs allow are those that the blocks implement."""

import typing

import jax.numpy as jnp
import pytest

from phenaki_jax.nn.blocks import REMAT_POLICIES
from phenaki_jax.nn.config import TransformerConfig


def test_names_are_those_of_the_blocks():
  allowed = typing.get_type_hints(TransformerConfig)
  assert tuple(REMAT_POLICIES) == typing.get_args(allowed['remat'])
  for dtype in typing.get_args(allowed['dtype']):
    assert jnp.dtype(dtype).name == dtype


def test_the_heads_must_divide_the_width():
  assert TransformerConfig(width=48, num_heads=3).head_dim == 16
  with pytest.raises(ValueError, match='width 50 must be a multiple'):
    TransformerConfig(width=50, num_heads=3)
