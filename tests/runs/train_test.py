"""What a run says about huge pages, and the processes that it joins."""

import logging
import platform
import sys

import pytest

from phenaki_jax.runs import train

IS_GLIBC = sys.platform == 'linux' and platform.libc_ver()[0] == 'glibc'


@pytest.mark.skipif(not IS_GLIBC, reason='the setting is of glibc')
@pytest.mark.parametrize(
  ('given', 'is_logged'),
  [
    (None, True),
    ('glibc.pthread.rseq=0', True),
    ('glibc.malloc.hugetlb=1', False),
    ('glibc.pthread.rseq=0:glibc.malloc.hugetlb=0', False),
  ],
)
def test_cpu_run_without_huge_pages_says_how_to_get_them(
  monkeypatch, caplog, given, is_logged
):
  monkeypatch.delenv('GLIBC_TUNABLES', raising=False)
  if given is not None:
    monkeypatch.setenv('GLIBC_TUNABLES', given)
  with caplog.at_level(logging.INFO, 'phenaki_jax'):
    train.log_missing_huge_pages()
  assert ('GLIBC_TUNABLES=glibc.malloc.hugetlb=1' in caplog.text) == is_logged


def test_single_process_joins_none_and_is_the_first(monkeypatch):
  monkeypatch.delenv('PHENAKI_COORDINATOR', raising=False)
  with train.joined_processes() as is_first:
    assert is_first
