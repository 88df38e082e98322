"""Signals set a flag, and the previous handlers are restored."""

import os
import signal

import pytest

from phenaki_jax.training.preemption import StopFlag


@pytest.mark.parametrize(
  'number', [signal.SIGTERM, signal.SIGHUP, signal.SIGINT]
)
def test_signal_sets_the_flag(number, caplog):
  before = signal.getsignal(number)
  with StopFlag() as stop:
    assert not stop and not stop.agreed()
    os.kill(os.getpid(), number)
    assert stop and stop.agreed()
  assert signal.getsignal(number) is before
  assert f'{number.name}: saving, then exiting' in caplog.text


def test_a_second_ctrl_c_does_not_wait():
  with pytest.raises(KeyboardInterrupt), StopFlag():
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGINT)


def test_sighup_that_nohup_ignores_stays_ignored():
  before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
  try:
    with StopFlag() as stop:
      os.kill(os.getpid(), signal.SIGHUP)
    assert not stop
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
  finally:
    signal.signal(signal.SIGHUP, before)


def test_sigterm_may_come_twice():
  with StopFlag() as stop:
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGTERM)
  assert stop
