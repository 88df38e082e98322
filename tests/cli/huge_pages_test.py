"""Huge pages: asked for once, and nothing else about the program changes."""

import os
import subprocess
import sys

import pytest

from phenaki_jax.cli import huge_pages

ASKED = 'glibc.malloc.hugetlb=1'

# Tells who runs before and after, and what it was given.
PROGRAM = """
import os, sys
print('begins', os.getpid(), *sys.argv[1:], flush=True)
from phenaki_jax.cli.huge_pages import start_with_huge_pages
start_with_huge_pages()
print('goes on', os.environ['GLIBC_TUNABLES'])
"""


@pytest.mark.parametrize(
  ('given', 'wanted'),
  [
    ({}, ASKED),
    ({'GLIBC_TUNABLES': ''}, ASKED),
    (
      {'GLIBC_TUNABLES': 'glibc.pthread.rseq=0'},
      f'glibc.pthread.rseq=0:{ASKED}',
    ),
    ({'GLIBC_TUNABLES': 'glibc.malloc.hugetlb=0'}, 'glibc.malloc.hugetlb=0'),
  ],
)
def test_what_is_set_already_stays(given, wanted):
  assert huge_pages.tunables(given) == wanted


@pytest.mark.skipif(sys.platform != 'linux', reason='glibc is on Linux')
@pytest.mark.parametrize(('given', 'starts'), [(None, 2), (ASKED, 1)])
def test_program_starts_anew_once(given, starts):
  environment = {
    k: v for k, v in os.environ.items() if k != huge_pages.VARIABLE
  }
  if given is not None:
    environment[huge_pages.VARIABLE] = given
  done = subprocess.run(
    [sys.executable, '-c', PROGRAM, 'two words', '--flag'],
    env=environment,
    capture_output=True,
    text=True,
    check=True,
  )
  *begun, last = done.stdout.splitlines()
  assert len(begun) == starts
  assert set(begun) == {begun[0]}  # The same process and arguments.
  assert begun[0].endswith(' two words --flag')
  assert last == f'goes on {ASKED}'
