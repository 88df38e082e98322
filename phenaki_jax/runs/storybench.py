"""Make the stories of StoryBench, in the files that its metrics read."""

import dataclasses
import io
import json
import os
import pathlib
from collections.abc import Sequence

import numpy as np
from PIL import Image

from phenaki_jax import progress
from phenaki_jax.data import transforms
from phenaki_jax.errors import NotFoundError, UserError
from phenaki_jax.evaluation import storybench
from phenaki_jax.evaluation.storybench import Task
from phenaki_jax.files.atomic import replace_file
from phenaki_jax.files.paths import local_path
from phenaki_jax.runs.model import Model
from phenaki_jax.stories.generate import generate
from phenaki_jax.stories.seeds import candidate_seed
from phenaki_jax.stories.story import resolve
from phenaki_jax.types import VideoU8

STAMP = 'phenaki.json'
"""What the stories of a folder were made with."""


def make_stories(
  model: Model,
  tasks: Sequence[Task],
  *,
  videos: str | os.PathLike[str],
  out: str | os.PathLike[str],
  samples: int = 1,
  seed: int = 0,
  with_truth: bool = False,
) -> list[pathlib.Path]:
  """Write one .npz of each task; files that are there already are kept.

  They are OUT/phenaki/TASK/raw/NAME.npz, and with `with_truth` the real frames,
  OUT/ground_truth/TASK/raw/NAME.npz. Frames have the size of the model.

  Args:
    model: makes the stories.
    tasks: of one kind.
    videos: folder of the arrays that the tasks name.
    out: folder of the results.
    samples: number of films of each story, side by side in its file.
    seed: of all stories.
    with_truth: write the real frames too.

  Returns:
    The paths of the stories.

  Raises:
    UserError: an array is missing or is no video, the folder is remote, or it
      has stories of another model, seed, number of samples or settings.
  """
  folder = local_path(out, 'the folder of the results')
  _stamp(model, folder, samples=samples, seed=seed)
  paths = []
  bar = progress.bar(tasks, total=len(tasks), desc='storybench', unit='story')
  for task in bar:
    places = [
      folder / name / task.mode / 'raw' / f'{task.name}.npz'
      for name in ('phenaki', 'ground_truth')
    ]
    paths.append(places[0])
    needs_video = bool(task.given[1]) or with_truth
    is_done = [place.is_file() for place in places]
    if all(is_done) or (is_done[0] and not with_truth):
      continue
    video = None
    if needs_video:
      video = _read(pathlib.Path(videos) / task.video, model.defaults.size)
    if not is_done[0]:
      films = [
        _film(model, task, video, candidate_seed(seed, 0, index))
        for index in range(samples)
      ]
      _write(places[0], storybench.side_by_side(films))
    if with_truth and not is_done[1] and video is not None:
      _write(places[1], task.true_frames(video))
  return paths


def _stamp(model: Model, out: pathlib.Path, *, samples: int, seed: int) -> None:
  """Write what the stories are made with, or check that it is the same."""
  made = {
    'model': model.fingerprint,
    'samples': samples,
    'seed': seed,
    'settings': dataclasses.asdict(model.defaults),
  }
  text = json.dumps(made, indent=2) + '\n'
  path = out / STAMP
  if any((out / 'phenaki').glob('*/raw/*.npz')):
    found = path.read_text() if path.is_file() else ''
    if found != text:
      raise UserError(
        f'{out} has stories that were not made by this model with seed={seed}, '
        f'samples={samples} and its settings (see {path}); use those again, or '
        'name another folder'
      )
    return
  replace_file(path, text.encode())


def _film(
  model: Model, task: Task, video: VideoU8 | None, seed: int
) -> np.ndarray:
  story = resolve(task.story(seed=seed), model.defaults)
  starts = {}
  if task.given[1]:
    assert video is not None
    starts[0] = task.given_frames(video)
  chunks = generate(model.sampler, story, starts=starts)
  return np.concatenate([chunk.frames for chunk in chunks])


def _read(path: pathlib.Path, size: tuple[int, int]) -> VideoU8:
  """Read the array of a video, and scale its frames."""
  if not path.is_file():
    raise NotFoundError(
      f'there is no video {path}; --videos names the folder that the paths of '
      'the tasks start in'
    )
  try:
    video = np.load(path, mmap_mode='r', allow_pickle=False)
  except ValueError as error:
    raise UserError(f'{path} cannot be read: {error}') from error
  if video.dtype != np.uint8 or video.ndim != 4 or video.shape[3] != 3:
    raise UserError(
      f'{path} holds {video.dtype} {list(video.shape)}; it must hold uint8 '
      '[T, H, W, 3]'
    )
  return np.stack(
    [transforms.fit(Image.fromarray(frame), size) for frame in video]
  )


def _write(path: pathlib.Path, video: np.ndarray) -> None:
  content = io.BytesIO()
  np.savez_compressed(content, video=video)
  path.parent.mkdir(parents=True, exist_ok=True)
  replace_file(path, content.getvalue())
