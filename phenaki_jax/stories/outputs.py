"""The files of a generated story: film, GIF, contact sheet and provenance.

They are written to a temporary folder and replace the files of an earlier
story together, once all of them are complete.
"""

import contextlib
import hashlib
import json
import logging
import math
import os
import pathlib
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from phenaki_jax import progress
from phenaki_jax.files.atomic import staged_files, sweep
from phenaki_jax.files.lock import run_lock
from phenaki_jax.media import fonts
from phenaki_jax.media.contact_sheet import contact_sheet
from phenaki_jax.media.credentials import Certificate
from phenaki_jax.media.frames import spread
from phenaki_jax.media.gif import MAX_FPS, write_gif
from phenaki_jax.media.mp4 import Mp4Writer
from phenaki_jax.media.png import write_png
from phenaki_jax.media.provenance import NOTICE
from phenaki_jax.stories import timeline
from phenaki_jax.stories.drift import DriftMeter
from phenaki_jax.stories.drift_figure import draw_drift
from phenaki_jax.stories.generate import (
  Chunk,
  ClipMaker,
  Starts,
  generate,
  plan_story,
  reads_fps,
)
from phenaki_jax.stories.judge import Judge
from phenaki_jax.stories.kept_scenes import KeptScenes
from phenaki_jax.stories.output_paths import output_paths
from phenaki_jax.stories.recall import history_slots
from phenaki_jax.stories.remarks import Remark
from phenaki_jax.stories.seeds import describe, reroll, scene_keys, take_seeds
from phenaki_jax.stories.story import Story
from phenaki_jax.stories.timeline_figure import draw_timeline

_LOG = logging.getLogger(__name__)

# Longer GIFs and larger contact sheets are impractical, and their memory would
# grow with the story. The film and the provenance are always complete.
MAX_GIF_FRAMES = 480
MAX_SHEET_SCENES = 40
# A story of at least this many frames comes with a report on its drift.
MIN_DRIFT_FRAMES = 64
# Limit of the frames in memory, for the GIF and for the contact sheet.
_MAX_BYTES = 200_000_000
_COLUMNS = 8


def write_story(
  maker: ClipMaker,
  story: Story,
  out: str | os.PathLike[str],
  *,
  made_by: Mapping[str, Any],
  remarks: Sequence[Remark] = (),
  starts: Starts = types.MappingProxyType({}),
  judge: Judge | None = None,
  marked: bool = False,
  certificate: Certificate | None = None,
) -> list[pathlib.Path]:
  """Generate a story into files, with a progress bar; return their paths.

  Finished scenes are kept in a folder beside the film, from which the same
  call continues after an interruption. When the story is complete, the scenes
  of other stories are removed from it. The folder is locked, and leftovers of
  killed processes are removed first.

  Args:
    maker: makes the clips.
    story: a resolved story.
    out: the film; see `output_paths`.
    made_by: JSON values that describe the model and the versions.
    remarks: requests of the story that the film cannot satisfy. These and
      remarks about the files are logged and recorded.
    starts, judge: see `generate`; the judge also reads the facts of the
      drift report.
    marked, certificate: see `StoryFiles`.

  Raises:
    UserError: another process is writing to these files, or see `generate`.
  """
  paths = output_paths(out)
  kept = KeptScenes(paths[0].with_suffix('.scenes'))
  total, name = story.num_frames, paths[0].name
  drift = drift_meter(maker, story, starts, judge)
  with run_lock(kept.folder, option='--out'):
    sweep(paths[0])
    kept.sweep()
    with (
      StoryFiles(
        out,
        story,
        made_by=made_by,
        remarks=remarks,
        drift=drift,
        marked=marked,
        certificate=certificate,
      ) as files,
      progress.bar(total=total, unit='frame', desc=name) as bar,
    ):
      for remark in files.remarks:
        _LOG.warning('%s', remark.sentence)
      for chunk in generate(
        maker, story, kept=kept, origin=made_by, starts=starts, judge=judge
      ):
        files.write(chunk)
        bar.set_postfix_str(f'scene {chunk.scene + 1}', refresh=False)
        bar.update(len(chunk.frames))
    slots, is_told = history_slots(maker), reads_fps(maker)
    kept.keep_only(
      scene_keys(story, made_by, starts, slots=slots, reads_fps=is_told)
    )
  return files.paths


def drift_meter(
  maker: ClipMaker,
  story: Story,
  starts: Starts = types.MappingProxyType({}),
  judge: Judge | None = None,
) -> DriftMeter | None:
  """Return what measures the drift of a story; None for a short one."""
  if story.num_frames < MIN_DRIFT_FRAMES:
    return None
  return DriftMeter(story, plan_story(maker, story, starts), judge)


def write_timeline(
  maker: ClipMaker,
  story: Story,
  out: str | os.PathLike[str] | None,
  starts: Starts,
) -> str:
  """Draw the timeline of a resolved story beside its film, if that has a path.

  Returns:
    The timeline as text, with the path of the picture in the last line.
  """
  windows = list(plan_story(maker, story, starts))
  text = timeline.to_text(story, windows, slots=history_slots(maker))
  if out is None:
    return text
  path = output_paths(out)[0].with_suffix('.timeline.png')
  picture = draw_timeline(story, windows)
  write_png(path, picture, provenance={'story': describe(story)})
  return f'{text}\n{path}'


def reroll_story(
  story: Story,
  numbers: Sequence[int],
  out: str | os.PathLike[str],
  *,
  made_by: Mapping[str, Any],
) -> Story:
  """Give scenes (from 1) other seeds than in the last film written to `out`.

  If that film is of another story or model, the seeds of `story` are changed.

  Raises:
    UserError: there is no scene with that number.
  """
  record, recorded = output_paths(out)[-1], None
  with contextlib.suppress(OSError, ValueError, AttributeError):
    content = json.loads(record.read_text('utf-8'))
    if content.get('model') == made_by['model']:
      recorded = take_seeds(story, content.get('story'))
  if recorded is None and record.exists():
    _LOG.warning('%s belongs to another story; its seeds are not used', record)
  return reroll(recorded or story, numbers)


class StoryFiles:
  """Write the files of a story while it is generated.

  with StoryFiles('story.mp4', story, made_by={'model': ...}) as files:
    for chunk in generate(sampler, story):
      files.write(chunk)
  """

  def __init__(
    self,
    out: str | os.PathLike[str],
    story: Story,
    *,
    made_by: Mapping[str, Any],
    remarks: Sequence[Remark] = (),
    drift: DriftMeter | None = None,
    labelled: bool = True,
    marked: bool = False,
    certificate: Certificate | None = None,
  ):
    """Set the files; nothing is written yet.

    Args:
      out: the film, ending in `.mp4`; the others are named after it.
      story: a resolved story.
      made_by: JSON values that describe the model and the versions.
      remarks: requests of the story that the film cannot satisfy.
      drift: measures the frames. Its report is written to the provenance, and
        as a figure, STORY.drift.png.
      labelled: whether the frames of the film and of the GIF have the visible
        label 'AI-generated'; the provenance says it in any case.
      marked: whether the film has the invisible mark (see `media.mark`).
      certificate: signs the film and the pictures (see `media.credentials`).

    Raises:
      UserError: `out` does not end in `.mp4`.
    """
    assert story.size is not None and story.fps is not None
    self.paths = output_paths(out)
    self._drift = drift
    self._labelled, self._marked = labelled, marked
    if drift is not None:
      self.paths.append(self.paths[0].with_suffix('.drift.png'))
    self._out = self.paths[0]
    self._story = story
    self._digest = hashlib.sha256()
    self._num_frames = 0
    self._gif: list[np.ndarray] = []
    self._fps = story.fps
    self._stride = math.ceil(story.fps / MAX_FPS)
    room = _MAX_BYTES // (story.size[0] * story.size[1] * 3)
    self._max_in_gif = max(1, min(MAX_GIF_FRAMES, room))
    self.remarks = (*remarks, *self._remarks())
    self._provenance = {
      'notice': NOTICE,
      **made_by,
      'story': describe(story),
      'remarks': [remark.to_json() for remark in self.remarks],
    }
    self._origin: dict[str, Any] = {
      'provenance': self._provenance,
      'certificate': certificate,
    }
    scenes = max(1, min(MAX_SHEET_SCENES, room // _COLUMNS))
    chosen = spread(len(story.scenes), scenes)
    self._shown = {
      scene: spread(story.scenes[scene].frames or 0, _COLUMNS)
      for scene in chosen
    }
    self._rows: dict[int, list[np.ndarray]] = {scene: [] for scene in chosen}

  def write(self, chunk: Chunk) -> None:
    """Add the next frames."""
    if self._drift is not None:
      self._drift.add(chunk.scene, chunk.start, chunk.frames)
    for offset, frame in enumerate(chunk.frames):
      self._film.write(frame)
      self._digest.update(np.ascontiguousarray(frame).tobytes())
      if (
        self._num_frames % self._stride == 0
        and len(self._gif) < self._max_in_gif
      ):
        self._gif.append(frame)
      if chunk.start + offset in self._shown.get(chunk.scene, ()):
        self._rows[chunk.scene].append(frame)
      self._num_frames += 1

  def __enter__(self) -> 'StoryFiles':
    """Create the temporary folder beside the files."""
    self._stack = contextlib.ExitStack()
    self._folder = self._stack.enter_context(staged_files(*self.paths))
    self._film = self._stack.enter_context(
      Mp4Writer(
        self._folder / self._out.name,
        fps=self._fps,
        labelled=self._labelled,
        marked=self._marked,
        **self._origin,
      )
    )
    return self

  def __exit__(
    self,
    kind: type[BaseException] | None,
    error: BaseException | None,
    trace: types.TracebackType | None,
  ) -> None:
    """Finish the files and move them into place, or discard them all."""
    if kind is not None:
      self._stack.__exit__(kind, error, trace)
      return
    with self._stack:
      self._finish()

  def _remarks(self) -> Iterator[Remark]:
    """Yield remarks on frames that the GIF or the contact sheet omits."""
    _, gif, sheet, *_ = self.paths
    frames = math.ceil(self._story.num_frames / self._stride)
    if frames > self._max_in_gif:
      yield Remark(
        sentence=f'{gif.name} shows the first {self._max_in_gif} of {frames} '
        f'frames; {self._out.name} has all of them'
      )
    for number, scene in enumerate(self._story.scenes, start=1):
      if lacking := fonts.missing(scene.prompt):
        yield Remark(
          sentence=f'scene {number}: {sheet.name} shows boxes for '
          f'{lacking[:20]!r}, which its fonts lack; the other files have the '
          'whole prompt',
          scene=number,
        )

  def _finish(self) -> None:
    _, gif, sheet, record, *more = self.paths
    write_gif(
      self._folder / gif.name,
      self._gif,
      fps=self._fps / self._stride,
      labelled=self._labelled,
      **self._origin,
    )
    write_png(self._folder / sheet.name, self._sheet(), **self._origin)
    content = {**self._provenance, 'frames_sha256': self._digest.hexdigest()}
    if self._drift is not None:
      report = self._drift.report()
      content['drift'] = report.to_json()
      write_png(
        self._folder / more[0].name,
        draw_drift(report, self._fps),
        **self._origin,
      )
    text = json.dumps(content, indent=2, ensure_ascii=False) + '\n'
    (self._folder / record.name).write_bytes(text.encode())

  def _sheet(self) -> np.ndarray:
    total = len(self._story.scenes)
    rows = [
      (f'{scene + 1}. {self._story.scenes[scene].prompt}', frames)
      for scene, frames in self._rows.items()
    ]
    left_out = total - len(rows)
    footer = NOTICE
    if left_out:
      footer += f'; {left_out} of {total} scenes are not shown'
    return contact_sheet(rows, columns=_COLUMNS, footer=footer)
