"""Random examples of a manifest, to look at."""

import numpy as np

from phenaki_jax.data import manifest as manifest_lib
from phenaki_jax.data import schema


def pick(
  manifest: manifest_lib.Manifest,
  kind: str,
  *,
  count: int,
  view: schema.View,
  seed: int = 0,
) -> list[schema.Example]:
  """Decode at most `count` random records of a kind, without repeats.

  Raises:
    schema.DecodeError: if a record has been damaged since the build.
  """
  rows = np.random.default_rng(seed).permutation(manifest.rows(kind))[:count]
  return [
    manifest.reader(int(row)).example(manifest[int(row)], view) for row in rows
  ]
