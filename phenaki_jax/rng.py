"""Random keys derived from a root key, a step and a name.

No random state is stored: the dropout key of step 812 is the same in an
uninterrupted run and in one resumed at step 800, and adding a stream does not
change the others. Keys are threefry keys, whose bits do not depend on sharding.
"""

import hashlib

import jax
import numpy as np
from jaxtyping import Array, Int, Key, UInt


def root(seed: int | UInt[Array, '']) -> Key[Array, '']:
  """Create the root key of a run or a sample from its seed."""
  return jax.random.key(seed, impl='threefry2x32')


def described() -> jax.ShapeDtypeStruct:
  """Describe a key, for tracing; nothing is allocated."""
  return jax.eval_shape(root, jax.ShapeDtypeStruct((), np.uint32))


def at_step(key: Key[Array, ''], step: int | Int[Array, '']) -> Key[Array, '']:
  """Derive the key of a step."""
  return jax.random.fold_in(key, step)


def stream(key: Key[Array, ''], name: str) -> Key[Array, '']:
  """Derive the key of a named stream, such as 'dropout' or 'mask'.

  The name is hashed with blake2b, since `hash` differs between processes.
  """
  digest = hashlib.blake2b(name.encode(), digest_size=4).digest()
  return jax.random.fold_in(key, int.from_bytes(digest, 'little'))
