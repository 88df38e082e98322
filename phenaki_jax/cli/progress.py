"""Where progress bars are shown."""

import os
import sys


def is_shown() -> bool:
  """Say whether a bar has a reader: a terminal, and no wish for silence.

  tqdm reads TQDM_DISABLE itself, but not where `disable` is given.
  """
  wish = os.environ.get('TQDM_DISABLE', '').lower()
  return sys.stderr.isatty() and wish in ('', '0', 'false', 'no')
