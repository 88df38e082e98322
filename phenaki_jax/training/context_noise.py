"""Replace some context tokens in training, as if a sampler had erred.

In a long story the context of a window was made by the sampler itself. A model
that only saw true context takes every error for intended, and errors compound.
Autoregressive video models therefore train on corrupted context frames
(GameNGen, arXiv 2408.14837, section 3.2.1); here tokens take the place of
pixels.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, PRNGKeyArray

from phenaki_jax.rng import stream


def with_noise(
  rng: PRNGKeyArray,
  ids: Int[Array, 'B t h w'],
  context: Bool[Array, 'B t h w'],
  *,
  most: float,
  codebook_size: int,
) -> Int[Array, 'B t h w']:
  """Replace a share of the context tokens, which every clip draws.

  The share is uniform between 0 and `most`, so that context with few errors is
  seen too. Half of the new ids are uniform, and half are those of a neighbour
  in the same row or column, whose content is plausible and in the wrong place.

  Args:
    rng: random key.
    ids: true token ids.
    context: True at the tokens that may be replaced.
    most: the largest share, 0 to 1.
    codebook_size: number of token ids.
  """
  batch = ids.shape[0]
  shares = jax.random.uniform(
    stream(rng, 'shares'), (batch, 1, 1, 1), jnp.float32, maxval=most
  )
  drawn = jax.random.uniform(stream(rng, 'tokens'), ids.shape, jnp.float32)
  other = jax.random.randint(
    stream(rng, 'ids'), ids.shape, 0, codebook_size, ids.dtype
  )
  # The first place follows the last.
  neighbours = jnp.stack(
    [jnp.roll(ids, by, axis) for axis in (2, 3) for by in (1, -1)]
  )
  # 0 to 3: a neighbour; 4 to 7: any id.
  kind = jax.random.randint(stream(rng, 'kinds'), ids.shape, 0, 8, jnp.int32)
  nearby = jnp.take_along_axis(neighbours, kind[None] % 4, 0)[0]
  new = jnp.where(kind < 4, nearby, other)
  return jnp.where(context & (drawn < shares), new, ids)
