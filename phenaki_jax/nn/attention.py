"""Multi-head attention: over a sequence, and from a sequence to a memory."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from phenaki_jax.nn.layers import Kernel, multiply
from phenaki_jax.nn.positions import rotate
from phenaki_jax.sharding import logical

NEGATIVE = -1e9


def dot_product_attention(
  query: Float[Array, '*b Q K d'],
  key: Float[Array, '*b M K d'],
  value: Float[Array, '*b M K d'],
  mask: Bool[Array, '*#b #Q M'] | None = None,
  bias: Float[Array, 'K Q M'] | None = None,
) -> Float[Array, '*b Q K d']:
  """Attend with a float32 softmax.

  A query whose mask hides every key attends to all of them alike; such rows
  belong to padding and never reach a loss.

  Args:
    query: what asks.
    key: what is compared, scaled here by 1/sqrt(d).
    value: what is returned.
    mask: True where a query may see a key; shared by the heads.
    bias: added to the scores of each head.
  """
  scores = jnp.einsum('...QKd,...MKd->...KQM', query, key)
  scores = scores.astype(jnp.float32) * query.shape[-1] ** -0.5
  if bias is not None:
    scores = scores + jnp.broadcast_to(bias, scores.shape)
  if mask is not None:
    mask = jnp.broadcast_to(mask[..., None, :, :], scores.shape)
    scores = jnp.where(mask, scores, NEGATIVE)
  weights = jax.nn.softmax(scores, axis=-1).astype(value.dtype)
  return jnp.einsum('...KQM,...MKd->...QKd', weights, value)


# How steeply the heads first fade with distance in time, height and width; the
# patterns repeat over the heads: one looks along time, one inside its frame,
# one at all neighbours, one everywhere.
_FIRST_SLOPES = ((0.5, 3.0, 3.0), (3.0, 1.0, 1.0), (1.0, 1.0, 1.0), (0, 0, 0))


def _init_slopes(
  key: Array, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32
) -> Array:
  del key  # Nothing is drawn.
  rows = [_FIRST_SLOPES[i % len(_FIRST_SLOPES)] for i in range(shape[0])]
  return jnp.asarray(rows, dtype)


class SelfAttention(nn.Module):
  """Let a sequence attend to itself.

  Positions enter by rotary angles, and by distances on which every head fades
  at a learned slope, as in ALiBi (arXiv 2108.12409) but along three axes: from
  the start some heads look at their neighbours, which few steps could teach.
  """

  num_heads: int
  head_dim: int
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self,
    x: Float[Array, '*b N D'],
    mask: Bool[Array, '*#b N N'] | None = None,
    angles: Float[Array, 'N p'] | None = None,
    distances: Float[Array, 'N N 3'] | None = None,
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
    bias = None
    if distances is not None:
      slopes = self.param(
        'slopes',
        logical(_init_slopes, 'heads', None),
        (self.num_heads, 3),
        jnp.float32,
      )
      bias = -jnp.einsum('Ka,QMa->KQM', slopes, distances)
    out = dot_product_attention(query, key, value, mask, bias)
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
