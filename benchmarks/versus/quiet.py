"""Whether anything else runs on this machine.

A loaded box once made the peer look 19 times slower than it is: it waits for
all its threads at every operation, and one late thread holds up the others.
"""

import os
import pathlib
import time

STAT = pathlib.Path('/proc/stat')
# Cores that others may keep busy: what an idle system does by itself.
LIMIT_CORES = 0.1


def busy_seconds(stat: str) -> float:
  """Add up the seconds that the CPUs were busy, from text like /proc/stat's.

  Time stolen by other virtual machines counts as busy; waiting does not.
  """
  user, nice, system, _, _, irq, softirq, stolen = map(
    int, stat.split('\n', 1)[0].split()[1:9]
  )
  ticks = user + nice + system + irq + softirq + stolen
  return ticks / os.sysconf('SC_CLK_TCK')


class Watch:
  """Measure how many cores others keep busy, over one span or several.

  Where there is no /proc/stat, the load average stands in, which also counts
  what was here before.
  """

  def __init__(self) -> None:
    """Begin with nothing seen."""
    self.wall = 0.0
    self.busy = 0.0
    self._own = 0.0
    self._start = (0.0, 0.0)

  def __enter__(self) -> 'Watch':
    """Begin a span."""
    self._start = (time.perf_counter(), self._now())
    return self

  def __exit__(self, *exception: object) -> None:
    """End the span."""
    wall, busy = self._start
    self.wall += time.perf_counter() - wall
    self.busy += self._now() - busy

  def own(self, seconds: float) -> None:
    """Take off CPU seconds that were our own."""
    self._own += seconds

  @property
  def others(self) -> float:
    """Return the cores that others kept busy."""
    if not STAT.exists():
      return os.getloadavg()[0]
    return max(0.0, self.busy - self._own) / max(self.wall, 1e-9)

  @staticmethod
  def _now() -> float:
    return busy_seconds(STAT.read_text()) if STAT.exists() else 0.0


def others(seconds: float) -> float:
  """Sleep, and return how many cores others kept busy meanwhile."""
  with Watch() as watch:
    time.sleep(seconds)
  return watch.others


def wait(limit_seconds: float) -> float:
  """Wait for a quiet machine; return how many cores are still busy."""
  end = time.monotonic() + limit_seconds
  while (cores := others(3.0)) > LIMIT_CORES and time.monotonic() < end:
    time.sleep(10.0)
  return cores
