"""What a compiled program needs: memory, donation and collectives.

The compiler's own count of operations is not used: it counts a loop once and a
fused kernel not at all.
"""

import collections
import dataclasses
import math
import re
from typing import Any

_ITEM = re.compile(r'(pred|[suf]\d+|bf16|f8\w*)\[([\d,]*)\]')
_KINDS = (
  *('all-gather', 'all-reduce', 'reduce-scatter', 'all-to-all'),
  'collective-permute',
)
_OPERATION = re.compile(
  rf'= (?P<shape>.*?) (?P<kind>{"|".join(_KINDS)})(?P<start>-start)?\('
)
# A collective that is fused with arithmetic is in several parts of the text.
_CHANNEL = re.compile(r'channel_id=(\d+)')
_CALLED = re.compile(r'(?:body|calls|to_apply)=%?([\w.-]+)')
_CONDITION = re.compile(r'condition=%?([\w.-]+)')
_LIMIT = re.compile(r's32\[\]\S* constant\((\d+)\)')
_HEADER = re.compile(r'^(ENTRY )?%?([\w.-]+) .*\{$')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Memory:
  """Bytes on one chip.

  Attributes:
    arguments: state, batch and frozen parameters.
    results: new state and metrics.
    temporary: everything that lives only in a step.
    aliased: arguments whose memory results reuse.
    peak: the most at any time.
  """

  arguments: int
  results: int
  temporary: int
  aliased: int
  peak: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Collective:
  """Communication of one kind in a run of the program.

  Attributes:
    count: operations, those of a loop in each of its iterations.
    bytes: what they give one chip, in all.
  """

  count: int
  bytes: int


def memory(compiled: Any) -> Memory:
  """Return the memory of a compiled program."""
  found = compiled.memory_analysis()
  return Memory(
    arguments=found.argument_size_in_bytes,
    results=found.output_size_in_bytes,
    temporary=found.temp_size_in_bytes,
    aliased=found.alias_size_in_bytes,
    peak=found.peak_memory_in_bytes,
  )


def collectives(text: str) -> dict[str, Collective]:
  """Count the collectives of a compiled program by kind.

  Args:
    text: the optimised HLO of one device.
  """
  inner: dict[str, list[str]] = {}
  entry = name = ''
  for line in text.splitlines():
    header = _HEADER.match(line)
    if header and not line.startswith('HloModule'):
      name = header[2]
      inner[name] = []
      entry = name if header[1] else entry
    elif name:
      inner[name].append(line)
  counts: collections.Counter[str] = collections.Counter()
  sizes: collections.Counter[str] = collections.Counter()
  channels: set[str] = set()

  def visit(name: str, times: int) -> None:
    for line in inner.get(name, ()):
      found = _OPERATION.search(line)
      channel = _CHANNEL.search(line)
      is_new = channel is None or channel[1] not in channels
      if found and is_new:
        channels.add(channel[1] if channel else '')
        size = _received(found['shape'], is_start=bool(found['start']))
        counts[found['kind']] += times
        sizes[found['kind']] += times * size
      condition = _CONDITION.search(line)
      trips = _trips(inner[condition[1]]) if condition else 1
      for called in _CALLED.findall(line):
        visit(called, times * trips)

  visit(entry, 1)
  return {
    kind: Collective(count=counts[kind], bytes=sizes[kind]) for kind in counts
  }


def _trips(condition: list[str]) -> int:
  """Return the number of iterations of a loop, which counts up from 0."""
  limits = [
    int(found[1]) for line in condition if (found := _LIMIT.search(line))
  ]
  return max(limits, default=1)


def _received(shape: str, *, is_start: bool) -> int:
  """Return the bytes of the arrays of a result.

  The result of an operation that starts one is a tuple of its input and its
  output, of which the larger counts.
  """
  sizes = []
  for dtype, dims in _ITEM.findall(shape):
    bits = 8 if dtype == 'pred' else int(re.findall(r'\d+', dtype)[0])
    number = math.prod(int(dim) for dim in dims.split(',') if dim)
    sizes.append(number * bits // 8)
  return max(sizes, default=0) if is_start else sum(sizes)
