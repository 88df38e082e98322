"""One range in, one range out, and nothing else by accident."""

import jax.numpy as jnp
import numpy as np
import pytest

from phenaki_jax.pixels import normalise, to_uint8


def test_the_ends_of_the_range():
  pixels = jnp.array([[0, 255]], jnp.uint8)
  np.testing.assert_array_equal(normalise(pixels), [[-1.0, 1.0]])
  assert normalise(pixels).dtype == jnp.float32


def test_every_value_survives_the_way_there_and_back():
  values = np.arange(256, dtype=np.uint8).reshape(4, 8, 8)
  back = to_uint8(normalise(jnp.asarray(values)))
  assert back.dtype == jnp.uint8
  np.testing.assert_array_equal(back, values)


def test_values_are_rounded_and_clipped():
  step = 1 / 127.5
  values = jnp.array([-7.0, -1.0 + 0.6 * step, -1.0 + 0.4 * step, 1.5])
  np.testing.assert_array_equal(to_uint8(values), [0, 1, 0, 255])


def test_bfloat16_is_widened_before_it_is_scaled():
  values = jnp.linspace(-1, 1, 256).astype(jnp.bfloat16)
  exact = np.round((np.asarray(values, np.float32) + 1) * 127.5)
  np.testing.assert_array_equal(to_uint8(values), exact)


@pytest.mark.parametrize('dtype', [jnp.int32, jnp.float32, jnp.int8])
def test_pixels_of_another_type_are_refused(dtype):
  with pytest.raises((ValueError, TypeError), match='uint8|UInt8'):
    normalise(jnp.zeros((2, 2, 3), dtype))
