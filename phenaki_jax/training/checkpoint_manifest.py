"""The manifest of a checkpoint: shape, dtype and digest of every array.

Orbax stores no checksums: it restores an array with a flipped bit without an
error. The manifest holds a digest of every array, computed from memory before
it is written, and is itself written last, so that a checkpoint without a
manifest is unfinished. A digest covers the whole array, whatever its sharding,
and is therefore the same on any number of devices and processes.
"""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict
from jax.experimental import multihost_utils

from phenaki_jax.files.digests import digest_array, digest_json

FORMAT = 1


def make_manifest(
  step: int, items: Mapping[str, Any], json_items: Mapping[str, Any]
) -> dict[str, Any]:
  """Describe a checkpoint; every process must call this at the same time.

  Args:
    step: the step of the checkpoint.
    items: nested dicts of arrays, by item name. An array that is sharded over
      several processes is gathered, one array at a time.
    json_items: JSON values, by item name.
  """
  arrays = {}
  # Sorted, so that all processes gather in the same order.
  for path, leaf in sorted(flatten_dict(dict(items), sep='/').items()):
    whole = _gathered(leaf)
    arrays[path] = {
      'shape': list(whole.shape),
      'dtype': whole.dtype.name,
      'blake2b': digest_array(whole),
    }
  return {
    'format': FORMAT,
    'step': step,
    'arrays': arrays,
    'json': {name: digest_json(value) for name, value in json_items.items()},
  }


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
