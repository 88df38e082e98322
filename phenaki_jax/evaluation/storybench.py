"""StoryBench (arXiv 2308.11606): its tasks, and the videos that it scores.

A file of tasks is a list of stories of one of three kinds: 'action_exe' (one
prompt, from given frames), 'story_cont' (several prompts, from given frames)
and 'story_gen' (several prompts and the text of a background, from nothing).
The given frames are of arrays at 8 frames per second. Its metrics read one .npz
of each story, whose array `video` holds the samples side by side.
"""

import dataclasses
import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8

from phenaki_jax.errors import NotFoundError, UserError
from phenaki_jax.stories.story import Scene, Story
from phenaki_jax.types import VideoU8

FPS = 8.0
MODES = ('action_exe', 'story_cont', 'story_gen')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
  """One story of StoryBench.

  Attributes:
    name: of the file that is written, unique among the tasks.
    mode: one of `MODES`.
    prompts: its texts.
    frames: number of frames of each prompt.
    background: text of the background; empty if there is none.
    video: path of the array of the real video.
    given: first and last + 1 of the frames that the story starts from.
    truth: first and last + 1 of the real frames of the story; None is the end.
  """

  name: str
  mode: str
  prompts: tuple[str, ...]
  frames: tuple[int, ...]
  background: str
  video: str
  given: tuple[int, int]
  truth: tuple[int, int | None]

  def story(self, *, seed: int) -> Story:
    """Return the story; it starts from the frames of `self.video`, if any.

    The background is told with the first prompt.
    """
    scenes = []
    for number, (text, count) in enumerate(
      zip(self.prompts, self.frames, strict=True)
    ):
      told = f'{text} {self.background}' if number == 0 else text
      start = self.video if number == 0 and self.given[1] else None
      scenes.append(Scene(prompt=told, frames=count, start=start))
    return Story(scenes=tuple(scenes), fps=FPS, seed=seed)

  def given_frames(self, video: VideoU8) -> np.ndarray:
    """Return the frames that the story starts from."""
    return self._part(video, self.given)

  def true_frames(self, video: VideoU8) -> np.ndarray:
    """Return the real frames of the story, without those that were given."""
    first, stop = self.truth
    part = self._part(video, (max(first, self.given[1]), stop))
    return part[: sum(self.frames)]

  def _part(self, video: VideoU8, places: tuple[int, int | None]) -> np.ndarray:
    first, stop = places
    part = video[first:stop]
    if stop is not None and len(part) < stop - first:
      raise UserError(
        f'{self.video} has {len(video)} frames, but {self.name} needs {stop}; '
        'take the videos of StoryBench at 8 frames per second'
      )
    return part


def read_tasks(path: str | os.PathLike[str]) -> tuple[Task, ...]:
  """Read a file of tasks as StoryBench publishes it.

  Raises:
    NotFoundError: there is no such file.
    UserError: it is no such file; names the entry.
  """
  path = pathlib.Path(path)
  if not path.is_file():
    raise NotFoundError(
      f'there is no file {path}; name a file of tasks of StoryBench, such as '
      'story_cont.json'
    )
  try:
    entries = json.loads(path.read_text('utf-8'))
  except ValueError as error:
    raise UserError(f'{path} is not JSON: {error}') from error
  if not isinstance(entries, list) or not entries:
    raise UserError(f'{path} holds no list of tasks')
  tasks = []
  for number, entry in enumerate(entries, 1):
    try:
      tasks.append(_task(entry))
    except (KeyError, TypeError, ValueError) as error:
      raise UserError(f'{path}, task {number}: {error}') from error
  names = [task.name for task in tasks]
  if len(set(names)) < len(names):
    tasks = [
      dataclasses.replace(task, name=f'{number:05d}_{task.name}')
      for number, task in enumerate(tasks, 1)
    ]
  return tuple(tasks)


def _task(entry: Any) -> Task:
  mode = entry['storybench_mode']
  if mode not in MODES:
    raise ValueError(f'unknown storybench_mode {mode!r}')
  texts, frames = entry['texts'], entry['exact_frames_per_prompt']
  if not len(texts) == len(frames) > 0:
    raise ValueError(f'{len(texts)} texts, but the lengths of {len(frames)}')
  first, stop = entry['npz_video_start_frame'], entry['npz_video_end_frame']
  if mode == 'story_gen' and stop:
    raise ValueError(f'story_gen starts from {stop} frames; it starts from 0')
  if not 0 <= first <= stop:
    raise ValueError(f'the given frames are {first} to {stop}')
  return Task(
    name=entry['comment'].replace('/', '_'),
    mode=mode,
    prompts=tuple(texts),
    frames=tuple(int(count) for count in frames),
    background=entry['background'] or '',
    video=entry['npz_video'],
    given=(first, stop),
    truth=(entry['npz_gt_video_start_frame'], entry['npz_gt_video_end_frame']),
  )


def side_by_side(
  samples: Sequence[VideoU8],
) -> UInt8[np.ndarray, 'frames height width 3']:
  """Join the samples of a story as StoryBench reads them: along the width."""
  return np.concatenate(list(samples), axis=2)
