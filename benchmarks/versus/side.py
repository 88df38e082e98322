"""A worker process of one side of the comparison."""

import json
import os
import pathlib
import subprocess
import tempfile
from typing import Any

HERE = pathlib.Path(__file__).resolve().parents[1]


class Side:
  """A worker process that times calls on request.

  Attributes:
    facts: the facts that the process reported when it was ready.
  """

  def __init__(self, python: str, module: str, arguments: list[str]) -> None:
    """Start the process and wait until it has warmed up.

    Args:
      python: the Python interpreter.
      module: 'versus.ours' or 'versus.peer'.
      arguments: arguments of the module; the last is the number of threads.

    Raises:
      ValueError: the interpreter does not start.
      RuntimeError: the process ended.
    """
    self._errors = tempfile.TemporaryFile('w+')
    self._module = module
    threads = arguments[-1]
    # jax reads the first variable, torch the others.
    counts = ('NPROC', 'OMP_NUM_THREADS', 'MKL_NUM_THREADS')
    environment = {
      # Huge pages for both sides, unless the user decides otherwise.
      'GLIBC_TUNABLES': 'glibc.malloc.hugetlb=1',
      **os.environ,
      **dict.fromkeys(counts, threads),
      'JAX_PLATFORMS': 'cpu',
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
    """Time one call of a case."""
    assert self._process.stdin is not None
    print(case, file=self._process.stdin, flush=True)
    return self._answer()

  def close(self) -> None:
    """End the process."""
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
