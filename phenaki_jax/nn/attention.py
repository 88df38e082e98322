"""Multi-head self-attention, and cross-attention to texts."""

from collections.abc import Callable

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int

from phenaki_jax.nn import kernels
from phenaki_jax.nn.config import TransformerConfig
from phenaki_jax.nn.layers import Kernel, dropout, multiply
from phenaki_jax.nn.positions import rotate
from phenaki_jax.sharding import logical

NEGATIVE = -1e9


def dot_product_attention(
  query: Float[Array, '*b Q K d'],
  key: Float[Array, '*b M K d'],
  value: Float[Array, '*b M K value'],
  mask: Bool[Array, '*#b queries keys'] | None = None,
  *,
  scale: float | None = None,
  drop: Callable[[Array], Array] = lambda weights: weights,
) -> Float[Array, '*b Q K value']:
  """Compute scaled dot-product attention with a float32 softmax.

  A query whose mask hides every key attends uniformly to all keys. Such queries
  belong to padding and do not affect a loss.

  Args:
    query: queries.
    key: keys.
    value: values.
    mask: True where a query may attend to a key; shared by the heads. Its
      sides may be divisors of Q and M: each entry is then of a block of
      consecutive queries and keys, such as those of two latent frames.
    scale: scale of the scores; 1/sqrt(d) by default.
    drop: dropout of the weights.
  """
  if scale is None:
    scale = query.shape[-1] ** -0.5
  # Scores and sums are float32, whatever the dtype of the inputs.
  exact = {'preferred_element_type': jnp.float32}
  # Scaling the queries is cheaper than scaling the scores.
  query = scale * query
  scores = jnp.einsum('...QKd,...MKd->...KQM', query, key, **exact)
  if mask is not None:
    # Blocks are dims of the scores: a mask of all pairs is never built.
    rows, columns = mask.shape[-2:]
    blocks = scores.reshape(
      *scores.shape[:-2], rows, -1, columns, scores.shape[-1] // columns
    )
    mask = mask[..., None, :, None, :, None]
    blocks = jnp.where(jnp.broadcast_to(mask, blocks.shape), blocks, NEGATIVE)
    scores = blocks.reshape(scores.shape)
  # Normalise after the product with the values: the output has fewer elements
  # than the weights. The gradient is cheaper, too.
  highest = jax.lax.stop_gradient(scores.max(-1, keepdims=True))
  weights = jnp.exp(scores - highest)
  totals = jnp.swapaxes(weights.sum(-1), -1, -2)[..., None]
  out = jnp.einsum(
    '...KQM,...MKd->...QKd', drop(weights).astype(value.dtype), value, **exact
  )
  return (out / totals).astype(value.dtype)


# Initial slopes of the distance penalty along time, height and width. The four
# patterns repeat over the heads: along time, within a frame, among neighbours
# on all axes, and everywhere.
_FIRST_SLOPES = ((0.5, 3.0, 3.0), (3.0, 1.0, 1.0), (1.0, 1.0, 1.0), (0, 0, 0))


def _init_slopes(
  key: Array, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32
) -> Array:
  del key  # The values are not random.
  rows = [_FIRST_SLOPES[i % len(_FIRST_SLOPES)] for i in range(shape[0])]
  return jnp.asarray(rows, dtype)


def _append(
  x: Float[Array, '*b N K d'], more: Float[Array, 'N heads more']
) -> Float[Array, '*b N K longer']:
  """Append the same features to the vectors of each batch entry."""
  more = jnp.broadcast_to(more, (*x.shape[:-1], more.shape[-1]))
  return jnp.concatenate([x, more.astype(x.dtype)], -1)


def project_out(
  config: TransformerConfig, x: Float[Array, '*b K d']
) -> Float[Array, '*b D']:
  """Map the heads to the model width; called inside a compact method."""
  kernel = Kernel(
    (config.num_heads, config.head_dim, config.width),
    ('heads', 'kv', 'embed'),
    inputs=2,
    kernel_init=nn.initializers.zeros,
    dtype=config.dtype,
    name='out',
  )()
  return multiply(x, kernel, dims=2)


@flax.struct.dataclass
class Packing:
  """Which rows have one text, and which have one for each latent frame.

  The rows are in equal groups, each of which ends with `packed` rows of the
  second kind. The texts are in the order of the groups, and within a group in
  that of the rows and of their latent frames.
  """

  groups: int = flax.struct.field(pytree_node=False, default=1)
  packed: int = flax.struct.field(pytree_node=False, default=0)


class SelfAttention(nn.Module):
  """Self-attention with rotary positions and a learned distance penalty.

  Each head subtracts a learned slope times the distance from its scores, as in
  ALiBi (arXiv 2108.12409) but along three axes. The initial slopes make some
  heads attend to neighbours, which short runs do not learn. The distances are
  inner products of features appended to queries and keys (see
  `positions.distance_features`). A bias added to the scores would cost more on
  a CPU than the layer's products, because its gradient is a sum over the
  scores of the whole batch.
  """

  config: TransformerConfig
  dropout: float = 0.0

  @nn.compact
  def __call__(
    self,
    x: Float[Array, '*b N D'],
    mask: Bool[Array, '*#b N M'] | None = None,
    angles: Float[Array, 'N p'] | None = None,
    distances: Float[Array, '3 N boundaries'] | None = None,
    segments: Int[Array, '*b t'] | None = None,
    packing: Packing | None = None,
    *,
    remembered: int = 0,
  ) -> Float[Array, '*b N D']:
    """Return the output, which is zero at initialisation.

    Args:
      x: the sequence.
      mask: True where a query may attend to a key; [N, remembered + N] if
        positions are remembered.
      angles: rotary angles of the positions.
      distances: distance features of the positions.
      segments: segment of each of t equal parts of the sequence; tokens attend
        to those of their segment. None: one segment. Not with a mask.
      packing: if it says that no row is packed, every row has one segment,
        followed by padding.
      remembered: number of positions before the sequence whose keys and values
        are kept in the collection 'cache', which the call creates and updates.
    """
    num_heads, head_dim = self.config.num_heads, self.config.head_dim
    kernel = Kernel(
      (x.shape[-1], 3, num_heads, head_dim),
      ('embed', None, 'heads', 'kv'),
      dtype=self.config.dtype,
      name='qkv',
    )()
    query, key, value = (multiply(x, kernel[:, i]) for i in range(3))
    if angles is not None:
      query, key = rotate(query, angles), rotate(key, angles)
    if distances is not None:
      slopes = self.param(
        'slopes',
        logical(_init_slopes, 'heads', None),
        (num_heads, 3),
        jnp.float32,
      )
      # With the scale of the scores undone, q.k equals -slope * distance plus
      # a constant, which softmax ignores.
      sloped = jnp.einsum('Ka,aNb->NKb', slopes, distances)
      sloped = 0.5 * head_dim**0.5 * sloped
      query = _append(query, sloped)
      key = _append(key, distances.sum(0)[:, None])
    if remembered:
      key = self._with_past('key', key, remembered)
      value = self._with_past('value', value, remembered)
    drop = dropout(self, self.dropout)
    out = self._attend(query, key, value, mask, segments, packing, drop)
    return project_out(self.config, out)

  def _attend(
    self,
    query: Array,
    key: Array,
    value: Array,
    mask: Array | None,
    segments: Array | None,
    packing: Packing | None,
    drop: nn.Dropout,
  ) -> Array:
    """Attend by the configured kernel."""
    scale = self.config.head_dim**-0.5
    is_plain = mask is None and query.ndim == 4
    is_plain &= not self.dropout or bool(drop.deterministic)
    kernel = kernels.choose(
      self.config.attention_kernel, query, is_plain=is_plain
    )
    if kernel == 'xla':
      if segments is not None:
        mask = segments[..., :, None] == segments[..., None, :]
      return dot_product_attention(
        query, key, value, mask, scale=scale, drop=drop
      )
    if segments is not None:
      size = query.shape[1] // segments.shape[1]
      if kernel == 'cudnn' and packing is not None and not packing.packed:
        # What padding attends to does not matter.
        lengths = size * jnp.sum(segments == segments[:, :1], 1)
        return kernels.cudnn(
          query, key, value, scale=scale, lengths=lengths.astype(jnp.int32)
        )
      segments = jnp.repeat(segments, size, axis=1)
    fused = {'splash': kernels.splash, 'cudnn': kernels.cudnn}[kernel]
    return fused(query, key, value, segments, scale=scale)

  def _with_past(
    self, name: str, new: Float[Array, '*b N K d'], remembered: int
  ) -> Float[Array, '*b M K d']:
    """Prepend the remembered vectors, and remember the last ones."""
    shape = (*new.shape[:-3], remembered, *new.shape[-2:])
    past = self.variable('cache', name, jnp.zeros, shape, new.dtype)
    joined = jnp.concatenate([past.value, new], -3)
    past.value = joined[..., -remembered:, :, :]
    return joined


class CrossAttention(nn.Module):
  """Cross-attention of tokens to the text of their row or latent frame.

  Keys and values are projected directly from the text encoder's width, which
  the parameter count of the paper's 1.8B model implies (Phenaki, section 2.2).
  They are computed once per text.
  """

  config: TransformerConfig
  dropout: float = 0.0

  @nn.compact
  def __call__(
    self,
    x: Float[Array, 'B t n D'],
    text: Float[Array, 'S L E'],
    text_mask: Bool[Array, 'S L'],
    packing: Packing | None = None,
  ) -> Float[Array, 'B t n D']:
    """Return the output, which is zero at initialisation.

    Args:
      x: the tokens, grouped by latent frame.
      text: vectors of each text.
      text_mask: True at text vectors that are not padding.
      packing: the texts of the rows. None: row i reads text i.
    """
    batch, t, n, width = x.shape
    heads = (self.config.num_heads, self.config.head_dim)
    dtype = self.config.dtype
    names = ('embed', 'heads', 'kv')
    kernel = Kernel((width, *heads), names, dtype=dtype, name='query')()
    query = multiply(x, kernel)
    memory = {'names': ('text', 'heads', 'kv'), 'dtype': dtype}
    shape = (text.shape[-1], *heads)
    key = multiply(text, Kernel(shape, **memory, name='key')())
    value = multiply(text, Kernel(shape, **memory, name='value')())
    drop = dropout(self, self.dropout)
    groups, packed = (packing.groups, packing.packed) if packing else (1, 0)
    plain = batch // groups - packed

    def grouped(x: Array) -> Array:
      return x.reshape(groups, -1, *x.shape[1:])

    query, key, value = grouped(query), grouped(key), grouped(value)
    mask = grouped(text_mask)[..., None, :]
    parts = []
    # The queries of one text are a row, or a latent frame of a packed row.
    for rows, texts, length in (
      (slice(None, plain), slice(None, plain), t * n),
      (slice(plain, None), slice(plain, None), n),
    ):
      own = query[:, rows]
      if own.size:
        queries = own.reshape(groups, -1, length, *heads)
        read = (key[:, texts], value[:, texts], mask[:, texts])
        out = self._attend(queries, *read, drop)
        parts.append(out.reshape(own.shape))
    out = jnp.concatenate(parts, 1) if len(parts) > 1 else parts[0]
    return project_out(self.config, out.reshape(batch, t, n, *heads))

  def _attend(
    self,
    query: Float[Array, 'groups S N K d'],
    key: Float[Array, 'groups S L K d'],
    value: Float[Array, 'groups S L K d'],
    mask: Bool[Array, 'groups S 1 L'],
    drop: nn.Dropout,
  ) -> Float[Array, 'groups S N K d']:
    """Attend to texts by the configured kernel."""
    flat = query.reshape(-1, *query.shape[2:])
    is_plain = not self.dropout or bool(drop.deterministic)
    kernel = kernels.choose(
      self.config.attention_kernel, flat, is_plain=is_plain, is_cross=True
    )
    if kernel == 'xla':
      return dot_product_attention(query, key, value, mask, drop=drop)
    # A text ends with its padding.
    lengths = jnp.maximum(jnp.sum(mask, -1, dtype=jnp.int32), 1).reshape(-1)
    key, value = (x.reshape(-1, *x.shape[2:]) for x in (key, value))
    scale = self.config.head_dim**-0.5
    out = kernels.cudnn(flat, key, value, scale=scale, lengths=lengths)
    return out.reshape(query.shape)
