"""Progress bars, and where they are shown."""

import os
import sys
from collections.abc import Iterable
from typing import Any

import tqdm


def is_shown(stream: Any = None) -> bool:
  """Return whether bars are shown: on a terminal and in a notebook.

  The environment variable TQDM_DISABLE turns them off.

  Args:
    stream: where the bar is drawn; standard error by default.
  """
  # tqdm ignores TQDM_DISABLE when it is given `disable`.
  setting = os.environ.get('TQDM_DISABLE', '').lower()
  stream = sys.stderr if stream is None else stream
  is_notebook = type(stream).__module__.startswith('ipykernel')
  is_visible = is_notebook or stream.isatty()
  return is_visible and setting in ('', '0', 'false', 'no')


def bar(
  items: Iterable[Any] | None = None,
  *,
  total: int | None,
  unit: str,
  desc: str | None = None,
  initial: int = 0,
  stream: Any = None,
) -> Any:
  """Return a tqdm bar over `total` units; it is silent unless `is_shown`."""
  return tqdm.tqdm(
    items,
    total=total,
    unit=unit,
    desc=desc,
    initial=initial,
    file=stream,
    disable=not is_shown(stream),
  )
