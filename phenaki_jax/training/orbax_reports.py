"""What Orbax and TensorStore print about a failed write.

A failed save raises a CheckpointError with the cause in a sentence. Orbax logs
the same cause with stack traces, and leaves tasks and callbacks behind that are
reported later, even after it was closed: by asyncio's logger, by
`sys.excepthook` and by `sys.unraisablehook`.
"""

import functools
import logging
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any


@functools.cache
def silence() -> None:
  """Keep these reports from the terminal until the process ends."""
  logging.getLogger('absl').addFilter(_is_no_stack_of_orbax)
  logging.getLogger('asyncio').addFilter(_is_no_task_of_orbax)
  sys.unraisablehook = functools.partial(_unraisable, sys.unraisablehook)
  sys.excepthook = functools.partial(_exception, sys.excepthook)


def _is_no_stack_of_orbax(record: logging.LogRecord) -> bool:
  # It also warns of parts of arrays that are smaller than it would choose.
  is_of_parts = 'target_byte_size too small' in record.getMessage()
  return not ('orbax' in record.pathname and (record.exc_info or is_of_parts))


def _is_no_task_of_orbax(record: logging.LogRecord) -> bool:
  message = record.getMessage()
  return not ('never retrieved' in message and 'checkpoints/' in message)


def _unraisable(report: Callable[[Any], Any], event: Any) -> None:
  if not _is_late_callback(event.exc_value, event.exc_traceback):
    report(event)


def _exception(
  report: Callable[..., Any],
  kind: type[BaseException],
  error: BaseException,
  trace: TracebackType | None,
) -> None:
  if not _is_late_callback(error, trace):
    report(kind, error, trace)


def _is_late_callback(
  error: BaseException | None, trace: TracebackType | None
) -> bool:
  """Return True if TensorStore's threads called a loop that is closed.

  The trace then begins in asyncio, because the caller is no Python code.
  """
  return (
    str(error) == 'Event loop is closed'
    and trace is not None
    and trace.tb_frame.f_code.co_name == 'call_soon_threadsafe'
  )
