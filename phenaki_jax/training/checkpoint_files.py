"""The files of one checkpoint, read and verified.

A checkpoint is a folder `checkpoints/<step>` with five Orbax items that can be
read separately (`params`, `ema` and `opt_state` as arrays, `data` and `config`
as JSON) and a `manifest.json` with a digest of each, which is written last.
"""

import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from flax.traverse_util import flatten_dict, unflatten_dict

from phenaki_jax.errors import UserError
from phenaki_jax.files.digests import digest_array, digest_json
from phenaki_jax.training.checkpoint_manifest import FORMAT

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


class CheckpointError(UserError):
  """Report that a checkpoint cannot be written or read."""


class DamagedError(CheckpointError):
  """Report that one checkpoint is damaged; an older one may be usable."""


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
    manifest = json.loads(path.read_bytes())
    if manifest['format'] != FORMAT:
      raise ValueError(f'format {manifest["format"]} is not known')
    if str(manifest['step']) != folder.name:
      raise ValueError(f'it belongs to step {manifest["step"]}')
    entries = dict(manifest['arrays']).values()
    if not all(isinstance(entry, dict) for entry in entries):
      raise ValueError('its entries are not objects')
    expected = {name: manifest['json'][name] for name in JSON}
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
  """Read one item as nested dicts of numpy arrays and verify every digest.

  Raises:
    DamagedError: if an array is missing or differs from its digest.
  """
  with _damaged(folder, item):
    entries = {
      path.removeprefix(f'{item}/'): entry
      for path, entry in manifest['arrays'].items()
      if path.startswith(f'{item}/')
    }
    if not entries:
      raise ValueError('the manifest lists no arrays')
    target = {
      path: np.empty(entry['shape'], np.dtype(entry['dtype']))
      for path, entry in entries.items()
    }
    with _checkpointer(ocp.StandardCheckpointHandler()) as reader:
      tree = reader.restore(
        folder / item,
        args=ocp.args.StandardRestore(unflatten_dict(target, sep='/')),
      )
    tree = jax.tree.map(np.asarray, tree)
    flat = flatten_dict(tree, sep='/')
    broken = [
      path
      for path, entry in entries.items()
      if digest_array(flat[path]) != entry['blake2b']
    ]
    if broken:
      raise ValueError(f'the digests of {", ".join(broken[:3])} differ')
  return tree


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
