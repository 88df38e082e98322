"""Compare each kernel of attention with the plain one in float32."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from accelerator.rows import Row, error, measured
from phenaki_jax.errors import UserError
from phenaki_jax.nn import kernels
from phenaki_jax.nn.attention import SelfAttention, dot_product_attention
from phenaki_jax.nn.config import TransformerConfig

LIMITS = {'float32': 1e-4, 'bfloat16': 2e-2}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
  """The inputs of one comparison.

  Attributes:
    name: what is special about them.
    dim: width of queries and keys; more than 64 are appended distances, which
      are the learned bias of the scores.
    segments: whether there are two segments.
  """

  name: str
  dim: int = 64
  segments: bool = False


CASES = (
  Case(name='plain'),
  Case(name='segments', segments=True),
  Case(name='distances', dim=99),
  Case(name='distances, segments', dim=99, segments=True),
)


def compare(*, length: int, heads: int = 4) -> Iterator[Row]:
  """Yield a row for each kernel, dtype and case, forward and gradient."""
  for dtype in LIMITS:
    for kernel in ('xla', 'cudnn', 'auto'):
      for case in CASES:
        name = f'attention {kernel}, {case.name}, {dtype}'
        yield from measured(
          name,
          LIMITS[dtype],
          lambda kernel=kernel, dtype=dtype, case=case: _errors(
            kernel, dtype, case, length, heads
          ),
        )


def _inputs(case: Case, length: int, heads: int, dtype: str) -> list[Any]:
  bits = np.random.default_rng(0)
  widths = (case.dim, case.dim, 64, 64)
  return [
    jnp.asarray(bits.normal(size=(2, length, heads, width)), dtype)
    for width in widths
  ]


def _both(attend: Callable[..., Any]) -> Callable[..., Any]:
  """Return a function that computes outputs and gradients."""

  def both(query: Any, key: Any, value: Any, seen: Any) -> Any:
    out, back = jax.vjp(attend, query, key, value)
    return out, back(seen.astype(out.dtype))

  return jax.jit(both)


def _errors(
  kernel: Any, dtype: str, case: Case, length: int, heads: int
) -> dict[str, float] | str:
  inputs = _inputs(case, length, heads, dtype)
  frames = 8
  segments = None
  if case.segments:
    ids = np.arange(frames) * 2 // frames
    segments = jnp.asarray(np.stack([ids, ids * 0]), jnp.int32)
  layer = SelfAttention(
    TransformerConfig(
      width=64 * heads, num_heads=heads, attention_kernel=kernel, dtype=dtype
    )
  )

  def attend(query: Any, key: Any, value: Any) -> Any:
    return layer.apply(
      {}, query, key, value, None, segments, method='_attend'
    )

  def plain(query: Any, key: Any, value: Any) -> Any:
    mask = None
    if segments is not None:
      mask = segments[:, :, None] == segments[:, None]
    return dot_product_attention(query, key, value, mask, scale=64**-0.5)

  try:
    chosen = kernels.choose(kernel, inputs[0], is_plain=True)
    found = _both(attend)(*inputs)
  except (UserError, RuntimeError, NotImplementedError, ValueError) as failure:
    return str(failure).splitlines()[0]
  with jax.default_matmul_precision('highest'):
    exact = _both(plain)(*(x.astype(jnp.float32) for x in inputs))
  suffix = f' ({chosen})' if kernel == 'auto' else ''
  return {
    f'forward{suffix}': error(found[0], exact[0]),
    f'gradient{suffix}': error(found[1], exact[1]),
  }
