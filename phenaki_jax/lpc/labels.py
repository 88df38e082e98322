"""Facts as class labels: 0 is absent, and 1 + i is the i-th value."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Int

from phenaki_jax.lpc import facts as facts_lib

ABSENT = 0
UNKNOWN = -1  # a fact that is not given, which no loss counts
NUM_CLASSES = {
  name: 1 + len(values) for name, values in facts_lib.VALUES.items()
}


def encode(facts: Mapping[str, str | None]) -> Int[np.ndarray, ' facts']:
  """Return the label of each of `facts.FACT_NAMES`.

  Args:
    facts: values by name. None is absent; a name that is left out is unknown.
  """
  labels = np.full(len(facts_lib.FACT_NAMES), UNKNOWN, np.int32)
  for index, name in enumerate(facts_lib.FACT_NAMES):
    if name in facts:
      value = facts[name]
      values = facts_lib.VALUES[name]
      labels[index] = ABSENT if value is None else 1 + values.index(value)
  return labels


def value(fact: str, label: int | np.integer) -> str | None:
  """Return the value of a label of `fact`; None is absent."""
  return None if label == ABSENT else facts_lib.VALUES[fact][label - 1]
