"""Progress bars of commands, and where they are shown."""

import os
import sys
from typing import Any

import tqdm


def is_shown() -> bool:
  """Return whether bars are shown: on a terminal and in a notebook.

  The environment variable TQDM_DISABLE turns them off. tqdm itself reads it
  only where `disable` is not given.
  """
  wish = os.environ.get('TQDM_DISABLE', '').lower()
  is_notebook = type(sys.stderr).__module__.startswith('ipykernel')
  return (sys.stderr.isatty() or is_notebook) and wish in (
    '',
    '0',
    'false',
    'no',
  )


def bar(*, total: int, unit: str, desc: str) -> Any:
  """Open a bar over `total` units; one that stays silent without a reader."""
  return tqdm.tqdm(total=total, unit=unit, desc=desc, disable=not is_shown())
