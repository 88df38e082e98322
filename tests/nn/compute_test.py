"""The names of the configs are those that the blocks know."""

import jax.numpy as jnp
import pytest

from phenaki_jax.nn.blocks import REMAT_POLICIES
from phenaki_jax.nn.compute import DTYPES, REMATS, check_compute


def test_every_name_is_known_to_the_blocks():
  assert tuple(REMAT_POLICIES) == REMATS
  for dtype in DTYPES:
    assert jnp.dtype(dtype).name == dtype
    for remat in REMATS:
      check_compute(dtype=dtype, remat=remat)


@pytest.mark.parametrize('change', [{'dtype': 'fp16'}, {'remat': 'some'}])
def test_other_names_are_refused(change):
  with pytest.raises(ValueError, match='choose one of'):
    check_compute(**{'dtype': 'float32', 'remat': 'none'} | change)
