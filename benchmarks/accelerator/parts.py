"""Run the parts one after the other, each in a process with a time limit.

A part cannot take the time or the memory of the next, and what it printed
before it failed is kept. The process of the next part starts early and imports
jax, but does not touch the device before the part before it has ended.
"""

import dataclasses
import json
import pathlib
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

SCRIPT = pathlib.Path(__file__).resolve().parents[1] / 'gpu.py'
# Seconds of the part in which it should end by itself, before it is ended.
_GRACE = 8.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part:
  """A part of the benchmark.

  Attributes:
    name: its name.
    seconds: its time limit, start included.
    least: seconds below which it would mean nothing, and is left out.
  """

  name: str
  seconds: float
  least: float


PARTS = (
  Part(name='matmul', seconds=30, least=15),
  Part(name='train paper_1p8b', seconds=110, least=50),
  Part(name='sampler', seconds=130, least=50),
  Part(name='train base', seconds=60, least=35),
  Part(name='train paper_0p9b', seconds=80, least=45),
)
"""All parts, those of most value first."""


def run(
  parts: Sequence[Part],
  *,
  size: str,
  minutes: float,
  write: Callable[[dict[str, Any]], None],
  log: Any,
) -> None:
  """Run parts while there is time, and write what they yield.

  Args:
    parts: in the order in which they run.
    size: a name of `shapes.SHAPES`.
    minutes: for all of them; parts that do not fit any more are left out.
    write: gets the results as they come, each with its part.
    log: open file for the messages of the parts.
  """
  end = time.monotonic() + 60 * minutes
  waiting = _start(parts[0], size, log) if parts else None
  for number, part in enumerate(parts):
    process = waiting
    assert process is not None
    following = parts[number + 1 : number + 2]
    left = end - time.monotonic()
    if left < part.least:
      process.kill()
      process.wait()
      reason = f'left out: {left:.0f} s were left, and it needs {part.least:g}'
      write({'part': part.name, 'left_out': reason})
      waiting = _start(following[0], size, log) if following else None
      continue
    began, seconds = time.monotonic(), min(part.seconds, left)
    # The last part may use all the time that is left.
    if not following:
      seconds = left
    _go(process, seconds - _GRACE)
    waiting = _start(following[0], size, log) if following else None
    for result in _results(process, seconds):
      write({'part': part.name, **result})
    spent = time.monotonic() - began
    ended: dict[str, Any] = {'part': part.name, 'part_s': spent}
    if process.returncode:
      ended['failed'] = (
        f'ended at its limit of {seconds:.0f} s'
        if process.returncode < 0
        else f'exit code {process.returncode}; see the log'
      )
    write(ended)


def _start(part: Part, size: str, log: Any) -> subprocess.Popen:
  return subprocess.Popen(
    [sys.executable, str(SCRIPT), 'part', part.name, '--size', size],
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    stderr=log,
    text=True,
  )


def _go(process: subprocess.Popen, seconds: float) -> None:
  assert process.stdin is not None
  try:
    process.stdin.write(f'{max(seconds, 1.0)}\n')
    process.stdin.close()
  except BrokenPipeError:
    pass  # It ended already; its exit code says so.


def _results(
  process: subprocess.Popen, seconds: float
) -> Iterator[dict[str, Any]]:
  """Yield the results of a process, which is killed at its limit."""
  timer = threading.Timer(seconds, process.kill)
  timer.start()
  try:
    assert process.stdout is not None
    for line in process.stdout:
      if line.startswith('{'):
        yield json.loads(line)
    process.wait()
  finally:
    timer.cancel()
