"""Names of chips and pods."""

import pytest

from phenaki_jax.errors import UserError
from phenaki_jax.planning import chips


@pytest.mark.parametrize(
  ('topology', 'expected'),
  [
    ('v4:4x4x8', ('v4', 128)),
    ('v5p:4x4x4', ('v5p', 64)),
    ('v5e:16x16', ('v5e', 256)),
    ('v6e:8x8', ('v6e', 64)),
  ],
)
def test_a_topology_is_a_chip_and_the_sides_of_a_pod(topology, expected):
  assert chips.split_topology(topology) == expected


@pytest.mark.parametrize('topology', ['v4', 'v4:8', 'h100:2x2', 'v9:2x2', ''])
def test_what_is_no_topology_is_refused(topology):
  with pytest.raises(UserError, match='give a TPU .*such as v4:4x4x8'):
    chips.split_topology(topology)


def test_an_unknown_chip_is_refused():
  assert chips.chip('v4').peak == 275e12
  with pytest.raises(UserError, match="no chip 'v7'; name one of v4"):
    chips.chip('v7')
