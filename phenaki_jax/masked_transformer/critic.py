"""The critic, which distinguishes real tokens from drawn ones.

It reads a grid without hidden tokens, some of which a generator has drawn
(Token-Critic, arXiv 2209.04439, section 3.1).
"""

import dataclasses
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from phenaki_jax.masked_transformer.config import GeneratorConfig
from phenaki_jax.masked_transformer.model import MaskedTransformer
from phenaki_jax.nn.config import PortsConfig
from phenaki_jax.nn.layers import Dense


class Critic(nn.Module):
  """A layer that scores features; those of its own transformer, if 'token'.

  Attributes:
    config: of the generator; the transformer of the critic differs in the
      number of layers, and has no ports.
  """

  config: GeneratorConfig

  def setup(self) -> None:
    """Create the layer and the transformer."""
    self.head = Dense(1, ('embed', None), use_bias=True, hidden=False)
    if self.config.critic == 'token':
      config = dataclasses.replace(
        self.config,
        num_layers=self.config.critic_layers,
        ports=PortsConfig(),
      )
      self.transformer = MaskedTransformer(config, features=True)

  def __call__(
    self,
    ids: Int[Array, 'B t h w'],
    text: Float[Array, 'S L E'],
    text_mask: Bool[Array, 'S L'],
    **rows: Any,
  ) -> Float[Array, 'B t h w']:
    """Return the log-odds that each token is real; see `MaskedTransformer`.

    Without a transformer of its own it only creates its parameters.
    """
    if self.config.critic == 'token':
      features = self.transformer(ids, text, text_mask, **rows)
    else:
      features = jnp.zeros((*ids.shape, self.config.width))
    return self.score(features)

  def score(
    self, features: Float[Array, 'B t h w D']
  ) -> Float[Array, 'B t h w']:
    """Return the log-odds from features, in float32."""
    return self.head(features.astype(jnp.float32))[..., 0]
