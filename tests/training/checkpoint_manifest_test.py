"""A manifest covers its own content."""

import json

import numpy as np
import pytest

from phenaki_jax.training.checkpoint_manifest import (
  check_manifest,
  digest_tree,
  make_manifest,
)


def _manifest(**changes):
  w = np.ones((2, 3), np.float32)
  made = make_manifest(
    3, {'params': {'w': w}}, {'params/w': '0f'}, {'data': {'s': 3}}, {'f': '1'}
  )
  return {**made, **changes}


def test_manifest_lists_shape_dtype_and_checksum():
  entry = {'shape': [2, 3], 'dtype': 'float32', 'checksum': '0f'}
  assert _manifest()['arrays'] == {'params/w': entry}
  assert check_manifest(json.loads(json.dumps(_manifest())), '3') == _manifest()


@pytest.mark.parametrize(
  ('change', 'said'),
  [
    ({'format': 3}, 'format 3 is not known'),
    ({'step': 4}, 'belongs to step 4'),
    ({'json': {}}, 'its digest differs'),
    ({'extra': 1}, 'its digest differs'),
    ({'format': 1, 'arrays': {'params/w': 1}}, 'not objects'),
  ],
)
def test_a_changed_manifest_is_refused(change, said):
  with pytest.raises(ValueError, match=said):
    check_manifest(_manifest(**change), '3')


def test_tree_digest_depends_on_names():
  w = np.ones(3)
  assert digest_tree({'a': w}) != digest_tree({'b': w})
  assert digest_tree({}) == digest_tree({})


def test_known_digest_stays():
  # Checkpoints on disk hold digests like this one.
  tree = {'b': {'w': np.ones(3, np.float32)}, 'a': np.zeros((), np.int32)}
  assert digest_tree(tree) == '89668e7e8431e2396fba45a70f2be0d6'
