"""Ends a process that waits for too long, and says for what.

A loader may stall, and a device waits without end for a process that is gone:
no wait of the training loop has a time limit of its own. The loop tells the
watchdog what it is about to wait for. If nothing else is told for too long, a
thread writes the stacks of all threads and what every process waits for, and
ends the process.
"""

import contextlib
import faulthandler
import json
import os
import sys
import threading
import time

import jax
from etils import epath

from phenaki_jax.files.atomic import replace_file

STALLED = 70
"""The exit code: EX_SOFTWARE of sysexits.h."""


class Watchdog:
  """Watches one process while the context is open."""

  def __init__(self, workdir: epath.PathLike, *, patience: float) -> None:
    """Begin to watch when the context is entered.

    Args:
      workdir: the run directory, in which processes say what they wait for.
      patience: seconds without a word after which the process is ended.
    """
    self._folder = epath.Path(workdir) / '.waiting'
    self._patience = patience
    self._said = ('the start', time.monotonic())
    self._over = threading.Event()
    self._thread = threading.Thread(target=self._watch, daemon=True)

  def __enter__(self) -> 'Watchdog':
    """Start the thread."""
    self._thread.start()
    return self

  def __exit__(self, *error: object) -> None:
    """Stop the thread."""
    self._over.set()
    self._thread.join()

  def wait_for(self, what: str) -> None:
    """Say what this process waits for next."""
    self._said = (what, time.monotonic())

  def _watch(self) -> None:
    # Each process repeats several times per period what it waits for.
    while not self._over.wait(self._patience / 8):
      what, since = self._said
      seconds = time.monotonic() - since
      if jax.process_count() > 1:
        with contextlib.suppress(OSError):
          self._tell(what, seconds)
      if seconds > self._patience:
        self._end(what, seconds)

  def _tell(self, what: str, seconds: float) -> None:
    content = json.dumps([what, round(seconds), time.time()])
    name = f'{jax.process_index()}.json'
    replace_file(self._folder / name, content.encode())

  def _end(self, what: str, seconds: float) -> None:
    try:
      # Where sys.stderr is no file, as in a notebook, that of the process may
      # be one; the process must end in any case.
      with contextlib.suppress(Exception):
        faulthandler.dump_traceback(sys.__stderr__ or sys.stderr)
      print(*self._words(what, seconds), sep='\n', file=sys.stderr, flush=True)
    finally:
      os._exit(STALLED)

  def _words(self, what: str, seconds: float) -> list[str]:
    """Return what is to be said of all processes."""
    lines = [f'Nothing has happened for {seconds:.0f} s: waiting for {what}.']
    for process in range(jax.process_count()):
      if process != jax.process_index():
        lines.append(f'Process {process} {self._of(process)}.')
    lines.append('Ending this process; start the same command again to resume.')
    return lines

  def _of(self, process: int) -> str:
    """Return what another process said last."""
    path = self._folder / f'{process}.json'
    try:
      what, seconds, at = json.loads(path.read_bytes())
    except (OSError, ValueError):
      return 'has said nothing'
    ago = time.time() - at
    if ago > self._patience / 2:
      return f'is silent since {ago:.0f} s; it last waited for {what}'
    return f'waits for {what} since {seconds} s'
