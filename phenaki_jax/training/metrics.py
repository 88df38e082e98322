"""Keep metrics as sums and counts, so that averages are exact.

A mean of means is wrong as soon as batches, parts of batches or hosts differ in
size. Steps therefore return sums and counts; they are added up wherever they
meet, and divided once, when they are written.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Shaped


@struct.dataclass
class Mean:
  """Hold a weighted sum and the weight that went into it."""

  sum: Any
  count: Any

  @classmethod
  def of(
    cls,
    values: Shaped[Array, '...'],
    where: Shaped[Array, '...'] | None = None,
  ) -> 'Mean':
    """Average an array, weighted if weights of its shape are given."""
    values = jnp.asarray(values, jnp.float32)
    if where is None:
      return cls(sum=values.sum(), count=jnp.float32(values.size))
    weights = jnp.asarray(where, jnp.float32)
    return cls(sum=(values * weights).sum(), count=weights.sum())


Metrics = Mapping[str, Mean]


def merge(*parts: Metrics) -> dict[str, Mean]:
  """Add up metrics by name; a name may be missing from some of them."""
  total: dict[str, Mean] = {}
  for part in parts:
    for name, mean in part.items():
      if name in total:
        have = total[name]
        mean = Mean(sum=have.sum + mean.sum, count=have.count + mean.count)
      total[name] = mean
  return total


def fetched(metrics: Metrics) -> dict[str, Mean]:
  """Bring metrics to the host as float64, in which steps are added up."""
  return {
    name: Mean(sum=float(mean.sum), count=float(mean.count))
    for name, mean in jax.device_get(dict(metrics)).items()
  }


def finalise(metrics: Metrics) -> dict[str, float]:
  """Divide; a metric of which nothing was counted is left out."""
  return {
    name: float(mean.sum) / float(mean.count)
    for name, mean in sorted(metrics.items())
    if float(mean.count) != 0
  }
