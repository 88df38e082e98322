"""Multi-head attention: over a sequence, and from a sequence to a memory."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from phenaki_jax.nn.layers import Kernel, multiply
from phenaki_jax.nn.positions import rotate

NEGATIVE = -1e9


def dot_product_attention(
  query: Float[Array, '*b Q K d'],
  key: Float[Array, '*b M K d'],
  value: Float[Array, '*b M K d'],
  mask: Bool[Array, '*#b #Q M'] | None = None,
) -> Float[Array, '*b Q K d']:
  """Attend with a float32 softmax.

  A query whose mask hides every key attends to all of them alike; such rows
  belong to padding and never reach a loss.

  Args:
    query: what asks.
    key: what is compared, scaled here by 1/sqrt(d).
    value: what is returned.
    mask: True where a query may see a key; shared by the heads.
  """
  scores = jnp.einsum('...QKd,...MKd->...KQM', query, key)
  scores = scores.astype(jnp.float32) * query.shape[-1] ** -0.5
  if mask is not None:
    mask = jnp.broadcast_to(mask[..., None, :, :], scores.shape)
    scores = jnp.where(mask, scores, NEGATIVE)
  weights = jax.nn.softmax(scores, axis=-1).astype(value.dtype)
  return jnp.einsum('...KQM,...MKd->...QKd', weights, value)


class SelfAttention(nn.Module):
  """Let a sequence attend to itself, with rotary positions if given."""

  num_heads: int
  head_dim: int
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self,
    x: Float[Array, '*b N D'],
    mask: Bool[Array, '*#b N N'] | None = None,
    angles: Float[Array, 'N p'] | None = None,
  ) -> Float[Array, '*b N D']:
    """Return the attention's output; it starts at zero."""
    width = x.shape[-1]
    kernel = Kernel(
      (width, 3, self.num_heads, self.head_dim),
      ('embed', None, 'heads', 'kv'),
      dtype=self.dtype,
      name='qkv',
    )()
    query, key, value = (multiply(x, kernel[:, i]) for i in range(3))
    if angles is not None:
      query, key = rotate(query, angles), rotate(key, angles)
    out = dot_product_attention(query, key, value, mask)
    kernel = Kernel(
      (self.num_heads, self.head_dim, width),
      ('heads', 'kv', 'embed'),
      nn.initializers.zeros,
      self.dtype,
      name='out',
    )()
    return multiply(out, kernel, dims=2)


class CrossAttention(nn.Module):
  """Let every latent step attend to the text of its own segment.

  Keys and values come straight from the text encoder's width, which is what
  makes the paper's 1.8B parameters add up (Phenaki, section 2.2).
  """

  num_heads: int
  head_dim: int
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self,
    x: Float[Array, 'B t n D'],
    text: Float[Array, 'B S L E'],
    text_mask: Bool[Array, 'B S L'],
  ) -> Float[Array, 'B t n D']:
    """Return the attention's output; it starts at zero.

    Args:
      x: the tokens, grouped by latent step.
      text: text vectors; S is 1 (one text for all steps) or t (one a step).
      text_mask: True at text vectors that are no padding.
    """
    batch, steps, tokens, width = x.shape
    if text.shape[1] not in (1, steps):
      raise ValueError(
        f'{text.shape[1]} texts a row for {steps} latent steps; give one '
        'text for the row, or one for each step.'
      )
    heads = (self.num_heads, self.head_dim)
    into = {'names': ('text', 'heads', 'kv'), 'dtype': self.dtype}
    query = multiply(
      x,
      Kernel(
        (width, *heads),
        ('embed', 'heads', 'kv'),
        dtype=self.dtype,
        name='query',
      )(),
    )
    memory = (text.shape[-1], *heads)
    key = multiply(text, Kernel(memory, **into, name='key')())
    value = multiply(text, Kernel(memory, **into, name='value')())
    if text.shape[1] == 1:
      query = query.reshape(batch, 1, steps * tokens, *query.shape[-2:])
    out = dot_product_attention(query, key, value, text_mask[..., None, :])
    out = out.reshape(batch, steps, tokens, *out.shape[-2:])
    kernel = Kernel(
      (self.num_heads, self.head_dim, width),
      ('heads', 'kv', 'embed'),
      nn.initializers.zeros,
      self.dtype,
      name='out',
    )()
    return multiply(out, kernel, dims=2)
