import numpy as np
import pytest

from phenaki_jax.lpc import facts as facts_lib
from phenaki_jax.lpc.ground import ground


def test_grounds_repeat_every_32_pixels_and_differ():
  seen = set()
  for place in facts_lib.PLACES:
    image = ground(place, 100)
    assert image.shape == (100, 100, 3)
    np.testing.assert_array_equal(image[32:], image[:-32])
    np.testing.assert_array_equal(image[:, 32:], image[:, :-32])
    assert image.std((0, 1)).max() > 0
    seen.add(image.tobytes())
  assert len(seen) == len(facts_lib.PLACES)


def test_unknown_places_are_refused():
  with pytest.raises(ValueError, match="unknown place 'moon'"):
    ground('moon', 64)
