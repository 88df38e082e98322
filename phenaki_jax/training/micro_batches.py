"""The gradients of a batch, computed in micro-batches.

The random choices that make the rows of a batch are made for the whole batch,
and every micro-batch divides its sums by the counts of the whole batch. The sum
of their gradients is then the gradient of the whole batch.

In the canonical mode a micro-batch is computed on one device, by the same
program on every number of devices, and their gradients are added as the leaves
of a binary tree. What a device computes otherwise, it computes from whole
arrays like every other device. So the result does not depend on their number.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from phenaki_jax import sharding
from phenaki_jax.errors import UserError
from phenaki_jax.training.metrics import Mean
from phenaki_jax.training.state import Task

Gradients = Callable[
  [Any, Any, Any, Key[Array, '']], tuple[Any, dict[str, Mean]]
]
"""Maps (parameters, frozen arrays, batch, key) to gradients and metrics."""

Each = Callable[[Callable[[Any], Any], Any], Any]
"""Applies a function of a batch of examples to all of them, in parts."""

_AXES = sharding.RULES['batch']


@dataclasses.dataclass(frozen=True, kw_only=True)
class Divided:
  """A batch in micro-batches.

  Attributes:
    parts: a tree of arrays whose first dimension is that of micro-batches.
    totals: what the sums of the loss are divided by, over the whole batch.
  """

  parts: Any
  totals: Mapping[str, Array]


@runtime_checkable
class Divisible(Protocol):
  """A task whose loss can be computed in micro-batches."""

  def divided(
    self,
    frozen: Any,
    batch: Any,
    rng: Key[Array, ''],
    *,
    parts: int,
    ways: int,
    each: Each,
  ) -> Divided:
    """Divide a batch.

    Args:
      frozen: the arrays of `Task.frozen`.
      batch: see `data.spec`.
      rng: key of the random choices.
      parts: number of micro-batches.
      ways: among how many devices a micro-batch is divided.
      each: for what is computed of every example.
    """
    ...

  def part_loss(
    self,
    params: Any,
    frozen: Any,
    part: Any,
    rng: Key[Array, ''],
    totals: Mapping[str, Array],
  ) -> tuple[Float[Array, ''], dict[str, Mean]]:
    """Compute what a micro-batch adds to the loss and to the metrics."""
    ...


def check_divisible(task: Task) -> None:
  """Raise unless the gradients of a task can be computed in micro-batches.

  Raises:
    UserError: if it is trained against an opponent, keeps statistics, or has a
      loss term that is no sum over the examples of a batch.
  """
  if task.undivided:
    raise UserError(
      'train.accumulate and train.canonical cannot divide the batch of a '
      f'{type(task).__name__} with {task.undivided}, whose loss term is of a '
      'whole batch; set train.accumulate=1 and train.canonical=False, or '
      f'{task.undivided.partition("=")[0]}=0'
    )
  apart = (*task.opponents, *task.statistics)
  if isinstance(task, Divisible) and not apart:
    return
  kept = ', '.join(apart) or 'its own gradients'
  raise UserError(
    f'train.accumulate and train.canonical cannot divide the batch of a '
    f'{type(task).__name__} with {kept}, whose values are of a whole batch; '
    'set train.accumulate=1 and train.canonical=False, or losses.adversarial=0 '
    'and no renewal of codes'
  )


def split(tree: Any, parts: int, *, ways: int = 1) -> Any:
  """Split the first dimension of arrays into micro-batches.

  Args:
    tree: of arrays [ways * parts * n, ...].
    parts: number of micro-batches.
    ways: among how many devices the first dimension is divided, each of which
      keeps its own part of every micro-batch.

  Returns:
    The tree, of arrays [parts, ways * n, ...].
  """

  def one(x: Array) -> Array:
    x = x.reshape(ways, parts, -1, *x.shape[1:]).swapaxes(0, 1)
    x = x.reshape(parts, -1, *x.shape[3:])
    return sharding.constrain(x, None, 'batch', *[None] * (x.ndim - 2))

  return jax.tree.map(one, tree)


def join(tree: Any, *, ways: int = 1) -> Any:
  """Undo `split`."""

  def one(x: Array) -> Array:
    x = x.reshape(x.shape[0], ways, -1, *x.shape[2:]).swapaxes(0, 1)
    return x.reshape(-1, *x.shape[3:])

  return jax.tree.map(one, tree)


def gradients_of(task: Task, *, parts: int, canonical: bool) -> Gradients:
  """Return the function that computes the gradients of a batch.

  Args:
    task: what is trained.
    parts: number of micro-batches.
    canonical: see `training.config.TrainConfig`; the function is then one for
      `on_every_device`.

  Raises:
    UserError: see `check_divisible`.
  """
  if parts == 1 and not canonical:
    return task.gradients
  check_divisible(task)

  def of_part(
    params: Any, frozen: Any, part: Any, key: Any, totals: Any
  ) -> tuple[Any, dict[str, Mean]]:
    found: Any = jax.grad(task.part_loss, has_aux=True)(  # type: ignore[attr-defined]
      params, frozen, part, key, totals
    )
    return found

  def accumulated(
    params: Any, frozen: Any, batch: Any, rng: Any
  ) -> tuple[Any, dict[str, Mean]]:
    ways = sharding.current_batch_ways()

    def each(function: Callable[[Any], Any], batch: Any) -> Any:
      pieces = split(batch, parts, ways=ways)
      return join(jax.lax.map(function, pieces), ways=ways)

    divided = task.divided(  # type: ignore[attr-defined]
      frozen, batch, rng, parts=parts, ways=ways, each=each
    )

    def add(total: Any, item: Any) -> tuple[Any, None]:
      index, part = item
      key = jax.random.fold_in(rng, index)
      found = of_part(params, frozen, part, key, divided.totals)
      return jax.tree.map(jnp.add, total, found), None

    first = jax.tree.map(lambda x: x[0], divided.parts)
    shapes = jax.eval_shape(of_part, params, frozen, first, rng, divided.totals)
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    items = jnp.arange(parts), divided.parts
    total, _ = jax.lax.scan(add, zeros, items)
    return total

  def canonical_sum(
    params: Any, frozen: Any, batch: Any, rng: Any
  ) -> tuple[Any, dict[str, Mean]]:
    devices = jax.lax.axis_size(_AXES)
    count = parts // devices
    first = jnp.int32(jax.lax.axis_index(_AXES) * count)

    def each(function: Callable[[Any], Any], batch: Any) -> Any:
      own = _mapped(function, split(batch, parts), first, count)
      gathered = jax.tree.map(
        lambda x: jax.lax.all_gather(x, _AXES, tiled=True), own
      )
      return join(gathered)

    divided = task.divided(  # type: ignore[attr-defined]
      frozen, batch, rng, parts=parts, ways=1, each=each
    )

    def one(item: Any) -> Any:
      index, part = item
      key = jax.random.fold_in(rng, index)
      return of_part(params, frozen, part, key, divided.totals)

    items = jnp.arange(parts), divided.parts
    own = _mapped(one, items, first, count)
    return _tree_sum(own, devices)

  return canonical_sum if canonical else accumulated


def on_every_device(function: Callable[..., Any]) -> Callable[..., Any]:
  """Return a function that every device computes on whole arrays.

  Each device runs the program of a single one. The function may exchange values
  over the axes of the batch; its results must be equal everywhere.
  """
  return jax.shard_map(
    function,
    in_specs=jax.sharding.PartitionSpec(),
    out_specs=jax.sharding.PartitionSpec(),
    check_vma=False,
  )


def _mapped(
  function: Callable[[Any], Any],
  items: Any,
  first: Int[Array, ''],
  count: int,
) -> Any:
  """Apply a function to `count` items from a first one on.

  The turns are a loop whose length the compiler does not know: it would make
  another program of a single turn.
  """
  first = jax.lax.optimization_barrier(first)

  def item(index: Any) -> Any:
    return jax.tree.map(
      lambda x: jax.lax.dynamic_index_in_dim(x, index, keepdims=False), items
    )

  def turn(index: Any, results: Any) -> Any:
    found = function(item(index))
    return jax.tree.map(
      lambda all, x: all.at[index - first].set(x), results, found
    )

  shapes = jax.eval_shape(lambda: function(item(0)))
  zeros = jax.tree.map(lambda x: jnp.zeros((count, *x.shape), x.dtype), shapes)
  return jax.lax.fori_loop(first, first + count, turn, zeros)


def _tree_sum(tree: Any, devices: int) -> Any:
  """Add the entries of all devices' arrays as leaves of one binary tree."""

  def add(x: Array) -> Array:
    while x.shape[0] > 1:
      x = x[0::2] + x[1::2]
    total, distance = x[0], 1
    while distance < devices:
      pairs = [(index, index ^ distance) for index in range(devices)]
      # Both partners add the same two numbers.
      total = total + jax.lax.ppermute(total, _AXES, pairs)
      distance *= 2
    return total

  return jax.tree.map(add, tree)
