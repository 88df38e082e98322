"""The files of a told story: film, GIF, contact sheet and provenance.

They appear together, once all of them are complete: until then everything is
written to a folder beside them, and what stood there before stays.
"""

import contextlib
import hashlib
import json
import math
import os
import pathlib
import types
from collections.abc import Mapping
from typing import Any

import numpy as np

from phenaki_jax.errors import UserError
from phenaki_jax.files.atomic import staged_files
from phenaki_jax.media.contact_sheet import contact_sheet
from phenaki_jax.media.frames import spread
from phenaki_jax.media.gif import MAX_FPS, write_gif
from phenaki_jax.media.mp4 import Mp4Writer
from phenaki_jax.media.png import write_png
from phenaki_jax.media.provenance import NOTICE
from phenaki_jax.stories.script import Script, describe
from phenaki_jax.stories.telling import Footage

SUFFIXES = ('.mp4', '.gif', '.png', '.json')

# Beyond these a GIF and a picture are of no use, and would take memory that
# grows with the story; the film and the provenance are always whole.
MAX_GIF_FRAMES = 480
MAX_SHEET_SCENES = 40
_MAX_BYTES = 200_000_000  # of the frames kept for either
_COLUMNS = 8


class StoryFiles:
  """Write a story's files while it is told.

  with StoryFiles('story.mp4', script, made_by={'model': ...}) as files:
    for footage in tell(sampler, script):
      files.write(footage)
  """

  def __init__(
    self,
    out: str | os.PathLike[str],
    script: Script,
    *,
    made_by: Mapping[str, Any],
  ):
    """Name the files; nothing is written yet.

    Args:
      out: the film, ending in `.mp4`; the others are named after it.
      script: what is told.
      made_by: JSON values that say what made it (model, versions).

    Raises:
      UserError: `out` does not end in `.mp4`.
    """
    out = pathlib.Path(out)
    if out.suffix != '.mp4':
      raise UserError(
        f'--out is {out}; it must end in .mp4 (the GIF, the contact sheet and '
        'the provenance are named after it)'
      )
    self._out = out
    self._script = script
    self._provenance = {'notice': NOTICE, **made_by, 'story': describe(script)}
    self._digest = hashlib.sha256()
    self._num_frames = 0
    self._gif: list[np.ndarray] = []
    self._stride = math.ceil(script.fps / MAX_FPS)
    room = _MAX_BYTES // (script.size[0] * script.size[1] * 3)
    self._most_in_gif = max(1, min(MAX_GIF_FRAMES, room))
    scenes = max(1, min(MAX_SHEET_SCENES, room // _COLUMNS))
    chosen = spread(len(script.shots), scenes)
    self._shown = {
      scene: spread(script.shots[scene].frames, _COLUMNS) for scene in chosen
    }
    self._rows: dict[int, list[np.ndarray]] = {scene: [] for scene in chosen}

  @property
  def paths(self) -> list[pathlib.Path]:
    """Return the files: film, GIF, contact sheet, provenance."""
    return [self._out.with_suffix(suffix) for suffix in SUFFIXES]

  def write(self, footage: Footage) -> None:
    """Add the frames that come next."""
    for offset, frame in enumerate(footage.frames):
      self._film.write(frame)
      self._digest.update(np.ascontiguousarray(frame).tobytes())
      if (
        self._num_frames % self._stride == 0
        and len(self._gif) < self._most_in_gif
      ):
        self._gif.append(frame)
      if footage.start + offset in self._shown.get(footage.scene, ()):
        self._rows[footage.scene].append(frame)
      self._num_frames += 1

  def __enter__(self) -> 'StoryFiles':
    """Make room beside the files."""
    self._stack = contextlib.ExitStack()
    self._room = self._stack.enter_context(staged_files(*self.paths))
    self._film = self._stack.enter_context(
      Mp4Writer(
        self._room / self._out.name,
        fps=self._script.fps,
        provenance=self._provenance,
      )
    )
    return self

  def __exit__(
    self,
    kind: type[BaseException] | None,
    error: BaseException | None,
    trace: types.TracebackType | None,
  ) -> None:
    """Finish the files and put them in their place, or drop them all."""
    if kind is not None:
      self._stack.__exit__(kind, error, trace)
      return
    with self._stack:
      self._finish()

  def _finish(self) -> None:
    _, gif, sheet, record = self.paths
    write_gif(
      self._room / gif.name,
      self._gif,
      fps=self._script.fps / self._stride,
      provenance=self._provenance,
    )
    write_png(
      self._room / sheet.name, self._sheet(), provenance=self._provenance
    )
    content = {**self._provenance, 'frames_sha256': self._digest.hexdigest()}
    text = json.dumps(content, indent=2, ensure_ascii=False) + '\n'
    (self._room / record.name).write_bytes(text.encode())

  def _sheet(self) -> np.ndarray:
    total = len(self._script.shots)
    rows = [
      (f'{scene + 1}. {self._script.shots[scene].prompt}', frames)
      for scene, frames in self._rows.items()
    ]
    left_out = total - len(rows)
    footer = (
      NOTICE
      if not left_out
      else (f'{NOTICE}; {left_out} of {total} scenes are not shown')
    )
    return contact_sheet(rows, columns=_COLUMNS, footer=footer)
