"""The images and clips of a tar shard, by the key of their row."""

from collections import Counter
from collections.abc import Mapping

from phenaki_jax.data import schema
from phenaki_jax.data.sources import tar_index

_IMAGES = (
  *('jpg', 'jpeg', 'png', 'webp', 'gif', 'bmp'),
  *('jpe', 'jfif', 'tif', 'tiff', 'avif', 'heic', 'ppm'),
)
_CLIPS = (
  *('mp4', 'webm', 'mkv', 'mov', 'avi'),
  *('m4v', 'flv', 'ts', 'mpg', 'mpeg', 'wmv', 'ogv', '3gp'),
)
_KINDS = {
  **dict.fromkeys(_CLIPS, schema.CLIP),
  **dict.fromkeys(_IMAGES, schema.IMAGE),
}


def kind_of(name: str) -> str:
  """Return the kind of a file by its extension; '' if it is of none."""
  return _KINDS.get(name.rpartition('.')[2].lower(), '')


class ShardMedia:
  """The images and clips of a shard, each used for one key.

  Attributes:
    unused: numbers of media that no row has used so far, by reason.
  """

  def __init__(self, members: Mapping[str, Mapping[str, tar_index.Place]]):
    """Choose the medium of each key: clips before images, short names first.

    Args:
      members: offset and size by extension by key.
    """
    self._found: dict[str, tuple[str, int, int]] = {}
    self._full_names: dict[str, str] = {}
    self._used: set[str] = set()
    self._further: Counter[str] = Counter()
    order = {extension: place for place, extension in enumerate(_KINDS)}
    for name, places in members.items():
      media = [
        (word.count('.'), order[word.rpartition('.')[2]], word)
        for word in places
        if word.rpartition('.')[2] in order
      ]
      media.sort(key=lambda found: (found[1] >= len(_CLIPS), found))
      for _, _, word in media[1:]:
        self._further[f'further_{word.rpartition(".")[2]}_not_used'] += 1
      if media:
        word = media[0][2]
        kind = _KINDS[word.rpartition('.')[2]]
        self._found[name] = (kind, *places[word])
        base = name.rpartition('/')[2]
        # '' marks a name that several folders of the archive have.
        self._full_names[base] = '' if base in self._full_names else name
        if '.' in word:  # A key may have dots itself.
          dotted = f'{name}.{word.rpartition(".")[0]}'
          self._full_names.setdefault(dotted, name)

  def keys(self) -> list[str]:
    """Return the keys."""
    return list(self._found)

  def find(self, key: str) -> tuple[str, int, int] | None:
    """Return the kind, offset and size of the medium of a key."""
    name = key if key in self._found else self._full_names.get(key, '')
    if not name:
      return None
    self._used.add(name)
    return self._found[name]

  @property
  def unused(self) -> Counter[str]:
    """The numbers of media that are not used, by reason."""
    left = len(self._found) - len(self._used)
    return self._further + Counter(media_without_row=left)
