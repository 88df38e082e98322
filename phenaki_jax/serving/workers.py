"""Threads that make the stories of a server, scene by scene.

A finished scene is on disk before the next one begins, and is never made
again: not when the story is changed or extended while it is made, and not when
the server is killed.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from phenaki_jax.errors import NotFoundError, UserError
from phenaki_jax.serving.batcher import Batcher
from phenaki_jax.serving.jobs import Job
from phenaki_jax.serving.limits import BusyError
from phenaki_jax.serving.metrics import Metrics
from phenaki_jax.serving.studio import Studio
from phenaki_jax.stories.generate import Chunk, generate
from phenaki_jax.stories.outputs import StoryFiles, drift_meter

_LOG = logging.getLogger(__name__)
_POLL = 0.05
_PAUSE = 1.0


class _Interrupted(Exception):
  """Unwinds a story; `reason` is 'stopped', 'changed', 'ended' or 'late'."""

  def __init__(self, reason: str):
    super().__init__(reason)
    self.reason = reason


class _Watch:
  """Makes clips, and checks before each whether the story goes on.

  It is asked for a clip only when all scenes before are finished on disk.
  """

  def __init__(self, batcher: Batcher, check: Any):
    self._batcher, self._check = batcher, check

  @property
  def clip_frames(self) -> int:
    return self._batcher.clip_frames

  @property
  def history_slots(self) -> int:
    return self._batcher.history_slots

  @property
  def reads_fps(self) -> bool:
    return self._batcher.reads_fps

  def frames_of(self, num_latent: int) -> int:
    return self._batcher.frames_of(num_latent)

  def clips(self, prompts: Sequence[str], **options: Any) -> np.ndarray:
    while True:
      self._check()
      with contextlib.suppress(BusyError):
        return self._batcher.clips(prompts, **options)
      time.sleep(_POLL)


class Workers:
  """Threads that take jobs, one story each at a time."""

  def __init__(
    self, studio: Studio, batcher: Batcher, metrics: Metrics, *, count: int
  ):
    """Set the number of stories that are made at the same time."""
    self._studio, self._batcher, self._metrics = studio, batcher, metrics
    self._stopping = threading.Event()
    self._threads = [
      threading.Thread(target=self._work, name=f'story-{i}', daemon=True)
      for i in range(count)
    ]

  def start(self) -> None:
    """Start the threads."""
    for thread in self._threads:
      thread.start()

  def stop(self) -> None:
    """Stop after the clips that are being made; stories wait again."""
    self._stopping.set()
    for thread in self._threads:
      thread.join()

  def _work(self) -> None:
    while not self._stopping.is_set():
      try:
        has_made = self._take_turn()
      except Exception:
        # A full disk, for one; it may have room again later.
        _LOG.exception('a story could not be taken or ended')
        self._stopping.wait(_PAUSE)
        continue
      if not has_made:
        self._stopping.wait(_POLL)

  def _take_turn(self) -> bool:
    """Make one story, if one waits; return whether one did."""
    jobs = self._studio.jobs
    job = jobs.take()
    if job is None:
      return False
    _LOG.info('story begins', extra={'story': job.id})
    try:
      self._make(job)
    except NotFoundError:
      pass  # It was deleted.
    except Exception as error:
      _LOG.exception('story failed', extra={'story': job.id})
      # Others may name paths of the server.
      is_for_clients = isinstance(error, UserError)
      self._fail(job, str(error) if is_for_clients else 'internal error')
    self._metrics.ended(jobs.count())
    return True

  def _make(self, job: Job) -> None:
    """Make a story, again from kept scenes whenever it has changed."""
    studio = self._studio
    while True:
      try:
        self._make_revision(job)
      except _Interrupted as stop:
        if stop.reason == 'stopped':
          studio.jobs.release(job)
          return
        if stop.reason == 'late':
          seconds = studio.limits.seconds
          sentence = (
            f'the story was not finished within {seconds:g} seconds; make a '
            'shorter one'
          )
          self._fail(job, sentence)
          return
      now = studio.jobs.get(job.id)
      if now.attempt != job.attempt:
        return  # It was cancelled, and another thread has taken it since.
      if now.revision == job.revision or now.status != 'running':
        _LOG.info('story ends', extra={'story': job.id, 'status': now.status})
        return
      job = now

  def _fail(self, job: Job, error: str) -> None:
    """End a job, whatever its revision is now, unless it was taken again."""
    with contextlib.suppress(NotFoundError):
      now = self._studio.jobs.get(job.id)
      if now.attempt == job.attempt:
        self._studio.jobs.end(now, 'failed', error=error)

  def _make_revision(self, job: Job) -> None:
    studio = self._studio
    story, keys = studio.story(job), studio.keys(job)
    made_by = studio.model.provenance
    place = [0, 0]  # The scene that the next clip belongs to, and its frames.

    def check() -> None:
      if self._stopping.is_set():
        raise _Interrupted('stopped')
      now = studio.jobs.get(job.id)
      if now.status != 'running' or now.attempt != job.attempt:
        raise _Interrupted('ended')
      if time.time() > now.deadline:
        raise _Interrupted('late')
      if now.revision != job.revision:
        scene, frames = place
        # The rest of a scene that the new story has as well is made first.
        if not frames or studio.keys(now)[: scene + 1] != keys[: scene + 1]:
          raise _Interrupted('changed')

    watch = _Watch(self._batcher, check)
    out = studio.film(job)
    out.parent.mkdir(parents=True, exist_ok=True)
    remarks = studio.remarks(job)
    frames = 0
    try:
      with (
        studio.making(job),
        StoryFiles(
          out,
          story,
          made_by=made_by,
          remarks=remarks,
          # Without a judge, which would take time from the device.
          drift=drift_meter(watch, story),
          labelled=studio.labelled,
          marked=studio.marked,
          certificate=studio.certificate,
        ) as files,
        contextlib.ExitStack() as stack,
      ):
        chunks = generate(watch, story, kept=studio.kept, origin=made_by)
        stack.callback(getattr(chunks, 'close', lambda: None))
        for chunk in chunks:
          frames += len(chunk.frames)
          self._show(job, keys, chunk)
          place[:] = chunk.scene, chunk.start + len(chunk.frames)
          if place[1] == story.scenes[chunk.scene].frames:
            place[:] = chunk.scene + 1, 0
          studio.jobs.progress(job, frames)
          files.write(chunk)
          self._metrics.frames.inc(len(chunk.frames))
    finally:
      for key in keys:
        studio.pictures.drop(key, maker=(job.id, job.attempt))
    if studio.jobs.end(job, 'done'):
      self._metrics.seconds.observe(time.time() - job.created)
      self._forget_older(job)

  def _show(self, job: Job, keys: Sequence[str], chunk: Chunk) -> None:
    """Make frames visible to clients; of earlier scenes, the disk is read."""
    pictures, maker = self._studio.pictures, (job.id, job.attempt)
    if chunk.scene and not chunk.start:
      pictures.drop(keys[chunk.scene - 1], maker=maker)
    pictures.add(keys[chunk.scene], chunk.start, chunk.frames, maker=maker)

  def _forget_older(self, job: Job) -> None:
    """Delete the films of earlier revisions."""
    film = self._studio.film(job)
    for path in film.parent.glob('story-*'):
      if path.name.partition('.')[0] != film.stem:
        path.unlink(missing_ok=True)
