"""The content hashes that a build has seen, in bounded memory."""

import sqlite3


class SeenHashes:
  """A set of hashes; SQLite moves it to a temporary file when it grows."""

  def __init__(self) -> None:
    # '' names a private temporary database. It needs no journal.
    self._database = sqlite3.connect('', isolation_level=None)
    self._database.execute('PRAGMA journal_mode = OFF')
    self._database.execute('PRAGMA cache_size = -65536')  # KiB
    self._database.execute(
      'CREATE TABLE seen (hash BLOB PRIMARY KEY) WITHOUT ROWID'
    )
    self._database.execute('BEGIN')

  def add(self, content_hash: str) -> bool:
    """Add a hexadecimal hash; return whether it is new."""
    found = self._database.execute(
      'INSERT OR IGNORE INTO seen VALUES (?)', (bytes.fromhex(content_hash),)
    )
    return found.rowcount == 1

  def close(self) -> None:
    """Delete the hashes."""
    self._database.close()
