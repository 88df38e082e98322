"""The generator: a masked transformer with its text encoder.

Training and sampling use the same functions: encode each text once, then
predict the tokens of rows that refer to the texts.
"""

import dataclasses
from typing import Any, no_type_check

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from phenaki_jax.masked_transformer.config import GeneratorConfig
from phenaki_jax.masked_transformer.model import MaskedTransformer
from phenaki_jax.text.config import TextConfig
from phenaki_jax.text.t5 import T5Encoder


# No type checks: JAX also builds it around leaves that are not arrays.
@no_type_check
@flax.struct.dataclass
class EncodedTexts:
  """Vectors of texts, with True in the mask where they are not padding."""

  vectors: Float[Array, 'S L E']
  mask: Bool[Array, 'S L']


def empty_texts(texts: Int[Array, 'S L']) -> Int[Array, 'S L']:
  """Return as many empty texts; an empty text is its end mark alone (id 1)."""
  return jnp.zeros_like(texts).at[:, 0].set(1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Generator:
  """The two networks; their parameters are in 'text' and 'generator'.

  Attributes:
    config: settings of the masked transformer.
    text: settings of the text encoder.
  """

  config: GeneratorConfig
  text: TextConfig

  def init(self, rng: PRNGKeyArray) -> dict[str, Any]:
    """Create the parameters of both networks, boxed with logical names."""
    rng_text, rng_generator = jax.random.split(rng)
    texts = jnp.ones((1, self.text.max_length), jnp.int32)
    vectors, variables = T5Encoder(self.text).init_with_output(rng_text, texts)
    ids = jnp.zeros((1, *self.config.grid), jnp.int32)
    generator = MaskedTransformer(self.config).init(
      rng_generator, ids, vectors, texts > 0
    )
    return {'text': variables['params'], 'generator': generator['params']}

  def encode(
    self,
    params: Any,
    texts: Int[Array, 'S L'],
    dropout: PRNGKeyArray | None = None,
  ) -> EncodedTexts:
    """Encode texts.

    Args:
      params: parameters of both networks.
      texts: token ids of the texts; 0 is padding.
      dropout: key of the encoder's dropout; None switches dropout off.
    """
    vectors = T5Encoder(self.text).apply(
      {'params': params['text']},
      texts,
      deterministic=dropout is None,
      rngs=None if dropout is None else {'dropout': dropout},
    )
    return EncodedTexts(vectors=vectors, mask=texts > 0)

  def logits(
    self,
    params: Any,
    ids: Int[Array, 'R t h w'],
    texts: EncodedTexts,
    **rows: Any,
  ) -> Float[Array, 'R t h w V']:
    """Predict all tokens of rows.

    Args:
      params: parameters of both networks.
      ids: token ids; `config.codebook_size` marks a hidden token.
      texts: from `encode`.
      **rows: `segments`, `frames_at` and `text_index` of `MaskedTransformer`.
    """
    return MaskedTransformer(self.config).apply(
      {'params': params['generator']}, ids, texts.vectors, texts.mask, **rows
    )
