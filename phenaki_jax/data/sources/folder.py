"""A few images and clips of a folder, each with a caption beside it.

The caption of `zog.png` is the content of `zog.txt`, or one that all files
without such a text share.
"""

from collections.abc import Iterator
from typing import Any

from phenaki_jax.data import captions, schema
from phenaki_jax.data.sources import files, shard_media
from phenaki_jax.errors import UserError
from phenaki_jax.files.paths import DataPath, data_path, real_path


class Folder:
  """A `Source` of the images and clips of a folder.

  Attributes:
    own: number of files with a caption of their own.
    records: of the files, by name.
  """

  layout = 'folder'
  columns: frozenset[str] = frozenset()

  def __init__(
    self, folder: str | DataPath, *, caption: str = '', name: str = ''
  ):
    """List the files.

    Args:
      folder: of the files; folders in it are not read.
      caption: of the files without one of their own.
      name: of the only file that is read; empty for all images and clips.

    Raises:
      UserError: there is no image and no clip, or one has no caption.
    """
    self.folder = data_path(folder)
    self.reader = files.FileReader(self.folder)
    if not self.folder.is_dir():
      raise UserError(f'there is no folder {self.folder}; name one with images')
    names = sorted(path.name for path in self.folder.iterdir())
    found = {
      one: kind
      for one in names
      if (not name or one == name) and (kind := shard_media.kind_of(one))
    }
    if not found:
      raise UserError(
        f'{self.folder / name} is no image or clip, and has none; name images '
        'such as a.png, or clips such as a.mp4'
      )
    texts = {one: self._caption(one) for one in found}
    self.own = sum(map(bool, texts.values()))
    if missing := [one for one in found if not (texts[one] or caption)]:
      raise UserError(
        f'{self.folder / missing[0]} has no caption; write it to '
        f'{missing[0].rpartition(".")[0]}.txt, or give one for all files'
      )
    self.records = tuple(
      schema.Record(key=one, kind=kind, path=one, caption=texts[one] or caption)
      for one, kind in found.items()
    )

  def _caption(self, name: str) -> str:
    """Return the text beside a file; empty if there is none."""
    path = self.folder / f'{name.rpartition(".")[0]}.txt'
    if not path.is_file():
      return ''
    found = captions.read(path.read_bytes())
    if found.fault:
      raise UserError(
        f'{path} is no caption ({found.fault}); write it as UTF-8'
      )
    return found.text.strip()

  def __len__(self) -> int:
    """Return the number of files."""
    return len(self.records)

  def __iter__(self) -> Iterator[schema.Record]:
    """Yield the record of every file, in the order of the names."""
    yield from self.records

  def spec(self) -> dict[str, Any]:
    """Return the layout and the folder."""
    return {'layout': self.layout, 'folder': real_path(self.folder)}

  def notes(self) -> dict[str, int]:
    """Return the number of files with a caption of their own."""
    return {'with_own_caption': self.own}
