"""Ask the C library for huge pages.

A compiled step takes its scratch memory anew each time, and the kernel clears
every page of it at the first touch. With pages of 2 MB in place of 4 KB, a
training step on a CPU takes about three quarters of the time; compare

    python benchmarks/step.py
    GLIBC_TUNABLES=glibc.malloc.hugetlb=0 python benchmarks/step.py

The variable of the second line is also how `phenaki` does without. It takes
glibc 2.35 or newer (others ignore it) and a kernel that gives huge pages to who
asks (/sys/kernel/mm/transparent_hugepage/enabled is `madvise` or `always`).
glibc reads the setting when a process starts, and only then, so the process has
to start itself anew, once.
"""

import os
import sys
from collections.abc import Mapping

VARIABLE = 'GLIBC_TUNABLES'
_NAME = 'glibc.malloc.hugetlb'


def tunables(environment: Mapping[str, str]) -> str:
  """Return glibc's tunables with huge pages; a choice already made stays."""
  given = environment.get(VARIABLE, '')
  if _NAME in given:
    return given
  return ':'.join(filter(None, (given, f'{_NAME}=1')))


def start_with_huge_pages() -> None:
  """Start this program anew with huge pages, unless it has been asked already.

  Call it before any work is done: the new program begins at the beginning, in
  the same process and with the same arguments.
  """
  wanted = tunables(os.environ)
  if sys.platform != 'linux' or os.environ.get(VARIABLE) == wanted:
    return
  if not sys.executable:
    return  # Python inside another program, which is not ours to start anew.
  os.environ[VARIABLE] = wanted
  os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
