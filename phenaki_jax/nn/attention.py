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
  value: Float[Array, '*b M K value'],
  mask: Bool[Array, '*#b #Q M'] | None = None,
  *,
  scale: float | None = None,
) -> Float[Array, '*b Q K value']:
  """Attend with a float32 softmax.

  A query whose mask hides every key attends to all of them alike; such rows
  belong to padding and never reach a loss.

  Args:
    query: what asks.
    key: what is compared.
    value: what is returned.
    mask: True where a query may see a key; shared by the heads.
    scale: of the scores; 1/sqrt(d) unless given.
  """
  if scale is None:
    scale = query.shape[-1] ** -0.5
  # Scores and sums are float32 whatever is multiplied.
  exact = {'preferred_element_type': jnp.float32}
  # Queries are scaled, not scores, of which there are many more.
  query = scale * query
  scores = jnp.einsum('...QKd,...MKd->...KQM', query, key, **exact)
  if mask is not None:
    mask = jnp.broadcast_to(mask[..., None, :, :], scores.shape)
    scores = jnp.where(mask, scores, NEGATIVE)
  # A softmax whose division comes after the product: results are fewer than
  # weights, and so is what the gradient sums over.
  highest = jax.lax.stop_gradient(scores.max(-1, keepdims=True))
  weights = jnp.exp(scores - highest)
  totals = jnp.swapaxes(weights.sum(-1), -1, -2)[..., None]
  out = jnp.einsum(
    '...KQM,...MKd->...QKd', weights.astype(value.dtype), value, **exact
  )
  return (out / totals).astype(value.dtype)


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


def _append(
  x: Float[Array, '*b N K d'], more: Float[Array, 'N heads more']
) -> Float[Array, '*b N K longer']:
  """Append the same further entries to the vectors of each batch entry."""
  more = jnp.broadcast_to(more, (*x.shape[:-1], more.shape[-1]))
  return jnp.concatenate([x, more.astype(x.dtype)], -1)


class SelfAttention(nn.Module):
  """Let a sequence attend to itself.

  Positions enter by rotary angles, and by distances on which every head fades
  at a learned slope, as in ALiBi (arXiv 2108.12409) but along three axes: from
  the start some heads look at their neighbours, which few steps could teach.
  The distances are part of queries and keys (see `positions.axis_sides`): a
  bias added to the scores would cost a CPU more than the layer's products,
  since its gradient is a sum over whole batches of scores.
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
    sides: Float[Array, '3 N boundaries'] | None = None,
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
    if sides is not None:
      slopes = self.param(
        'slopes',
        logical(_init_slopes, 'heads', None),
        (self.num_heads, 3),
        jnp.float32,
      )
      # Less a constant, which a softmax does not see, half the product of two
      # sides is minus the distance; the scale of the scores is undone.
      own = jnp.einsum('Ka,aNb->NKb', slopes, sides)
      own = 0.5 * self.head_dim**0.5 * own
      query, key = _append(query, own), _append(key, sides.sum(0)[:, None])
    out = dot_product_attention(
      query, key, value, mask, scale=self.head_dim**-0.5
    )
    kernel = Kernel(
      (self.num_heads, self.head_dim, width),
      ('heads', 'kv', 'embed'),
      inputs=2,
      kernel_init=nn.initializers.zeros,
      dtype=self.dtype,
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
      inputs=2,
      kernel_init=nn.initializers.zeros,
      dtype=self.dtype,
      name='out',
    )()
    return multiply(out, kernel, dims=2)
