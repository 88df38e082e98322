"""The protocol of a worker process, which times calls on request.

The process reads the name of a case per line of standard input and answers with
a line of JSON. Between requests it sleeps, so that the other side has all CPUs.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any


def take_output() -> Any:
  """Return standard output for answers; other output goes to stderr."""
  answers = os.fdopen(os.dup(1), 'w')
  os.dup2(2, 1)
  return answers


def timed(call: Callable[[], None]) -> dict[str, float]:
  """Measure the wall-clock and CPU seconds (all threads) of a call."""
  cpu, wall = time.process_time(), time.perf_counter()
  call()
  return {
    'seconds': time.perf_counter() - wall,
    'cpu_seconds': time.process_time() - cpu,
  }


def serve(
  cases: dict[str, Callable[[], None]], facts: dict[str, Any], answers: Any
) -> None:
  """Warm up all cases, report the facts, then time cases on request.

  Args:
    cases: functions by case; each returns when its result is ready.
    facts: added to the first answer, together with the first calls' seconds.
    answers: the result of `take_output`.
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
