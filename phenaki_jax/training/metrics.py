"""Metrics as sums and counts, so that averages are exact.

A mean of means is wrong if batches, parts of batches or hosts differ in size.
Steps therefore return sums and counts, which are added up over parts, hosts and
steps, and divided once, when they are logged.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Shaped


@struct.dataclass
class Mean:
  """A weighted sum and the sum of its weights."""

  sum: Any
  count: Any

  @classmethod
  def of(
    cls,
    values: Shaped[Array, '...'],
    where: Shaped[Array, '...'] | None = None,
  ) -> 'Mean':
    """Return the mean of an array, with optional weights of the same shape."""
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
        old = total[name]
        mean = Mean(sum=old.sum + mean.sum, count=old.count + mean.count)
      total[name] = mean
  return total


def fetched(metrics: Metrics) -> dict[str, Mean]:
  """Copy metrics to the host as float64, for exact sums over many steps."""
  return {
    name: Mean(sum=float(mean.sum), count=float(mean.count))
    for name, mean in jax.device_get(dict(metrics)).items()
  }


def finalise(metrics: Metrics) -> dict[str, float]:
  """Return the averages; a metric with count 0 is left out."""
  return {
    name: float(mean.sum) / float(mean.count)
    for name, mean in sorted(metrics.items())
    if float(mean.count) != 0
  }
