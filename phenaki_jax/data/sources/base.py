"""The protocols of a source of records and of the reader of its pixels."""

import math
from collections.abc import Callable, Iterator
from typing import Any, Protocol, runtime_checkable

from phenaki_jax.data import schema, video


@runtime_checkable
class Reader(Protocol):
  """Turns records into pixels. Threads may share it."""

  def examine(
    self, record: schema.Record, *, max_duration: float = math.inf
  ) -> schema.MediaInfo:
    """Decode a whole record and describe it.

    Args:
      record: a clip or an image.
      max_duration: in seconds; decoding may stop as soon as a clip is known
        to be longer, and the result then holds a longer duration.

    Raises:
      schema.DecodeError: the record cannot be used.
    """

  def example(
    self, record: schema.Record, request: schema.ExampleRequest
  ) -> schema.Example:
    """Decode the requested frames of a record.

    Raises:
      schema.DecodeError: the record cannot be used.
    """


@runtime_checkable
class TimedReader(Reader, Protocol):
  """A reader of files, all frames of which can be kept."""

  def read(self, record: schema.Record) -> Any:
    """Return the encoded content of a record.

    Raises:
      schema.DecodeError: it is missing, or not what the record's info says.
    """

  def timed(
    self, record: schema.Record, size: tuple[int, int]
  ) -> video.TimedFrames:
    """Decode every frame of the file of a record, an image as one frame.

    Raises:
      schema.DecodeError: the record cannot be used.
    """


@runtime_checkable
class PortableReader(Reader, Protocol):
  """A reader that another process can open."""

  def opener(self) -> Callable[[], Reader]:
    """Return what opens an equal reader there."""


@runtime_checkable
class Source(Protocol):
  """A stream of records, which may be longer than the memory allows.

  `operator.length_hint` gives its length where it is known in advance.

  Attributes:
    layout: name of the layout, as in `phenaki data build`.
    columns: metadata columns that every usable record has.
  """

  layout: str
  columns: frozenset[str]

  @property
  def reader(self) -> Reader:
    """Return the reader of the records' pixels."""

  def __iter__(self) -> Iterator[schema.Record]:
    """Yield every record, in order, not decoded."""

  def spec(self) -> dict[str, Any]:
    """Return the spec from which `manifest.open_reader` opens the reader."""

  def notes(self) -> dict[str, int]:
    """Return counts of items that the last iteration left out, by reason."""
