"""The one thread that uses the device: clips of several stories at a time.

Requests that can share a program wait a moment for each other, and are padded
to an allowed batch size, so that only a few programs are compiled. Only the
tokens are sampled as a batch; contexts are encoded and tokens decoded one by
one, because a batch would round some pixels differently. A seed thus gives the
same video alone and in a batch, up to the rounding of matrix products, which on
accelerators can depend on the batch size and change a token that is drawn.
"""

import concurrent.futures
import contextlib
import dataclasses
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence

import jax
import numpy as np

from phenaki_jax.errors import UserError
from phenaki_jax.sampling.config import SamplingSettings
from phenaki_jax.sampling.history import History
from phenaki_jax.sampling.sampler import Sampler
from phenaki_jax.serving.limits import BusyError
from phenaki_jax.stories.generate import reads_fps
from phenaki_jax.stories.recall import history_slots

_LOG = logging.getLogger(__name__)
_ENDS = 'the server stops; try again later'


@dataclasses.dataclass(frozen=True, kw_only=True)
class WarmUp:
  """The clips that most requests ask for; they are compiled at the start.

  Attributes:
    size: height and width in pixels.
    settings: how to sample.
    context_frames: K.
  """

  size: tuple[int, int]
  settings: SamplingSettings
  context_frames: int


Observe = Callable[[int, int, float], None]
"""Takes the requests of a batch, its padded size and its seconds."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Request:
  prompt: str
  seed: int
  size: tuple[int, int]
  settings: SamplingSettings
  context: np.ndarray | None
  result: concurrent.futures.Future[np.ndarray]
  history: History | None = None
  fps: float | int | None = None

  @property
  def group(self) -> object:
    """Return what requests of one batch have in common."""
    shape = None if self.context is None else self.context.shape
    return self.size, self.settings, shape, self.history is None, self.fps


class Batcher:
  """Makes clips like its sampler; `clips` may be called from any thread.

  Attributes:
    ready: is set when the programs of `warm_up` are compiled.
  """

  def __init__(
    self,
    sampler: Sampler,
    *,
    sizes: Sequence[int] = (1, 2, 4),
    wait: float = 0.005,
    waiting: int = 64,
    warm_up: WarmUp | None = None,
    observe: Observe = lambda requests, size, seconds: None,
    failed: Callable[[BaseException], None] = lambda error: None,
  ):
    """Start the thread.

    Args:
      sampler: makes the clips.
      sizes: allowed batch sizes.
      wait: seconds that a request waits for others.
      waiting: requests that may wait.
      warm_up: what to compile before the first request.
      observe: is called after each batch.
      failed: is called if the thread ends by an error, which is not that of
        one batch: the programs of `warm_up` cannot be compiled.
    """
    if not sizes or min(sizes) < 1:
      raise UserError(f'the batch sizes are {sizes}; give whole numbers from 1')
    self._sampler = sampler
    self._sizes, self._wait = sorted(sizes), wait
    self._observe, self._warm_up = observe, warm_up
    self._failed = failed
    self.ready = threading.Event()
    self._requests: queue.Queue[_Request | None] = queue.Queue(waiting)
    self._later: list[_Request] = []
    self._closing = threading.Event()
    # Held while a request is added, so that none is added after the last one
    # was answered.
    self._lock = threading.Lock()
    self._has_ended = False
    self._thread = threading.Thread(target=self._work, name='device')
    self._thread.daemon = True
    self._thread.start()

  @property
  def clip_frames(self) -> int:
    """Return the length of a clip in frames."""
    return self._sampler.clip_frames

  @property
  def history_slots(self) -> int:
    """Return how many earlier scenes of a story a clip sees."""
    return history_slots(self._sampler)

  @property
  def reads_fps(self) -> bool:
    """Return whether the clips depend on the frame rate."""
    return reads_fps(self._sampler)

  def frames_of(self, num_latent: int) -> int:
    """Return the number of frames of a number of latent frames."""
    return self._sampler.frames_of(num_latent)

  def clips(
    self,
    prompts: Sequence[str],
    *,
    size: tuple[int, int],
    seeds: Sequence[int],
    settings: SamplingSettings,
    context: np.ndarray | None = None,
    history: History | None = None,
    fps: float | int | None = None,
  ) -> np.ndarray:
    """Sample one clip for each prompt, as `Sampler.clips` does.

    Raises:
      BusyError: too many requests wait, or the thread has ended.
    """
    results = self.submit(
      prompts,
      size=size,
      seeds=seeds,
      settings=settings,
      context=context,
      history=history,
      fps=fps,
    )
    return np.stack([result.result() for result in results])

  def submit(
    self,
    prompts: Sequence[str],
    *,
    size: tuple[int, int],
    seeds: Sequence[int],
    settings: SamplingSettings,
    context: np.ndarray | None = None,
    history: History | None = None,
    fps: float | int | None = None,
  ) -> list[concurrent.futures.Future[np.ndarray]]:
    """Return a future of each clip; see `clips`."""
    results: list[concurrent.futures.Future[np.ndarray]] = []
    for i, (prompt, seed) in enumerate(zip(prompts, seeds, strict=True)):
      request = _Request(
        prompt=prompt,
        seed=seed,
        size=size,
        settings=settings,
        context=None if context is None else context[i],
        history=None if history is None else history.of(i),
        fps=fps,
        result=concurrent.futures.Future(),
      )
      try:
        with self._lock:
          if self._has_ended:
            raise BusyError(_ENDS)
          self._requests.put_nowait(request)
      except (queue.Full, BusyError) as error:
        for result in results:
          result.cancel()
        is_full = isinstance(error, queue.Full)
        words = 'too many clips wait; try again later' if is_full else _ENDS
        raise BusyError(words) from None
      results.append(request.result)
    return results

  def close(self) -> None:
    """End the thread after the requests that wait."""
    self._closing.set()
    # It wakes a thread that waits; if the queue is full, it does not wait.
    with contextlib.suppress(queue.Full):
      self._requests.put_nowait(None)
    self._thread.join()

  def _work(self) -> None:
    try:
      if self._warm_up is not None:
        self._compile(self._warm_up)
      self.ready.set()
      self._serve()
    except BaseException as error:
      _LOG.exception('the thread of the device has ended')
      self._failed(error)
    finally:
      self._refuse_rest()

  def _refuse_rest(self) -> None:
    with self._lock:
      self._has_ended = True
    rest: list[_Request | None] = [*self._later]
    while not self._requests.empty():
      rest.append(self._requests.get_nowait())
    for one in rest:
      if one is not None and one.result.set_running_or_notify_cancel():
        one.result.set_exception(BusyError(_ENDS))

  def _serve(self) -> None:
    while (batch := self._take()) is not None:
      start = time.monotonic()
      # A request that was cancelled before it began is left out.
      live = [one for one in batch if one.result.set_running_or_notify_cancel()]
      if not live:
        continue
      size = next(n for n in self._sizes if n >= len(live))
      try:
        frames = self._make(live, size)
      except BaseException as error:
        for one in live:
          one.result.set_exception(error)
        continue
      self._observe(len(live), size, time.monotonic() - start)
      for one, clip in zip(live, frames, strict=True):
        one.result.set_result(clip)

  def _compile(self, warm_up: WarmUp) -> None:
    blank = np.zeros((warm_up.context_frames, *warm_up.size, 3), np.uint8)
    history, slots = None, self.history_slots
    if slots:
      shape = (1, slots, *warm_up.size, 3)
      history = History(frames=np.zeros(shape, np.uint8), captions=((),))
    for size in self._sizes:
      for context in (None, blank):
        one = _Request(
          prompt='',
          seed=0,
          size=warm_up.size,
          settings=warm_up.settings,
          context=context,
          history=history,
          result=concurrent.futures.Future(),
        )
        self._make([one] * size, size)

  def _take(self) -> list[_Request] | None:
    """Wait for a request, and collect others of its group."""
    first = self._later.pop(0) if self._later else None
    while first is None:
      if self._closing.is_set() and self._requests.empty():
        return None
      first = self._requests.get()
    most, until = self._sizes[-1], time.monotonic() + self._wait
    batch = [first]
    for other in list(self._later):
      if other.group == first.group and len(batch) < most:
        self._later.remove(other)
        batch.append(other)
    while len(batch) < most:
      left = until - time.monotonic()
      if self._closing.is_set():
        left = 0.0  # Only those that are there already.
      elif left <= 0:
        break
      try:
        one = self._requests.get(timeout=left)
      except queue.Empty:
        break
      if one is None:
        break
      if one.group == first.group:
        batch.append(one)
      else:
        self._later.append(one)
    return batch

  def _make(self, batch: Sequence[_Request], size: int) -> list[np.ndarray]:
    first, sampler = batch[0], self._sampler
    rows = [
      sampler.given(
        None if one.context is None else one.context[None],
        size=first.size,
        batch=1,
        history=one.history,
      )
      for one in batch
    ]
    missing = size - len(batch)
    padded = [*batch, *[batch[-1]] * missing]
    given = jax.tree.map(
      lambda *parts: np.concatenate(parts), *rows, *[rows[-1]] * missing
    )
    state = sampler.uncover(
      [one.prompt for one in padded],
      ids=given.ids,
      known=given.known,
      conditions=given.conditions,
      seeds=[one.seed for one in padded],
      settings=first.settings,
      fps=first.fps,
    )
    tokens = np.asarray(state.ids).reshape(given.ids.shape)
    return [sampler.decode(tokens[i : i + 1])[0] for i in range(len(batch))]
