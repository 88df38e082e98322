import hashlib

from phenaki_jax.data import seen


def test_a_hash_is_new_once():
  hashes = seen.SeenHashes()
  digests = [hashlib.sha256(bytes([i])).hexdigest() for i in range(100)]
  assert all(hashes.add(digest) for digest in digests)
  assert not any(hashes.add(digest) for digest in digests)
  assert hashes.add(hashlib.sha256(b'other').hexdigest())
  hashes.close()
