"""Numbers that carry the protocol they were measured by.

The same clips give other distances with another network, size, frame rate or
number of clips, so that a number without them compares with nothing. Frames
come as arrays from the models and readers; they are never read again from a
compressed film.
"""

import dataclasses
import logging
import math
from collections.abc import Mapping
from typing import Any

_LOG = logging.getLogger(__name__)

# The smallest number of samples on each side that published numbers use, or
# that the bias of the estimator is small at.
FLOORS = {
  'fid': 10_000,
  'fvd': 2_048,
  'kid': 1_000,
  'kvd': 1_000,
  'is': 10_000,
  'clipsim': 2_990,  # Test clips of MSR-VTT.
  'frame_consistency': 35,  # Edits of Gen-1.
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measure:
  """A number, and what it depends on.

  Attributes:
    name: such as 'fvd@i3d'; the network 'random' has no trained weights.
    value: the number.
    error: its standard error, or standard deviation over repeats as `protocol`
      says; nan if there is none.
    protocol: JSON values: network and checksum of its weights, frames, size,
      frame rate, resizing, samples of both sides, repeats.
  """

  name: str
  value: float
  error: float = math.nan
  protocol: Mapping[str, Any]

  def to_json(self) -> dict[str, Any]:
    """Return it as JSON values."""
    return {
      'name': self.name,
      'value': round(self.value, 6),
      'error': None if math.isnan(self.error) else round(self.error, 6),
      'protocol': dict(self.protocol),
    }


def network_name(network: Mapping[str, Any]) -> str:
  """Return the name of a described network, or 'random' without weights."""
  return str(network['network']) if network.get('weights') else 'random'


def warn_of_few(kind: str, samples: tuple[int, ...]) -> None:
  """Log a warning if a side has fewer samples than the floor of a measure."""
  floor = FLOORS[kind]
  if min(samples) < floor:
    _LOG.warning(
      '%s is of %s samples, fewer than the %d from which on it is usually '
      'reported; compare it only with others of as many.',
      *(kind, ' and '.join(map(str, samples)), floor),
    )
