"""Stories of a model that a server makes: what is asked for, and what exists.

A job holds a story as it was asked for. This file turns it into a resolved
story, checks it, and knows the keys of its scenes and the files of its film.
"""

import contextlib
import dataclasses
import functools
import json
import pathlib
import shutil
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from phenaki_jax.errors import UserError
from phenaki_jax.media.credentials import Certificate
from phenaki_jax.media.label import label
from phenaki_jax.runs import worlds
from phenaki_jax.runs.model import Model
from phenaki_jax.serving.jobs import FINAL, Job, Jobs
from phenaki_jax.serving.limits import Limits, Programs, check
from phenaki_jax.serving.pictures import Pictures
from phenaki_jax.stories import markup
from phenaki_jax.stories.generate import reads_fps
from phenaki_jax.stories.kept_scenes import KeptScenes
from phenaki_jax.stories.recall import history_slots
from phenaki_jax.stories.remarks import Remark
from phenaki_jax.stories.seeds import reroll, scene_keys
from phenaki_jax.stories.story import Story, build, resolve

FILES = ('mp4', 'gif', 'png', 'json', 'drift.png')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Checked:
  """A story that the server would make.

  Attributes:
    values: as asked for, of a story file.
    story: the resolved story.
    remarks: limits of the model that affect it.
  """

  values: Mapping[str, Any]
  story: Story
  remarks: tuple[Remark, ...]


class Studio:
  """The stories of one data folder, and the model that makes them."""

  def __init__(
    self,
    model: Model,
    folder: pathlib.Path,
    limits: Limits,
    *,
    labelled: bool = True,
    marked: bool = False,
    certificate: Certificate | None = None,
  ):
    """Open the jobs in a folder, which the caller has locked.

    Raises:
      UserError: the jobs in it are of another model.
    """
    self.model, self.limits, self.labelled = model, limits, labelled
    self.marked, self.certificate = marked, certificate
    self.folder = folder
    self.kept = KeptScenes(folder / 'scenes')
    self.kept.folder.mkdir(parents=True, exist_ok=True)
    self.kept.sweep()
    for part in folder.glob('films/*/.story-*.part-*'):
      shutil.rmtree(part)  # A killed server was writing it.
    self.jobs = Jobs(folder / 'jobs.sqlite')
    self._programs = Programs(limits.programs, model.defaults.settings)
    self.pictures = Pictures(self.kept, self.finish)
    self._resolved = functools.lru_cache(maxsize=2048)(self._resolve)
    # Held while jobs are added and while scenes without a job are deleted.
    self._lock = threading.Lock()
    self._making: dict[tuple[str, int], tuple[str, ...]] = {}
    stored = self.jobs.bind(model.fingerprint)
    if stored != model.fingerprint:
      self.jobs.close()
      raise UserError(
        f'the stories in {folder} are of the model {stored[:16]}, not of '
        f'{model.name} ({model.fingerprint[:16]}); give another --data'
      )

  def finish(self, frame: np.ndarray) -> np.ndarray:
    """Return a picture or a frame of a clip, labelled if that is on."""
    return label(frame) if self.labelled else frame

  def parse(self, body: bytes, *, is_yaml: bool = False) -> Checked:
    """Read and check a story file.

    Raises:
      UserError: it is no story, or beyond a limit of the server or the model.
    """
    try:
      text = body.decode('utf-8-sig')
    except UnicodeDecodeError as error:
      raise UserError('the story is not UTF-8 text') from error
    read = markup.read_yaml if is_yaml else markup.read_json
    return self.check(read(text)[0])

  def check(self, values: Any) -> Checked:
    """Check the values of a story file.

    Raises:
      UserError: see `parse`.
    """
    story = resolve(build(values), self.model.defaults)
    check(story, self.limits, self.model.defaults)
    self._programs.check(story)
    if self.model.sampler.models.generator.critic == 'none' and any(
      story.settings(scene).order == 'critic' for scene in story.scenes
    ):
      raise UserError("order is 'critic', but the model has no critic")
    return Checked(
      values=dict(values), story=story, remarks=self.model.remarks(story)
    )

  def example(self) -> Mapping[str, Any] | None:
    """Return a story of words that the model saw; None if none is known."""
    world = worlds.name_world(self.model.subset, self.model.words)
    if world is None:
      return None
    with contextlib.suppress(UserError):  # It may be beyond the limits.
      checked = self.check(worlds.EXAMPLES[world])
      if not any(remark.unknown for remark in checked.remarks):
        return checked.values
    return None

  def submit(
    self, checked: Checked, details: Mapping[str, Any] | None = None
  ) -> Job:
    """Add a job; the oldest ended ones are removed if there are too many.

    Raises:
      BusyError: too many stories wait.
    """
    with self._lock:
      self._programs.check(checked.story)
      job = self.jobs.add(
        checked.values,
        seconds=self.limits.seconds,
        most=self.limits.queue,
        details=details,
      )
      self._programs.add(checked.story)
    if removed := self.jobs.remove_ended(self.limits.stories):
      for identifier in removed:
        self._remove_film(identifier)
      self._clean()
    return job

  def change(self, job: Job, values: Any) -> Job:
    """Replace the story of a job; finished scenes of it are used again.

    Raises:
      UserError: the new story is refused, or was changed at the same time.
      BusyError: too many stories wait.
    """
    checked = self.check(values)
    with self._lock:
      self._programs.check(checked.story)
      changed = self.jobs.change_story(
        job.id,
        checked.values,
        revision=job.revision,
        seconds=self.limits.seconds,
        most=self.limits.queue,
      )
      self._programs.add(checked.story)
    return changed

  def append(self, job: Job, scenes: Any) -> Job:
    """Add scenes to the end of the story of a job; see `change`."""
    if not isinstance(scenes, list) or not scenes:
      raise UserError(
        f'scenes is {markup.shorten(scenes)}; give a list of scenes'
      )
    return self.change(
      job, {**job.story, 'scenes': [*job.story['scenes'], *scenes]}
    )

  def roll(self, job: Job, number: int) -> Job:
    """Give a scene (from 1) another seed; see `change`."""
    story = reroll(self.story(job), [number])
    scenes = [dict(scene) for scene in job.story['scenes']]
    scenes[number - 1]['seed'] = story.scenes[number - 1].seed
    return self.change(job, {**job.story, 'scenes': scenes})

  def remove(self, identifier: str) -> None:
    """Remove a job, its film, and scenes that no other story has.

    Raises:
      NotFoundError: there is no such job.
    """
    self.jobs.cancel(identifier)
    self.jobs.remove(identifier)
    self._remove_film(identifier)
    self._clean()

  def _remove_film(self, identifier: str) -> None:
    shutil.rmtree(self.folder / 'films' / identifier, ignore_errors=True)

  @contextlib.contextmanager
  def making(self, job: Job) -> Iterator[None]:
    """Keep the scenes of a job while a thread makes it."""
    with self._lock:
      self._making[job.id, job.attempt] = self.keys(job)
    try:
      yield
    finally:
      with self._lock:
        del self._making[job.id, job.attempt]
        self.kept.shrink(
          self.limits.scene_bytes, set[str]().union(*self._making.values())
        )

  def story(self, job: Job) -> Story:
    """Return the resolved story of a job."""
    return self.resolved(job)[0]

  def keys(self, job: Job) -> tuple[str, ...]:
    """Return the key of each scene of a job."""
    return self.resolved(job)[1]

  def remarks(self, job: Job) -> tuple[Remark, ...]:
    """Return the remarks on the story of a job."""
    return self.resolved(job)[2]

  def resolved(
    self, job: Job
  ) -> tuple[Story, tuple[str, ...], tuple[Remark, ...]]:
    """Return the story of a job, the keys of its scenes, and its remarks.

    Raises:
      UserError: this version or this model refuses the story.
    """
    return self._resolved(json.dumps(job.story))

  def shape(self, story: Story, number: int) -> tuple[int, ...]:
    """Return the shape of the frames of a scene, from 0."""
    assert story.size is not None
    return (story.scenes[number].frames or 0, *story.size, 3)

  def film(self, job: Job, suffix: str = 'mp4') -> pathlib.Path:
    """Return the path of a file of the film, which may not exist yet."""
    folder = self.folder / 'films' / job.id
    return folder / f'story-{job.revision}.{suffix}'

  def describe(self, job: Job) -> dict[str, Any]:
    """Return a job as JSON values for clients.

    A job that cannot be resolved any more has no frames, scenes and remarks.
    """
    story: Story | None = None
    remarks: tuple[Remark, ...] = ()
    with contextlib.suppress(UserError):
      story, _, remarks = self.resolved(job)
    base = f'/v1/stories/{job.id}'
    files = {}
    if job.status == 'done':
      files = {
        suffix: f'{base}/film.{suffix}'
        for suffix in FILES
        if self.film(job, suffix).is_file()
      }
    return {
      'id': job.id,
      'status': job.status,
      'revision': job.revision,
      'story': job.story,
      'frames': story.num_frames if story else 0,
      'fps': story.fps if story else None,
      'frames_done': job.frames,
      'scenes': [
        {'prompt': scene.prompt, 'frames': scene.frames, 'seed': scene.seed}
        for scene in (story.scenes if story else ())
      ],
      'remarks': [one.to_json() for one in remarks],
      'error': job.error or None,
      'created': job.created,
      'changed': job.changed,
      'events': f'{base}/events',
      'files': files,
      'is_final': job.status in FINAL,
    }

  def _clean(self) -> None:
    """Delete scenes that no story has."""
    with self._lock:
      keys: set[str] = set()
      for job in self.jobs.newest(limit=10**9):
        with contextlib.suppress(UserError):
          keys.update(self.keys(job))
      self.kept.keep_only(keys.union(*self._making.values()))

  def _resolve(
    self, text: str
  ) -> tuple[Story, tuple[str, ...], tuple[Remark, ...]]:
    story = resolve(build(json.loads(text)), self.model.defaults)
    sampler = self.model.sampler
    keys = scene_keys(
      story,
      self.model.provenance,
      slots=history_slots(sampler),
      reads_fps=reads_fps(sampler),
    )
    return story, tuple(keys), self.model.remarks(story)
