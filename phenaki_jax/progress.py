"""Progress bars of commands, and where they are shown."""

import os
import sys
from typing import Any

import tqdm


def is_shown() -> bool:
  """Say whether a bar has a reader: a terminal, and no wish for silence.

  tqdm reads TQDM_DISABLE itself, but not where `disable` is given.
  """
  wish = os.environ.get('TQDM_DISABLE', '').lower()
  return sys.stderr.isatty() and wish in ('', '0', 'false', 'no')


def bar(*, total: int, unit: str, desc: str) -> Any:
  """Open a bar over `total` units; one that stays silent without a reader."""
  return tqdm.tqdm(total=total, unit=unit, desc=desc, disable=not is_shown())
