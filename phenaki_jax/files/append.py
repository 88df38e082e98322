"""Appending to text files."""

from etils import epath

from phenaki_jax.files.atomic import replace_file
from phenaki_jax.files.paths import is_remote, writable


def append(path: epath.PathLike, text: str) -> None:
  """Append text to a file; it and its folder are created if necessary.

  An object in a bucket cannot be appended to: it is replaced as a whole.
  """
  path = writable(path)
  if is_remote(path):
    before = path.read_bytes() if path.exists() else b''
    replace_file(path, before + text.encode())
    return
  path.parent.mkdir(parents=True, exist_ok=True)
  with path.open('a') as file:
    file.write(text)
