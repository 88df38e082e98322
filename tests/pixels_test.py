"""Conversion of pixels between uint8 and [-1, 1]."""

import jax.numpy as jnp
import numpy as np
import pytest

from phenaki_jax.pixels import normalise, to_uint8


def test_normalise_maps_0_and_255_to_the_ends_of_the_range():
  pixels = jnp.array([[0, 255]], jnp.uint8)
  np.testing.assert_array_equal(normalise(pixels), [[-1.0, 1.0]])
  assert normalise(pixels).dtype == jnp.float32


def test_to_uint8_undoes_normalise_for_every_value():
  values = np.arange(256, dtype=np.uint8).reshape(4, 8, 8)
  back = to_uint8(normalise(jnp.asarray(values)))
  assert back.dtype == jnp.uint8
  np.testing.assert_array_equal(back, values)


def test_to_uint8_rounds_and_clips():
  step = 1 / 127.5
  values = jnp.array([-7.0, -1.0 + 0.6 * step, -1.0 + 0.4 * step, 1.5])
  np.testing.assert_array_equal(to_uint8(values), [0, 1, 0, 255])


def test_to_uint8_scales_bfloat16_in_float32():
  # 1 - 2**-9 maps to 127.25; in bfloat16 it rounds to 1, which maps to 127.5.
  values = jnp.array([-(2.0**-9)], jnp.bfloat16)
  np.testing.assert_array_equal(to_uint8(values), [127])


@pytest.mark.parametrize('dtype', [jnp.int32, jnp.float32, jnp.int8])
def test_normalise_rejects_other_dtypes(dtype):
  with pytest.raises((ValueError, TypeError), match='uint8|UInt8'):
    normalise(jnp.zeros((2, 2, 3), dtype))
