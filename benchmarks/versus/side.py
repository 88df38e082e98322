"""One side as the driver sees it: a process to ask for timings."""

import json
import os
import pathlib
import subprocess
import tempfile
from typing import Any

from phenaki_jax.cli import huge_pages

HERE = pathlib.Path(__file__).resolve().parents[1]


class Side:
  """A worker process, asleep but while it answers.

  Attributes:
    facts: what it told about itself when it was ready.
  """

  def __init__(self, python: str, module: str, arguments: list[str]) -> None:
    """Start it and wait until it is warm.

    Args:
      python: the interpreter.
      module: 'versus.ours' or 'versus.peer'.
      arguments: of the module; the last one is the number of threads.

    Raises:
      ValueError: the interpreter does not start.
      RuntimeError: the process died.
    """
    self._errors = tempfile.TemporaryFile('w+')
    self._module = module
    threads = arguments[-1]
    # jax asks the first one, torch the others.
    counts = ('NPROC', 'OMP_NUM_THREADS', 'MKL_NUM_THREADS')
    environment = {
      **os.environ,
      **dict.fromkeys(counts, threads),
      'JAX_PLATFORMS': 'cpu',
      # As `phenaki` starts itself; it would be unfair to give us alone.
      huge_pages.VARIABLE: huge_pages.tunables(os.environ),
      'HF_HUB_OFFLINE': '1',
    }
    try:
      self._process = subprocess.Popen(
        [python, '-m', module, *arguments],
        cwd=HERE,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=self._errors,
        text=True,
      )
    except OSError as error:
      self._errors.close()
      raise ValueError(f'{python} does not start: {error}') from error
    self.facts = self._answer()

  def time(self, case: str) -> dict[str, float]:
    """Let it make one call, and return what that took."""
    assert self._process.stdin is not None
    print(case, file=self._process.stdin, flush=True)
    return self._answer()

  def close(self) -> None:
    """Let it end."""
    assert self._process.stdin is not None
    assert self._process.stdout is not None
    self._process.stdin.close()
    self._process.wait()
    self._process.stdout.close()
    self._errors.close()

  def _answer(self) -> dict[str, Any]:
    assert self._process.stdout is not None
    line = self._process.stdout.readline()
    if line:
      return json.loads(line)
    code = self._process.wait()
    self._errors.seek(0)
    last = (self._errors.read().strip().splitlines() or ['no message'])[-1]
    self.close()
    raise RuntimeError(f'{self._module} ended with code {code}: {last}')
