r"""The stories layout: films of several scenes, and JSON Lines about them.

A line of a `*.jsonl` file describes one film. Other keys are ignored:

    {"story_id": "s00000", "video": "videos/s00000.mp4", "scenes": [
      {"prompt": "a man walks", "start_frame": 0, "end_frame": 16},
      {"prompt": "he sits down", "start_frame": 16, "end_frame": 28}]}

Each scene is a record: a clip of the frames [start_frame, end_frame) of a film
of a constant frame rate, with the prompt as its caption.
"""

import hashlib
import math
import threading
from collections.abc import Iterator
from typing import Annotated

import pydantic
from pydantic import Field, NonNegativeInt
from pydantic.dataclasses import dataclass

from phenaki_jax.data import schema, video
from phenaki_jax.data.sources import files
from phenaki_jax.data.sources.line_source import LineSource, broken
from phenaki_jax.files.paths import DataPath

_KEPT = 16  # films whose examination is kept for their other scenes


@dataclass(frozen=True, kw_only=True)
class _Scene:
  """A scene of a line."""

  prompt: str
  start_frame: NonNegativeInt
  end_frame: Annotated[int, Field(le=video.MAX_FRAMES)]

  def __post_init__(self) -> None:
    if self.end_frame <= self.start_frame:
      raise ValueError(f'frames {self.start_frame}..{self.end_frame} are none')


@dataclass(frozen=True, kw_only=True)
class _Film:
  """A line."""

  story_id: str
  video: str
  scenes: list[_Scene]


_LINE = pydantic.TypeAdapter(_Film)


class StoryReader(files.FileReader):
  """A reader of the scenes of films."""

  def __init__(self, folder: str | DataPath):
    super().__init__(folder)
    self._films: dict[str, schema.MediaInfo] = {}
    self._lock = threading.Lock()

  def examine(
    self, record: schema.Record, *, max_duration: float = math.inf
  ) -> schema.MediaInfo:
    """Decode the whole film of a scene, however long it is.

    Raises:
      schema.DecodeError: the film cannot be used, or ends before the scene.
    """
    data = self.read(record)
    content_hash = hashlib.sha256(data).hexdigest()
    info = self._films.get(content_hash)
    if info is None:
      info = video.examine(data, content_hash=content_hash)
      with self._lock:
        if len(self._films) >= _KEPT:
          self._films.pop(next(iter(self._films)))
        self._films[content_hash] = info
    if record.end_frame > info.num_frames:
      raise schema.DecodeError(
        'scene_after_end',
        f'the scene ends at frame {record.end_frame} of {info.num_frames}',
      )
    return info


class Stories(LineSource):
  """A source of the scenes of the films that the JSONL files of a folder name.

  A line that is not as described above is one broken record; see also
  `LineSource`.
  """

  layout = 'stories'
  meaning = (
    'the stories layout is a JSONL file (stories.jsonl) beside the videos that '
    'it names'
  )
  columns: frozenset[str] = frozenset()

  def __init__(self, folder: str | DataPath):
    """Find the JSONL files.

    Raises:
      UserError: the folder or the files are missing.
    """
    super().__init__(folder)
    self.reader = StoryReader(self.folder)

  def records(self, line: bytes, place: str) -> Iterator[schema.Record]:
    """Yield a record of every scene of a line."""
    return _records(line, place)


def _records(line: bytes, place: str) -> Iterator[schema.Record]:
  """Yield the records of a line."""
  try:
    film = _LINE.validate_json(line)
  except pydantic.ValidationError as error:
    first = error.errors()[0]
    where = '.'.join(map(str, first['loc']))
    detail = f'{place}: {where}: {first["msg"]}'
    yield broken(place, 'malformed_row', detail)
    return
  for number, scene in enumerate(film.scenes):
    yield schema.Record(
      key=f'{film.story_id}/{number:03d}',
      kind=schema.CLIP,
      caption=scene.prompt,
      path=film.video,
      start_frame=scene.start_frame,
      end_frame=scene.end_frame,
    )
