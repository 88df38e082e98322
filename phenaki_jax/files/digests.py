"""Digests of arrays, JSON values and files."""

import hashlib
import json
from typing import Any

import numpy as np
from etils import epath


def digest_array(array: np.ndarray) -> str:
  """Return the BLAKE2b digest of an array's dtype, shape and content."""
  content = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
  hasher = hashlib.blake2b(digest_size=16)
  hasher.update(f'{array.dtype.name} {array.shape} '.encode())
  hasher.update(content.data)
  return hasher.hexdigest()


def digest_json(value: Any) -> str:
  """Return the BLAKE2b digest of a JSON value; key order does not matter."""
  text = json.dumps(value, sort_keys=True)
  return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def file_digest(path: epath.PathLike) -> str:
  """Return the SHA-256 of a file, in hexadecimal."""
  with epath.Path(path).open('rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()
