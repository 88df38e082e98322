"""Prompt tuning: trained vectors that stand before every text.

The networks stay as they are, so that one of them serves many prompts (Lester
et al., arXiv 2104.08691; StoryDALL-E, arXiv 2209.06192, has 32 vectors).
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from phenaki_jax.sharding import logical


class Prompt(nn.Module):
  """Puts trained vectors before the vectors of each text.

  Attributes:
    length: P, number of vectors.
  """

  length: int

  @nn.compact
  def __call__(
    self, vectors: Float[Array, 'S L E'], mask: Bool[Array, 'S L']
  ) -> tuple[Float[Array, 'S PL E'], Bool[Array, 'S PL']]:
    """Return the vectors of longer texts, and where they are not padding.

    Args:
      vectors: of the texts.
      mask: True at vectors that are not padding.
    """
    texts, _, width = vectors.shape
    prompt = self.param(
      'vectors',
      # Encoded texts have the same deviation, because a norm is the last layer
      # of the encoder.
      logical(nn.initializers.normal(1.0), None, 'text'),
      (self.length, width),
      jnp.float32,
    )
    every = jnp.broadcast_to(prompt[None], (texts, *prompt.shape))
    seen = jnp.ones((texts, self.length), bool)
    return (
      jnp.concatenate([every.astype(vectors.dtype), vectors], 1),
      jnp.concatenate([seen, mask], 1),
    )
