"""The generator: a masked transformer with its text encoder.

Training and sampling use the same functions: encode each text once, then
predict the tokens of rows that refer to the texts.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, TypeAlias, no_type_check

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from phenaki_jax.masked_transformer.config import GeneratorConfig
from phenaki_jax.masked_transformer.critic import Critic
from phenaki_jax.masked_transformer.model import MaskedTransformer
from phenaki_jax.masked_transformer.prompt import Prompt
from phenaki_jax.nn.conditions import Conditions, blank
from phenaki_jax.text.config import TextConfig
from phenaki_jax.text.t5 import WORDS, T5Encoder


# No type checks: JAX also builds it around leaves that are not arrays.
@no_type_check
@flax.struct.dataclass
class EncodedTexts:
  """Vectors of texts, with True in the mask where they are not padding."""

  vectors: Float[Array, 'S L E']
  mask: Bool[Array, 'S L']


Texts: TypeAlias = Int[Array, 'S L'] | EncodedTexts
"""Token ids of texts, with 0 as padding, or vectors that are given."""


def empty_texts(texts: Texts) -> Texts:
  """Return as many empty texts; an empty text is its end mark alone (id 1).

  An empty text of given vectors is one vector of zeros: its values are zero, so
  that cross-attention adds nothing, as in Muse (arXiv 2301.00704).
  """
  if isinstance(texts, EncodedTexts):
    first = jnp.zeros_like(texts.mask).at[:, 0].set(True)
    return EncodedTexts(vectors=jnp.zeros_like(texts.vectors), mask=first)
  return jnp.zeros_like(texts).at[:, 0].set(1)


def remember(
  conditions: Conditions | None,
  encode: Callable[[Int[Array, 'S L']], EncodedTexts] | None,
) -> Conditions | None:
  """Encode the captions of a history, unless they are vectors already.

  Args:
    conditions: of a network.
    encode: the text encoder; None: the network reads no text.
  """
  history = conditions.memory.get('history') if conditions else None
  if conditions is None or history is None or history.captions is None:
    return conditions
  ids = history.captions
  if encode is None:
    history = dataclasses.replace(history, captions=None, spoken=None)
  elif history.spoken is None:
    texts = encode(ids.reshape(-1, ids.shape[-1]))
    vectors = texts.vectors.reshape(*ids.shape, -1).astype(jnp.float32)
    history = dataclasses.replace(
      history, captions=vectors, spoken=texts.mask.reshape(ids.shape)
    )
  memory = {**conditions.memory, 'history': history}
  return dataclasses.replace(conditions, memory=memory)


def init_encoder(
  text: TextConfig, rng: PRNGKeyArray, ids: Int[Array, 'S L']
) -> dict[str, Any]:
  """Create the parameters of a text encoder, boxed with logical names.

  They are in 'text', and the table of new words, if any, in 'words'.
  """
  own = dict(T5Encoder(text).init(rng, ids)['params'])
  added = {WORDS: {WORDS: own.pop(WORDS)}} if text.words else {}
  return {'text': own, **added}


def encode_texts(
  text: TextConfig,
  params: Any,
  texts: Texts,
  dropout: PRNGKeyArray | None = None,
) -> EncodedTexts:
  """Encode texts; vectors that are given are returned as they are.

  Args:
    text: settings of the text encoder.
    params: those of `init_encoder`, among others.
    texts: token ids or vectors of the texts.
    dropout: key of the encoder's dropout; None switches dropout off.
  """
  if isinstance(texts, EncodedTexts):
    return texts
  vectors = T5Encoder(text).apply(
    {'params': {**params['text'], **params.get(WORDS, {})}},
    texts,
    deterministic=dropout is None,
    rngs=None if dropout is None else {'dropout': dropout},
  )
  return EncodedTexts(vectors=vectors, mask=texts > 0)


def init_prompt(
  length: int, rng: PRNGKeyArray, *, width: int
) -> dict[str, Any]:
  """Create the `length` trained vectors of a prompt, if any, in 'prompt'."""
  if not length:
    return {}
  texts = jnp.zeros((1, 1, width)), jnp.ones((1, 1), bool)
  return {'prompt': Prompt(length).init(rng, *texts)['params']}


def with_prompt(length: int, params: Any, texts: EncodedTexts) -> EncodedTexts:
  """Put the `length` trained vectors of a prompt, if any, before texts."""
  if not length:
    return texts
  vectors, mask = Prompt(length).apply(
    {'params': params['prompt']}, texts.vectors, texts.mask
  )
  return EncodedTexts(vectors=vectors, mask=mask)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Generator:
  """The networks; their parameters are in 'text', 'generator' and 'critic'.

  There is no 'text' if vectors of texts are given, and no 'critic' if the
  config has none. What is added to trained networks is apart, so that it can be
  trained alone: the table of new words in 'words', trained vectors in 'prompt'.

  Attributes:
    config: settings of the masked transformer.
    text: settings of the text encoder.
  """

  config: GeneratorConfig
  text: TextConfig

  def init(self, rng: PRNGKeyArray) -> dict[str, Any]:
    """Create the parameters of all networks, boxed with logical names."""
    rng_text, rng_generator, rng_critic = jax.random.split(rng, 3)
    texts = jnp.ones((1, self.text.max_length), jnp.int32)
    params: dict[str, Any] = {}
    width = self.config.text_width
    if width is None:
      params = init_encoder(self.text, rng_text, texts)
      width = self.text.width
    vectors = jnp.zeros((*texts.shape, width))
    ids = jnp.zeros((1, *self.config.grid), jnp.int32)
    generator = MaskedTransformer(self.config).init(
      rng_generator,
      ids,
      vectors,
      texts > 0,
      conditions=blank(self.config.ports, self.config.grid, text_width=width),
    )
    params['generator'] = generator['params']
    rng_prompt = jax.random.fold_in(rng_generator, 1)
    params |= init_prompt(self.config.prompt, rng_prompt, width=width)
    if self.config.critic != 'none':
      params['critic'] = Critic(self.config).init(
        rng_critic, ids, vectors, texts > 0
      )['params']
    return params

  def encode(
    self,
    params: Any,
    texts: Texts,
    dropout: PRNGKeyArray | None = None,
  ) -> EncodedTexts:
    """Encode texts; vectors that are given are returned as they are.

    Args:
      params: parameters of all networks.
      texts: token ids or vectors of the texts.
      dropout: key of the encoder's dropout; None switches dropout off.
    """
    if self.config.text_width == 0 and not isinstance(texts, EncodedTexts):
      vectors = jnp.zeros((*texts.shape, 0))
      return EncodedTexts(vectors=vectors, mask=texts > 0)
    return encode_texts(self.text, params, texts, dropout)

  def encode_with_empty(self, params: Any, texts: Texts) -> EncodedTexts:
    """Encode texts, followed by as many empty ones, for guidance.

    With a frozen encoder the empty texts are those of given vectors, which
    training sees (see `empty_texts`).
    """
    if self.text.is_frozen:
      texts = self.encode(params, texts)
    both = jax.tree.map(
      lambda *parts: jnp.concatenate(parts), texts, empty_texts(texts)
    )
    return self.encode(params, both)

  def remember(
    self, params: Any, conditions: Conditions | None
  ) -> Conditions | None:
    """Encode the captions of a history, unless they are vectors already."""
    # A network without text reads none.
    has_text = self.config.text_width != 0
    return remember(
      conditions, functools.partial(self.encode, params) if has_text else None
    )

  def logits(
    self,
    params: Any,
    ids: Int[Array, 'R t h w'],
    texts: EncodedTexts,
    dropout: PRNGKeyArray | None = None,
    **rows: Any,
  ) -> Float[Array, 'R t h w V']:
    """Predict all tokens of rows.

    Args:
      params: parameters of all networks.
      ids: token ids; `config.codebook_size` marks a hidden token.
      texts: from `encode`.
      dropout: key of the dropout; None switches dropout off.
      **rows: `segments`, `frames_at`, `packing` and `conditions` of
        `MaskedTransformer`.
    """
    texts = with_prompt(self.config.prompt, params, texts)
    conditions = self.remember(params, rows.pop('conditions', None))
    return MaskedTransformer(self.config).apply(
      {'params': params['generator']},
      ids,
      texts.vectors,
      texts.mask,
      conditions=conditions,
      rngs=None if dropout is None else {'dropout': dropout},
      **rows,
    )

  def criticise(
    self,
    params: Any,
    ids: Int[Array, 'R t h w'],
    texts: EncodedTexts,
    **rows: Any,
  ) -> Float[Array, 'R t h w']:
    """Return the log-odds that each token is real and not drawn.

    Args:
      params: parameters of all networks.
      ids: token ids, none hidden.
      texts: from `encode`.
      **rows: see `logits`.
    """
    is_own = self.config.critic == 'self'
    if is_own:
      texts = with_prompt(self.config.prompt, params, texts)
    inputs = (ids, texts.vectors, texts.mask)
    if is_own:
      rows['conditions'] = self.remember(params, rows.get('conditions'))
      trunk = MaskedTransformer(self.config, features=True)
      features = trunk.apply({'params': params['generator']}, *inputs, **rows)
      return Critic(self.config).apply(
        {'params': params['critic']}, features, method='score'
      )
    rows = {name: x for name, x in rows.items() if name != 'conditions'}
    return Critic(self.config).apply(
      {'params': params['critic']}, *inputs, **rows
    )
