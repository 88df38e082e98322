"""The load of the machine by other processes.

On a busy machine phenaki-pytorch was once measured 19 times slower than it is:
every operation waits for all of its threads.
"""

import os
import pathlib
import time

STAT = pathlib.Path('/proc/stat')
# Cores that an idle system may use.
LIMIT_CORES = 0.1


def busy_seconds(stat: str) -> float:
  """Return the total busy seconds of all CPUs from the text of /proc/stat.

  Time taken by other virtual machines counts as busy; waiting for I/O does not.
  """
  user, nice, system, _, _, irq, softirq, stolen = map(
    int, stat.split('\n', 1)[0].split()[1:9]
  )
  ticks = user + nice + system + irq + softirq + stolen
  return ticks / os.sysconf('SC_CLK_TCK')


class Meter:
  """Measures the cores used by other processes during one or more spans.

  Each `with` block is a span. Without /proc/stat the load average is
  used, which includes the time before the spans.
  """

  def __init__(self) -> None:
    """Create a meter without spans."""
    self.wall = 0.0
    self.busy = 0.0
    self._own = 0.0
    self._start = (0.0, 0.0)

  def __enter__(self) -> 'Meter':
    """Start a span."""
    self._start = (time.perf_counter(), self._now())
    return self

  def __exit__(self, *exception: object) -> None:
    """End the span."""
    wall, busy = self._start
    self.wall += time.perf_counter() - wall
    self.busy += self._now() - busy

  def subtract(self, seconds: float) -> None:
    """Subtract CPU seconds used by the benchmark itself."""
    self._own += seconds

  @property
  def cores(self) -> float:
    """Return the average number of cores used by other processes."""
    if not STAT.exists():
      return os.getloadavg()[0]
    return max(0.0, self.busy - self._own) / max(self.wall, 1e-9)

  @staticmethod
  def _now() -> float:
    return busy_seconds(STAT.read_text()) if STAT.exists() else 0.0


def wait_until_idle(limit_seconds: float) -> float:
  """Wait for an idle machine; return the cores that are still in use."""
  end = time.monotonic() + limit_seconds
  while True:
    with Meter() as meter:
      time.sleep(3.0)
    if meter.cores <= LIMIT_CORES or time.monotonic() >= end:
      return meter.cores
    time.sleep(10.0)
