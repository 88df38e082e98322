"""The checksums of a checkpoint, added up from what each process holds.

No process needs to see an array whole. A process adds up the words of its own
shards (`files.digests.sum_block`), and the sums of all processes add up to the
checksum of the array, which is the same on any mesh and any number of
processes. When a checkpoint is read, every process checks each shard that it
holds: copies of a shard must agree, and their sums must add up to the checksum
that was saved.
"""

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict
from jax.experimental import multihost_utils

from phenaki_jax.files.digests import sum_block

# By the path of an array, and by the start and shape of a block: its sum.
Sums = dict[str, dict[str, int]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Block:
  """A part of an array in the memory of this host.

  Attributes:
    path: the name of the array.
    shape: the shape of the whole array.
    start: the place of the first element in the array.
    content: the elements.
  """

  path: str
  shape: tuple[int, ...]
  start: tuple[int, ...]
  content: np.ndarray


def held_blocks(
  items: Mapping[str, Any], *, every_copy: bool
) -> Iterator[Block]:
  """Copy the shards of this process to the host, without copies of a shard.

  Args:
    items: nested dicts of arrays.
    every_copy: also yield shards of which another process holds the first
      copy. Otherwise exactly one process yields each shard.
  """
  for path, leaf in sorted(flatten_dict(dict(items), sep='/').items()):
    if not isinstance(leaf, jax.Array):
      content = np.asarray(leaf)
      start = (0,) * content.ndim
      if every_copy or jax.process_index() == 0:
        shape = content.shape
        yield Block(path=path, shape=shape, start=start, content=content)
      continue
    seen = set()
    for shard in leaf.addressable_shards:
      start = tuple(part.start or 0 for part in shard.index)
      if start in seen or (shard.replica_id and not every_copy):
        continue
      seen.add(start)
      content = np.asarray(shard.data)
      yield Block(path=path, shape=leaf.shape, start=start, content=content)


def sum_blocks(blocks: Sequence[Block]) -> Sums:
  """Return the sum of each block."""
  sums: Sums = {}
  for block in blocks:
    name = json.dumps([block.start, block.content.shape])
    sums.setdefault(block.path, {})[name] = sum_block(
      block.content, shape=block.shape, start=block.start
    )
  return sums


def check_finite(blocks: Sequence[Block]) -> None:
  """Raise if a number is not finite.

  Raises:
    ValueError: naming the array.
  """
  for block in blocks:
    is_float = jax.numpy.issubdtype(block.content.dtype, np.floating)
    if is_float and not np.isfinite(block.content).all():
      raise ValueError(f'{block.path} holds numbers that are not finite')


def add_up(parts: Sequence[Sums], shapes: Mapping[str, Any]) -> dict[str, str]:
  """Return the checksum of every array, from the sums of all processes.

  Args:
    parts: of each process.
    shapes: the shape of each array, by its path.

  Raises:
    ValueError: if copies of a block differ, or an array is not whole.
  """
  sums: Sums = {path: {} for path in shapes}
  for part in parts:
    for path, blocks in part.items():
      for name, value in blocks.items():
        if sums[path].setdefault(name, value) != value:
          raise ValueError(f'copies of {path} differ')
  for path, blocks in sums.items():
    sizes = [math.prod(json.loads(name)[1]) for name in blocks]
    if sum(sizes) != math.prod(shapes[path]):
      raise ValueError(f'the parts of {path} do not make it whole')
  return {
    path: f'{sum(blocks.values()) % 2**64:016x}'
    for path, blocks in sums.items()
  }


def exchange(value: Any) -> list[Any]:
  """Return the JSON values of all processes; all must call this together."""
  if jax.process_count() == 1:
    return [value]
  content = np.frombuffer(json.dumps(value).encode(), np.uint8)
  sizes = multihost_utils.process_allgather(np.int32(content.size))
  padded = np.zeros(int(np.max(sizes)), np.uint8)
  padded[: content.size] = content
  rows = multihost_utils.process_allgather(padded)
  return [
    json.loads(row[:size].tobytes())
    for row, size in zip(rows, sizes, strict=True)
  ]
