"""Compare each kernel of attention with the plain one in float32."""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from accelerator import machine
from accelerator.once import Once
from accelerator.rows import Job, error
from phenaki_jax.errors import UserError
from phenaki_jax.nn import kernels
from phenaki_jax.nn.attention import (
  CrossAttention,
  Packing,
  SelfAttention,
  dot_product_attention,
)
from phenaki_jax.nn.config import TransformerConfig

LIMITS = {'float32': 1e-4, 'bfloat16': 2e-2}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
  """The inputs of one comparison.

  Attributes:
    name: what is special about them.
    dim: width of queries and keys; more than 64 are appended distances, which
      are the learned bias of the scores.
    segments: one 'clips' per row, the first with padding; or 'packed' images in
      the first row. Empty: no segments.
    is_cross: attention to the vectors of texts, one of them with padding.
  """

  name: str
  dim: int = 64
  segments: Literal['', 'clips', 'packed'] = ''
  is_cross: bool = False


CASES = (
  Case(name='plain'),
  Case(name='clips', segments='clips'),
  Case(name='packed', segments='packed'),
  Case(name='distances', dim=99),
  Case(name='distances, packed', dim=99, segments='packed'),
  Case(name='text', is_cross=True),
)
_TEXT = 16


def comparisons(*, length: int, heads: int = 4) -> Iterator[Job]:
  """Yield a job for each kernel, dtype and case, forward and gradient."""
  for dtype, limit in LIMITS.items():
    cases = [
      (case, inputs, Once(functools.partial(_reference, inputs)))
      for case in CASES
      for inputs in [_inputs(case, length, heads, dtype)]
    ]
    for kernel in ('xla', 'cudnn', 'auto'):
      for case, inputs, reference in cases:
        yield (
          f'attention {kernel}, {case.name}, {dtype}',
          limit,
          functools.partial(_errors, kernel, case, inputs, reference),
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Inputs:
  """The arrays of a case: `seen` is the gradient of the outputs.

  `shown` is 0 for padding: what it attends to does not matter.
  """

  query: Any
  key: Any
  value: Any
  seen: Any
  segments: Any
  packing: Any
  mask: Any
  shown: Any


def _inputs(case: Case, length: int, heads: int, dtype: str) -> _Inputs:
  bits = np.random.default_rng(0)
  query, key, value, seen = (
    jnp.asarray(bits.normal(size=(2, length, heads, width)), dtype)
    for width in (case.dim, case.dim, 64, 64)
  )
  segments = packing = mask = None
  if case.segments:
    ids = np.repeat([[0] * 4 + [-1] * 4, [0] * 8], 1, axis=0)
    if case.segments == 'packed':
      ids[0] = np.arange(8)
    segments = jnp.asarray(ids, jnp.int32)
    packing = Packing(packed=int(case.segments == 'packed'))
    mask = segments[:, :, None] == segments[:, None]
  if case.is_cross:
    key, value = key[:, :_TEXT], value[:, :_TEXT]
    mask = jnp.asarray(np.arange(_TEXT) < np.array([[_TEXT], [5]]))[:, None]
  real = np.ones((2, 8), bool)
  if case.segments == 'clips':
    real = np.asarray(segments) >= 0
  shown = np.repeat(real, length // 8, 1)[..., None, None]
  return _Inputs(
    query=query,
    key=key,
    value=value,
    seen=jnp.where(shown, seen, 0),
    segments=segments,
    packing=packing,
    mask=mask,
    shown=shown,
  )


def _both(attend: Callable[..., Any]) -> Callable[..., Any]:
  """Return a function that computes outputs and gradients."""

  def both(query: Any, key: Any, value: Any, seen: Any) -> Any:
    out, back = jax.vjp(attend, query, key, value)
    return out, back(seen.astype(out.dtype))

  return jax.jit(both)


def _reference(inputs: _Inputs) -> Any:
  """Compute outputs and gradients plainly, in float32."""

  def plain(query: Any, key: Any, value: Any) -> Any:
    return dot_product_attention(query, key, value, inputs.mask, scale=64**-0.5)

  given = (inputs.query, inputs.key, inputs.value, inputs.seen)
  with jax.default_matmul_precision('highest'):
    return _both(plain)(*(x.astype(jnp.float32) for x in given))


def _errors(
  kernel: Any, case: Case, inputs: _Inputs, reference: Once
) -> dict[str, float] | str:
  heads, dtype = inputs.query.shape[2], str(inputs.query.dtype)
  config = TransformerConfig(
    width=64 * heads, num_heads=heads, attention_kernel=kernel, dtype=dtype
  )

  def attend(query: Any, key: Any, value: Any) -> Any:
    drop = nn.Dropout(0.0, deterministic=True).bind({})
    if case.is_cross:
      layer = CrossAttention(config)
      given = (query[None], key[None], value[None], inputs.mask[None], drop)
      return layer.apply({}, *given, method='_attend')[0]
    given = (query, key, value, None, inputs.segments, inputs.packing, drop)
    return SelfAttention(config).apply({}, *given, method='_attend')

  try:
    chosen = kernels.choose(kernel, inputs.query, is_plain=True)
    with jax.default_matmul_precision('highest'):
      out, grads = _both(attend)(
        inputs.query, inputs.key, inputs.value, inputs.seen
      )
  except (UserError, RuntimeError) as failure:
    reason = (str(failure).splitlines() or [''])[0]
    if machine.device().platform == 'gpu' and dtype == 'bfloat16':
      raise  # A GPU must support it.
    return reason
  expected, expected_grads = reference()
  suffix = f' ({chosen})' if kernel == 'auto' else ''
  shown = inputs.shown
  return {
    f'forward{suffix}': error(out * shown, expected * shown),
    f'gradient{suffix}': error(grads, expected_grads),
  }
