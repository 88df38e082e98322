"""A process that times one call after another, when it is told to.

It reads the name of a case per line and answers with a line of JSON. Between
two lines it sleeps, so that the other side has the machine to itself.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any


def take_output() -> Any:
  """Keep standard output for answers; what libraries print goes elsewhere."""
  answers = os.fdopen(os.dup(1), 'w')
  os.dup2(2, 1)
  return answers


def timed(call: Callable[[], None]) -> dict[str, float]:
  """Run a call and measure wall and CPU seconds, those of all threads."""
  cpu, wall = time.process_time(), time.perf_counter()
  call()
  return {
    'seconds': time.perf_counter() - wall,
    'cpu_seconds': time.process_time() - cpu,
  }


def serve(
  cases: dict[str, Callable[[], None]], facts: dict[str, Any], answers: Any
) -> None:
  """Warm every case up, say so, then time whatever is asked for.

  Args:
    cases: what can be asked for. A call ends when its result is there.
    facts: what the first answer tells beside the seconds of the first calls.
    answers: from `take_output`.
  """
  first = {}
  for name, call in cases.items():
    first[name] = timed(call)['seconds']
    call()
  _answer(answers, {**facts, 'first_call_seconds': first})
  for line in sys.stdin:
    _answer(answers, timed(cases[line.strip()]))


def _answer(answers: Any, answer: dict[str, Any]) -> None:
  print(json.dumps(answer), file=answers, flush=True)
