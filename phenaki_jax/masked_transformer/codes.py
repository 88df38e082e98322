"""Embeddings of the tokenizer's codes."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from phenaki_jax.sharding import logical


def digits(codes: int, levels: tuple[int, ...]) -> np.ndarray:
  """Return the digits of all codes, int32 [codes, len(levels)].

  The first digit changes fastest, as in `tokenizer.quantizers.fsq`.
  """
  place = np.cumprod((1, *levels))[:-1]
  ids = np.arange(codes)[:, None]
  return (ids // place % np.array(levels, int)).astype(np.int32)


class CodeTable(nn.Module):
  """One vector per code: its own vector plus one vector for each of its digits.

  The digits of a code of finite scalar quantization have a meaning of their
  own, and codes that share a digit share its vector. Codes without digits have
  only their own vector.

  Attributes:
    num: number of codes.
    features: width of a vector.
    levels: number of values of each digit; empty for codes without digits.
    stddev: initial standard deviation of the vectors.
  """

  num: int
  features: int
  levels: tuple[int, ...] = ()
  stddev: float = 1.0

  @nn.compact
  def __call__(self) -> Float[Array, 'V D']:
    """Return the vectors of all codes, in float32."""
    share = self.stddev / (1 + len(self.levels)) ** 0.5
    init = nn.initializers.normal(share)
    table = self.param(
      'embedding',
      logical(init, 'vocab', 'embed'),
      (self.num, self.features),
      jnp.float32,
    )
    columns = digits(self.num, self.levels).T
    for i, (level, column) in enumerate(zip(self.levels, columns, strict=True)):
      part = self.param(
        f'digit_{i}_embedding',
        logical(init, None, 'embed'),
        (level, self.features),
        jnp.float32,
      )
      table = table + part[column]
    return table
