"""The machine: what it is, how fast it is, and random parameters on it."""

import datetime
import importlib.metadata
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

from accelerator.shapes import Shapes
from phenaki_jax.planning.chips import CHIPS

PACKAGES = ('jax', 'jaxlib', 'flax', 'optax')


def device() -> jax.Device:
  """Return the accelerator, or the CPU where there is none."""
  return jax.devices()[0]


def facts() -> dict[str, Any]:
  """Return the card, its driver, the versions and the date."""
  found = device()
  stats = found.memory_stats() or {}
  return {
    'date': datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds'),
    'card': found.device_kind,
    'platform': found.platform,
    'driver': _driver(),
    'python': platform.python_version(),
    **{name: importlib.metadata.version(name) for name in PACKAGES},
    'memory_gib': _gib(stats.get('bytes_limit')),
  }


def _driver() -> str:
  """Return what the driver calls the card, and its version."""
  asked = ('nvidia-smi', '--query-gpu=name,driver_version,memory.total')
  try:
    done = subprocess.run(
      [*asked, '--format=csv,noheader'],
      capture_output=True,
      text=True,
      timeout=20,
      check=True,
    )
  except (OSError, subprocess.SubprocessError):
    return 'none'
  return done.stdout.strip()


def datasheet_rate() -> float | None:
  """Return the operations per second in bfloat16 by the datasheet."""
  kind = device().device_kind.lower()
  return next((c.peak for name, c in CHIPS.items() if name in kind), None)


def peak_gib() -> float | None:
  """Return the most memory that this process has used on the device."""
  return _gib((device().memory_stats() or {}).get('peak_bytes_in_use'))


def _gib(size: int | None) -> float | None:
  return None if size is None else round(size / 2**30, 2)


def seconds_of(
  call: Callable[[], Any], *, least: int, limit: float
) -> list[float]:
  """Time calls one by one, each until its results exist.

  Args:
    call: what is timed; call it once before.
    least: number of calls.
    limit: seconds after which no more than `least` calls are made.
  """
  found: list[float] = []
  while len(found) < least or sum(found) < limit:
    began = time.perf_counter()
    jax.block_until_ready(call())
    found.append(time.perf_counter() - began)
  return found


def rates(shapes: Shapes, seconds: float) -> Iterator[dict[str, Any]]:
  """Yield the rate of a large matmul in bfloat16, and that of a copy."""
  side, burst = shapes.matmul, 10
  keys = jax.random.split(jax.random.key(0))
  left, right = (
    jax.random.normal(key, (side, side), jnp.bfloat16) for key in keys
  )
  product = jax.jit(jnp.matmul)

  def several() -> Any:
    # The host queues them, so that the device never waits.
    return [product(left, right) for _ in range(burst)]

  jax.block_until_ready(several())
  found = seconds_of(several, least=3, limit=min(2.0, seconds / 4))
  yield {
    'matmul': side,
    'matmul_rate': burst * 2 * side**3 / statistics.median(found),
    'datasheet_rate': datasheet_rate(),
  }
  array = jax.random.normal(keys[0], (shapes.copied // 2,), jnp.bfloat16)
  add = jax.jit(lambda x: x + 1)
  jax.block_until_ready(add(array))
  found = seconds_of(lambda: add(array), least=5, limit=min(0.5, seconds / 8))
  yield {'copy_rate': 2 * shapes.copied / statistics.median(found)}


def random_params(described: Any, seed: int, dtype: Any = jnp.float32) -> Any:
  """Draw parameters on the device; call it under `jax.jit`.

  No matrix is zero, as some are at initialisation: products of zeros take less
  power, and a card is then faster than in training.

  Args:
    described: shapes of the parameters.
    seed: of the random numbers.
    dtype: of the parameters.
  """
  leaves, tree = jax.tree_util.tree_flatten_with_path(described)
  # The generator of the hardware; threefry takes longer to compile.
  keys = jax.random.split(jax.random.key(seed, impl='rbg'), len(leaves))
  drawn = []
  for key, (path, leaf) in zip(keys, leaves, strict=True):
    if getattr(path[-1], 'key', '') == 'scale':
      drawn.append(jnp.ones(leaf.shape, dtype))
    else:
      drawn.append(0.02 * jax.random.normal(key, leaf.shape, dtype))
  return jax.tree_util.tree_unflatten(tree, drawn)


def compile_for(lowered: jax.stages.Lowered) -> tuple[Any, dict[str, Any]]:
  """Compile a program, and say how long it took and what it needs."""
  began = time.perf_counter()
  compiled = lowered.compile()
  return compiled, {'compile_s': time.perf_counter() - began}
