"""What every source of records offers, and what reads their pixels."""

from typing import Any, Protocol, runtime_checkable

from phenaki_jax.data import schema


@runtime_checkable
class Reader(Protocol):
  """Turn a record into pixels. Holds no state, so threads may share it."""

  def examine(self, record: schema.Record) -> schema.Facts:
    """Decode a record fully, once, and return what was found.

    Raises:
      schema.DecodeError: the record cannot be used, with the reason.
    """

  def example(self, record: schema.Record, view: schema.View) -> schema.Example:
    """Decode what a view asks for.

    Raises:
      schema.DecodeError: the record cannot be used, with the reason.
    """


@runtime_checkable
class Source(Protocol):
  """List records: a length and random access, nothing else.

  Attributes:
    layout: name of the layout, as `phenaki data build` calls it.
    columns: metadata columns that every record has.
  """

  layout: str
  columns: frozenset[str]

  @property
  def reader(self) -> Reader:
    """Return what turns the records into pixels."""

  def __len__(self) -> int:
    """Return the number of records."""

  def __getitem__(self, index: int) -> schema.Record:
    """Return the record at `index`, undecoded."""

  def spec(self) -> dict[str, Any]:
    """Return what opens the source's reader again, for the manifest."""

  def notes(self) -> dict[str, int]:
    """Return counts of what the source left out, by reason."""
