"""The names that configs allow are those that the blocks implement."""

import typing

import jax.numpy as jnp

from phenaki_jax.nn.blocks import REMAT_POLICIES
from phenaki_jax.nn.compute import Dtype, Remat


def test_names_are_those_of_the_blocks():
  assert tuple(REMAT_POLICIES) == typing.get_args(Remat)
  for dtype in typing.get_args(Dtype):
    assert jnp.dtype(dtype).name == dtype
