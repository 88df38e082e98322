"""The files of one checkpoint, read and verified.

A checkpoint is a folder `checkpoints/<step>` with five Orbax items that can be
read separately (`params`, `ema` and `opt_state` as arrays, `data` and `config`
as JSON) and a `manifest.json` with checksums of each, which is written last.
Nothing else is written to this folder.
"""

import contextlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from flax.traverse_util import flatten_dict, unflatten_dict

from phenaki_jax.errors import UserError
from phenaki_jax.files.digests import (
  digest_array,
  digest_json,
  file_digest,
)
from phenaki_jax.files.paths import absolute, is_remote
from phenaki_jax.training.checkpoint_manifest import (
  WHOLE_DIGESTS,
  check_manifest,
)
from phenaki_jax.training.checkpoint_sums import (
  Sums,
  add_up,
  check_finite,
  held_blocks,
  sum_blocks,
)

FOLDER = 'checkpoints'
MANIFEST = 'manifest.json'
ARRAYS = ('params', 'ema', 'opt_state')
JSON = ('data', 'config')
# Raised for damaged content. Other errors, such as a lack of memory or of
# permission, are not evidence of damage.
DAMAGE = (
  FileNotFoundError,
  NotADirectoryError,
  KeyError,
  TypeError,
  ValueError,
)
# TensorStore raises its errors of these kinds as ValueError.
_NOT_DAMAGE = ('PERMISSION_DENIED', 'RESOURCE_EXHAUSTED', 'UNAVAILABLE')
_STEP = re.compile('0|[1-9][0-9]*')
_OWNER = re.compile('ocdbt[.]process_([0-9]+)')
_SMALL = 1 << 16  # bytes
_COMMITTED = 'commit_success.txt'
_EVERY = slice(None)


class CheckpointError(UserError):
  """Report that a checkpoint cannot be written or read."""


class DamagedError(CheckpointError):
  """Report that one checkpoint is damaged; an older one may be usable."""


def folder_of(workdir: epath.PathLike) -> epath.Path:
  """Return the folder of a run's checkpoints.

  Raises:
    CheckpointError: if it is on a server whose protocol Orbax does not know.
  """
  if is_remote(workdir) and not str(workdir).startswith('gs://'):
    raise CheckpointError(
      f'The run directory is {workdir}, but checkpoints can be on a local disk '
      'or in gs:// only. Name another --workdir.'
    )
  return absolute(workdir) / FOLDER


def steps(folder: epath.Path) -> list[int]:
  """Return the steps that have a folder, newest first."""
  if not folder.is_dir():
    return []
  names = [entry.name for entry in folder.iterdir() if entry.is_dir()]
  # Other folders, such as 0009, were not written by a run.
  return sorted(map(int, filter(_STEP.fullmatch, names)), reverse=True)


def finished(folder: epath.Path) -> list[int]:
  """Return the steps whose save was finished, newest first."""
  return [
    step for step in steps(folder) if (folder / str(step) / MANIFEST).exists()
  ]


def read_json(folder: epath.Path) -> tuple[dict[str, Any], dict[str, Any]]:
  """Read and verify the manifest and the JSON items of a checkpoint.

  Raises:
    DamagedError: if one is missing or differs from its digest.
  """
  path = folder / MANIFEST
  if not path.exists():
    raise DamagedError(f'Checkpoint {folder} was not finished.')
  with _damaged(folder, MANIFEST):
    manifest = check_manifest(json.loads(path.read_bytes()), folder.name)
    expected = {name: manifest['json'][name] for name in JSON}
    _check_files(folder, manifest, ('', *JSON))
  values = {}
  for name, digest in expected.items():
    with _damaged(folder, name):
      with _checkpointer(ocp.JsonCheckpointHandler()) as reader:
        values[name] = reader.restore(
          folder / name, args=ocp.args.JsonRestore()
        )
      if digest_json(values[name]) != digest:
        raise ValueError('its digest differs')
  return manifest, values


def read_arrays(
  folder: epath.Path, item: str, manifest: Mapping[str, Any]
) -> dict[str, Any]:
  """Read one item as nested dicts of numpy arrays and verify every checksum.

  Raises:
    DamagedError: if an array is missing or differs from its checksum.
  """
  with _damaged(folder, item):
    entries = manifest_entries(manifest, item)
    _check_files(folder, manifest, [item])
    target = {
      path.removeprefix(f'{item}/'): np.empty(
        entry['shape'], np.dtype(entry['dtype'])
      )
      for path, entry in entries.items()
    }
    tree = jax.tree.map(
      np.asarray, _read(folder / item, unflatten_dict(target, sep='/'))
    )
    blocks = held_blocks({item: tree}, every_copy=True)
    sums = {} if _is_old(manifest) else sum_blocks(list(blocks))
  check_arrays(folder, {item: tree}, manifest, [sums])
  return tree


def read_shards(
  folder: epath.Path, items: Mapping[str, Any], manifest: Mapping[str, Any]
) -> tuple[dict[str, Any], Sums]:
  """Read this process' shards of all items, and sum up what was read.

  Nothing is verified yet: `check_arrays` needs the sums of all processes.

  Args:
    folder: the checkpoint.
    items: nested dicts of descriptions of arrays with their shardings.
    manifest: from `read_json`.

  Raises:
    DamagedError: if a file cannot be read.
  """
  read, sums = {}, {}
  turn = slice(jax.process_index(), None, jax.process_count())
  for item, abstract in items.items():
    with _damaged(folder, item):
      _check_files(folder, manifest, [item], turn)
      read[item] = _read(folder / item, abstract)
      blocks = list(held_blocks({item: read[item]}, every_copy=True))
      # A run whose state was lost goes back further.
      check_finite(blocks)
      if not _is_old(manifest):
        sums.update(sum_blocks(blocks))
  return read, sums


def check_arrays(
  folder: epath.Path,
  items: Mapping[str, Any],
  manifest: Mapping[str, Any],
  parts: Sequence[Sums],
) -> None:
  """Verify the arrays of some items.

  Args:
    folder: the checkpoint, for the message.
    items: nested dicts of arrays.
    manifest: from `read_json`.
    parts: what each process read, from `read_shards`.

  Raises:
    DamagedError: if an array differs from its checksum.
    CheckpointError: if the manifest is of an earlier release and the arrays
      are spread over several processes.
  """
  leaves = jax.tree.leaves(dict(items))
  is_whole = all(getattr(leaf, 'is_fully_addressable', True) for leaf in leaves)
  if _is_old(manifest) and not is_whole:
    raise CheckpointError(
      f'{folder} was written by an earlier release, whose digests cover whole '
      'arrays. Resume it once with a single process, which saves it in the new '
      'form.'
    )
  for item, tree in items.items():
    with _damaged(folder, item):
      entries = manifest_entries(manifest, item)
      flat = flatten_dict({item: tree}, sep='/')
      if _is_old(manifest):
        found = {path: digest_array(np.asarray(x)) for path, x in flat.items()}
        expected = {path: entry['blake2b'] for path, entry in entries.items()}
      else:
        shapes = {path: entry['shape'] for path, entry in entries.items()}
        own = [
          {path: part[path] for path in entries if path in part}
          for part in parts
        ]
        found = add_up(own, shapes)
        expected = {path: entry['checksum'] for path, entry in entries.items()}
      broken = [path for path in entries if found[path] != expected[path]]
      if broken:
        names = ', '.join(path.removeprefix(f'{item}/') for path in broken[:3])
        raise ValueError(f'the checksums of {names} differ')


def small_files(folder: epath.Path, *, process: int = 0) -> dict[str, str]:
  """Return the digests of files that checksums of arrays do not cover.

  Large files hold the numbers of arrays. The small ones describe them.

  Args:
    folder: the checkpoint.
    process: the one that wrote the files; the files of all are of process 0.
  """
  found, folders = {}, [folder]
  while folders:
    for entry in folders.pop().iterdir():
      owner = _OWNER.fullmatch(entry.name)
      if entry.is_dir():
        if owner is None or int(owner[1]) == process:
          folders.append(entry)
      elif entry.stat().length <= _SMALL:
        name = entry.relative_to(folder).as_posix()
        is_own = 'ocdbt.process_' in name or process == 0
        if is_own and name != MANIFEST:
          found[name] = file_digest(entry)
  return found


def forget_paths(folder: epath.Path) -> None:
  """Remove the path of this machine from the files that Orbax writes."""
  for place in (folder, *(folder / name for name in (*ARRAYS, *JSON))):
    if (place / _COMMITTED).exists():
      (place / _COMMITTED).write_text('Checkpoint commit was successful.')


def _check_files(
  folder: epath.Path,
  manifest: Mapping[str, Any],
  tops: Sequence[str],
  turn: slice = _EVERY,
) -> None:
  """Raise if a small file of some items, or of the folder (''), differs."""
  listed = manifest.get('files', {})
  for name in listed:
    if name.startswith('/') or '..' in name.split('/'):
      raise ValueError(f'{name} leads out of the folder')
  names = sorted(
    name
    for name in listed
    if (name.split('/')[0] if '/' in name else '') in tops
  )
  for name in names[turn]:
    if file_digest(folder / name) != listed[name]:
      raise ValueError(f'the digest of {name} differs')


def manifest_entries(manifest: Mapping[str, Any], item: str) -> dict[str, Any]:
  """Return the entries of an item's arrays, by their paths.

  Raises:
    ValueError: if there is none.
  """
  entries = {
    path: entry
    for path, entry in manifest['arrays'].items()
    if path.startswith(f'{item}/')
  }
  if not entries:
    raise ValueError('the manifest lists no arrays')
  return entries


def _read(folder: epath.Path, target: Any) -> Any:
  try:
    with _checkpointer(ocp.StandardCheckpointHandler()) as reader:
      return reader.restore(folder, args=ocp.args.StandardRestore(target))
  except Exception as error:
    # Orbax wraps the errors of TensorStore in an Exception without a kind.
    if type(error) is Exception and error.__cause__ is not None:
      raise error.__cause__ from None
    raise


def _is_old(manifest: Mapping[str, Any]) -> bool:
  return manifest['format'] == WHOLE_DIGESTS


def first_line(error: BaseException) -> str:
  """Return the first line of an error's message, for use in a sentence."""
  text = str(error).strip() or type(error).__name__
  return text.splitlines()[0][:300].rstrip('.')


@contextlib.contextmanager
def _damaged(folder: epath.Path, name: str) -> Iterator[None]:
  """Turn an error that damaged content causes into a DamagedError."""
  try:
    yield
  except DAMAGE as error:
    if str(error).startswith(_NOT_DAMAGE):
      raise
    raise DamagedError(
      f'Checkpoint {folder}: {name} is damaged ({first_line(error)}).'
    ) from error


def _checkpointer(handler: Any) -> ocp.Checkpointer:
  """Return a reader for this process alone; it does not wait for others."""
  return ocp.Checkpointer(
    handler,
    multiprocessing_options=ocp.options.MultiprocessingOptions(
      primary_host=jax.process_index(),
      active_processes={jax.process_index()},
      barrier_sync_key_prefix='phenaki_read',
    ),
  )
