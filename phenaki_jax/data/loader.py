"""Iterate over the batches of steps; threads load some of them ahead."""

import abc
import sys
import weakref
from collections.abc import Callable
from typing import Any

import grain

from phenaki_jax.data import config as config_lib
from phenaki_jax.errors import UserError

# Seconds after which a thread must let another one run. A decoder gives up the
# interpreter for a fraction of a millisecond per frame, and would wait for
# Python's 5 ms to get it back while another thread is busy.
# `python benchmarks/loader.py` prints the frames per second with both.
_SWITCH_INTERVAL = 1e-4


class Loader(abc.ABC):
  """Loads the batch of each step, ahead of time and in order.

  Attributes:
    config: the examples, and the numbers of threads and of batches ahead.
    fingerprint: hash of all that determines the batches.
  """

  fingerprint: str

  def __init__(self, config: config_lib.DataConfig):
    """Load nothing yet."""
    self.config = config
    self._open: weakref.WeakSet[grain.DatasetIterator] = weakref.WeakSet()

  @abc.abstractmethod
  def batch(self, step: int) -> Any:
    """Return this process' rows of the global batch of `step`."""

  @abc.abstractmethod
  def describe(self, latent_frames: int) -> str:
    """Describe the composition of the batches, for the log.

    Args:
      latent_frames: latent frames of a clip; 0 for a model without tokens.
    """

  def iterate(self, start_step: int = 0) -> grain.DatasetIterator[Any]:
    """Return an infinite iterator from `start_step` on; close it after use."""
    return self.ahead(self.batch, start_step)

  def ahead(
    self,
    load: Callable[[int], Any],
    start_step: int,
    stop_step: int = sys.maxsize,
  ) -> grain.DatasetIterator[Any]:
    """Return an iterator over `load(step)`; threads call it ahead of time."""
    if start_step < 0:
      raise UserError(f'start_step is {start_step}; it must not be negative')
    threads, ahead = self.config.num_threads, self.config.prefetch
    if not threads or not ahead:
      threads, ahead = 0, 0
    if threads > 1:
      sys.setswitchinterval(min(sys.getswitchinterval(), _SWITCH_INTERVAL))
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=ahead)
    steps = grain.MapDataset.range(start_step, stop_step)
    iterator = iter(steps.map(load).to_iter_dataset(options))
    self._open.add(iterator)
    return iterator

  def close(self) -> None:
    """Stop the threads of all open iterators."""
    for iterator in list(self._open):
      iterator.close()
