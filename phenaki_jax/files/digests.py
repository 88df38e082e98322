"""Write down what a checkpoint must hold, array by array.

Orbax keeps no checksum of the content: a bit that flips on disk is restored
without a word. The manifest holds a digest of every array, taken from memory,
not from the disk, and is written last, so that a checkpoint without one was not
finished. Digests are of the whole array, whatever its sharding, and therefore
hold on any number of devices and processes.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

FORMAT = 1


def flatten(tree: Mapping[str, Any], prefix: str = '') -> dict[str, Any]:
  """Flatten nested dicts to 'a/b/c' keys, sorted."""
  flat: dict[str, Any] = {}
  for name in sorted(tree):
    path = f'{prefix}{name}'
    if isinstance(tree[name], Mapping):
      flat.update(flatten(tree[name], f'{path}/'))
    else:
      flat[path] = tree[name]
  return flat


def nest(flat: Mapping[str, Any]) -> dict[str, Any]:
  """Undo `flatten`."""
  tree: dict[str, Any] = {}
  for path, leaf in flat.items():
    node = tree
    *folders, name = path.split('/')
    for folder in folders:
      node = node.setdefault(folder, {})
    node[name] = leaf
  return tree


def digest_array(array: np.ndarray) -> str:
  """Digest an array's type, shape and content."""
  content = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
  hasher = hashlib.blake2b(digest_size=16)
  hasher.update(f'{array.dtype.name} {array.shape} '.encode())
  hasher.update(content.data)
  return hasher.hexdigest()


def digest_json(value: Any) -> str:
  """Digest a JSON value, whatever the order of its keys."""
  text = json.dumps(value, sort_keys=True)
  return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def digest_tree(tree: Any) -> str:
  """Digest a whole tree of arrays, names included."""
  flat, _ = jax.tree_util.tree_flatten_with_path(tree)
  return digest_json(
    [
      [jax.tree_util.keystr(path), digest_array(_whole(leaf))]
      for path, leaf in flat
    ]
  )


def make_manifest(
  step: int, items: Mapping[str, Any], json_items: Mapping[str, Any]
) -> dict[str, Any]:
  """Describe a checkpoint; every process must call this at the same time.

  Args:
    step: the step it belongs to.
    items: nested dicts of arrays, by item name. An array that is spread over
      several processes is gathered, one at a time.
    json_items: JSON values, by item name.
  """
  arrays = {}
  for path, leaf in flatten(items).items():
    whole = _whole(leaf)
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


def _whole(leaf: Any) -> np.ndarray:
  if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
    return np.asarray(multihost_utils.process_allgather(leaf, tiled=True))
  return np.asarray(leaf)
