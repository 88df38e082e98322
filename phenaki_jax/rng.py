"""Derive every random key from one root, a step and a name.

Nothing mutable is stored: the key of step 812's dropout is the same whether the
run came there unbroken or was resumed at step 800, and adding a stream changes
no other. Keys are threefry, whose bits do not depend on the sharding.
"""

import hashlib

import jax
from jaxtyping import Array, Int, Key, UInt


def root(seed: int | UInt[Array, '']) -> Key[Array, '']:
  """Make the root key of a run, or of a sample, from its seed."""
  return jax.random.key(seed, impl='threefry2x32')


def at_step(key: Key[Array, ''], step: int | Int[Array, '']) -> Key[Array, '']:
  """Derive the key of one step."""
  return jax.random.fold_in(key, step)


def stream(key: Key[Array, ''], name: str) -> Key[Array, '']:
  """Derive the key of a named stream, such as 'dropout' or 'mask'.

  The name enters by a hash that is the same on every machine and Python.
  """
  digest = hashlib.blake2b(name.encode(), digest_size=4).digest()
  return jax.random.fold_in(key, int.from_bytes(digest, 'little'))
