"""Decoding of untrusted files in a child process with limits.

A damaged or hostile file may make a decoder crash, spin or take all memory. In
a child process that costs one record. Files whose hash was recorded after such
an examination are later decoded in the process that trains, because a file
with other bytes is refused.
"""

import contextlib
import dataclasses
import math
import multiprocessing
import resource
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection

from phenaki_jax.data import schema
from phenaki_jax.data.sources import base

# Imported once, by the process from which the children are forked.
_PRELOADED = ['phenaki_jax.data.sources.stories']


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
  """Limits of a child, beside those of the decoders (pixels, frames, bytes).

  Attributes:
    memory: bytes beyond what the child takes before the first file.
    seconds: for one record.
  """

  memory: int = 2**31
  seconds: float = 300.0


class IsolatedReader:
  """Examines records in child processes, one for each thread of the caller."""

  def __init__(self, reader: base.PortableReader, limits: Limits | None = None):
    self._open = reader.opener()
    self._limits = limits or Limits()
    self._local = threading.local()
    self._children: list[_Child] = []

  def examine(
    self, record: schema.Record, *, max_duration: float = math.inf
  ) -> schema.MediaInfo:
    """Return the result of `reader.examine`.

    Raises:
      schema.DecodeError: as of the reader, or 'decoder_stopped' if the child
        crashed or exceeded its time or its memory.
      ConnectionError: a remote file cannot be read.
    """
    child = getattr(self._local, 'child', None)
    if child is None:
      child = _Child(self._open, self._limits)
      self._local.child = child
      self._children.append(child)
    try:
      found = child.examine(record, max_duration)
    except (OSError, EOFError) as error:
      self._local.child = None
      self._children.remove(child)
      raise schema.DecodeError('decoder_stopped', child.stop()) from error
    if isinstance(found, ConnectionError):
      raise found
    return found

  def close(self) -> None:
    """End all children."""
    for child in self._children:
      child.stop()


class _Child:
  """One process."""

  def __init__(self, opener: Callable[[], base.Reader], limits: Limits):
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(_PRELOADED)
    self._connection, theirs = context.Pipe()
    self._seconds = limits.seconds
    self._process = context.Process(
      target=_serve, args=(theirs, opener, limits), daemon=True
    )
    self._process.start()
    theirs.close()

  def examine(
    self, record: schema.Record, max_duration: float
  ) -> schema.MediaInfo | ConnectionError:
    """Return the result or a failure of the network.

    It is not raised, as failures of the connection to the child are.
    """
    self._connection.send((record, max_duration))
    if not self._connection.poll(self._seconds):
      raise TimeoutError
    found = self._connection.recv()
    if isinstance(found, tuple):
      raise schema.DecodeError(*found)
    return found

  def stop(self) -> str:
    """End the process; return how it had ended before, for messages."""
    self._connection.close()
    self._process.join(1)
    code = self._process.exitcode
    if code is None:
      self._process.kill()
      self._process.join()
      return 'it took too long'
    self._process.close()
    return f'exit code {code} of the child'


def _serve(
  connection: Connection, opener: Callable[[], base.Reader], limits: Limits
) -> None:
  """Examine records until the connection is closed."""
  try:
    reader = opener()
  except ConnectionError as error:
    connection.recv()
    connection.send(ConnectionError(str(error)))
    return
  size = _virtual_memory() + limits.memory
  resource.setrlimit(resource.RLIMIT_AS, (size, size))
  resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
  with contextlib.suppress(EOFError, KeyboardInterrupt, BrokenPipeError):
    while True:
      record, max_duration = connection.recv()
      connection.send(_examine(reader, record, max_duration))


def _examine(
  reader: base.Reader, record: schema.Record, max_duration: float
) -> schema.MediaInfo | tuple[str, str] | ConnectionError:
  try:
    return reader.examine(record, max_duration=max_duration)
  except schema.DecodeError as error:
    return error.reason, error.detail
  except MemoryError:
    return 'out_of_memory', ''
  except ConnectionError as error:
    return ConnectionError(str(error))
  except Exception as error:
    return 'decoder_failed', f'{type(error).__name__}: {error}'


def _virtual_memory() -> int:
  """Return the bytes of virtual memory of this process."""
  try:
    with open('/proc/self/statm') as file:
      return int(file.read().split()[0]) * resource.getpagesize()
  except OSError:  # No such file outside Linux.
    return 2**34
