"""The manifest of a checkpoint: shape, dtype and checksum of every array.

Orbax stores no checksums: it restores an array with a flipped bit without an
error. The manifest holds a checksum of every array, computed from memory while
Orbax writes it, and is itself written last, so that a checkpoint without a
manifest is unfinished. A checksum covers the whole array, whatever its
sharding, and is therefore the same on any number of devices and processes (see
`checkpoint_sums`). Digests cover the small files and the manifest itself.
"""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict
from jax.experimental import multihost_utils

from phenaki_jax.files.digests import digest_array, digest_json

FORMAT = 2
# Of earlier releases, with a BLAKE2b digest of each whole array.
WHOLE_DIGESTS = 1


def make_manifest(
  step: int,
  items: Mapping[str, Any],
  checksums: Mapping[str, str],
  json_items: Mapping[str, Any],
  files: Mapping[str, str],
) -> dict[str, Any]:
  """Describe a checkpoint.

  Args:
    step: the step of the checkpoint.
    items: nested dicts of arrays or their descriptions, by item name.
    checksums: of every array, by its path, from `checkpoint_sums.add_up`.
    json_items: JSON values, by item name.
    files: digests of the small files, from `checkpoint_files.small_files`.
  """
  manifest = {
    'format': FORMAT,
    'step': step,
    'arrays': {
      path: {
        'shape': list(leaf.shape),
        'dtype': np.dtype(leaf.dtype).name,
        'checksum': checksums[path],
      }
      for path, leaf in sorted(flatten_dict(dict(items), sep='/').items())
    },
    'json': {name: digest_json(value) for name, value in json_items.items()},
    'files': dict(files),
  }
  return {**manifest, 'digest': digest_json(manifest)}


def check_manifest(manifest: Any, step: str) -> dict[str, Any]:
  """Return a manifest that was read, if it is whole and of that step.

  Raises:
    KeyError, TypeError, ValueError: if it is not.
  """
  if manifest['format'] not in (WHOLE_DIGESTS, FORMAT):
    raise ValueError(f'format {manifest["format"]} is not known')
  if str(manifest['step']) != step:
    raise ValueError(f'it belongs to step {manifest["step"]}')
  if manifest['format'] == FORMAT:
    content = {k: v for k, v in manifest.items() if k != 'digest'}
    if digest_json(content) != manifest['digest']:
      raise ValueError('its digest differs')
  entries = dict(manifest['arrays']).values()
  if not all(isinstance(entry, dict) for entry in entries):
    raise ValueError('its entries are not objects')
  return manifest


def digest_tree(tree: Any) -> str:
  """Return the digest of a pytree of arrays, including their names."""
  flat, _ = jax.tree_util.tree_flatten_with_path(tree)
  return digest_json(
    [
      [jax.tree_util.keystr(path), digest_array(_gathered(leaf))]
      for path, leaf in flat
    ]
  )


def _gathered(leaf: Any) -> np.ndarray:
  if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
    return np.asarray(multihost_utils.process_allgather(leaf, tiled=True))
  return np.asarray(leaf)
