"""Start copies of this process, which are killed or end on their own.

What a run needs is imported once. A copy starts JAX by itself, which the first
process never does, so that a run begins within a fraction of a second.
"""

import dataclasses
import mmap
import os
import pathlib
import signal
import sys
import time
from collections.abc import Callable, Iterator

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'tests' / 'training'))

import toy  # noqa: E402

from phenaki_jax.training import loop  # noqa: E402
from phenaki_jax.training.checkpoints import Checkpoints  # noqa: E402

__all__ = ['Child', 'Phase', 'same', 'train', 'toy']

LIMIT = 300.0  # seconds that a child may take


class Phase:
  """A word that a child writes, and that is still there when it is killed."""

  def __init__(self) -> None:
    """Share some memory with the children to come."""
    self._memory = mmap.mmap(-1, 64)

  def set(self, word: str) -> None:
    """Replace the word."""
    self._memory[:] = word.encode().ljust(64)

  def get(self) -> str:
    """Return the word."""
    return self._memory[:].decode().strip()


@dataclasses.dataclass
class Child:
  """A copy of this process."""

  pid: int

  @classmethod
  def start(cls, call: Callable[[], int], log: pathlib.Path) -> 'Child':
    """Run a function in a copy, whose output goes to a file."""
    sys.stdout.flush()
    pid = os.fork()
    if pid:
      return cls(pid)
    code = 1
    try:
      with log.open('a') as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
      code = call()
    except SystemExit as error:
      code = error.code
    except BaseException:
      import traceback

      traceback.print_exc()
    finally:
      sys.stderr.flush()
      sys.stdout.flush()
      os._exit(code)

  def wait(self, seconds: float = LIMIT) -> int | None:
    """Return the exit code, negative for a signal; None if it still runs."""
    end = time.monotonic() + seconds
    while True:
      pid, status = os.waitpid(self.pid, os.WNOHANG)
      if pid:
        return os.waitstatus_to_exitcode(status)
      if time.monotonic() > end:
        return None
      time.sleep(0.005)

  def kill(self, number: int = signal.SIGKILL) -> None:
    """Send a signal."""
    os.kill(self.pid, number)


def train(
  folder: pathlib.Path,
  phase: Phase,
  *,
  steps: int,
  pause: float = 0.0,
  hit: str = '',
) -> int:
  """Train the toy model of the tests; say in which phase it is.

  Args:
    folder: the run directory.
    phase: is told 'start', 'compile', 'load N', 'step N', 'save N', 'write N'
      and 'evaluate N'.
    steps: the length of the run.
    pause: seconds that every batch takes to load.
    hit: a phase in which the process sends SIGTERM to itself.
  """

  def say(word: str) -> None:
    phase.set(word)
    if word == hit:
      os.kill(os.getpid(), signal.SIGTERM)

  class Task(toy.ToyTask):
    def loss(self, *args, **kwargs):
      # Only traced, while the step is compiled.
      say('compile')
      return super().loss(*args, **kwargs)

  class Told(Checkpoints):
    def save(self, step, *args):
      say(f'save {step}')
      super().save(step, *args)
      say(f'write {step}')

  class Sampler(toy.Sampler):
    def run(self, step, state):
      for name, value in super().run(step, state):
        say(f'evaluate {step}')
        yield name, value

  def stream(start: int) -> Iterator:
    for step, batch in enumerate(toy.batches(start), start):
      say(f'load {step + 1}')
      time.sleep(pause)
      yield batch
      say(f'step {step + 1}')

  say('start')
  loop.Checkpoints = Told
  return toy.train(
    folder, steps=steps, stream=stream, task=Task(), evaluators=[Sampler()]
  )


def same(folder: pathlib.Path, other: pathlib.Path, step: int) -> int:
  """Return 0 if two runs are the same, bit for bit; print what differs."""
  import jax
  import numpy as np

  from phenaki_jax.training.checkpoints import load_params

  found = [
    [r for r in toy.records(f) if 'train/loss' in r] for f in (folder, other)
  ]
  if found[0] != found[1]:
    print('the records differ')
    return 1
  if toy.content(folder, step) != toy.content(other, step):
    print('the manifests differ')
    return 1
  one, two = (load_params(f).params for f in (folder, other))
  jax.tree.map(np.testing.assert_array_equal, one, two)
  left = [
    path
    for path in folder.rglob('*')
    if 'tmp' in path.name or '.part-' in path.name
  ]
  if left:
    print(f'left over: {left}')
    return 1
  return 0
