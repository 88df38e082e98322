"""The vectors that stand for the tokenizer's codes."""

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
  """Learn one vector for each code: its own, plus one of each of its digits.

  The codes of finite scalar quantization are numbers whose digits mean
  something: what is learned of a digit serves every code that has it. Codes
  without digits have a vector of their own alone.

  Attributes:
    num: number of codes.
    features: width of a vector.
    levels: number of values of each digit; none for codes without digits.
    stddev: deviation of the vectors at the start.
  """

  num: int
  features: int
  levels: tuple[int, ...] = ()
  stddev: float = 1.0

  @nn.compact
  def __call__(self) -> Float[Array, 'V D']:
    """Return the table of all codes, in float32."""
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
