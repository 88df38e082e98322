"""Settings of the computation that the configs of all models share."""

from phenaki_jax.errors import UserError

DTYPES = ('float32', 'bfloat16')
REMATS = ('none', 'matmuls', 'full')


def check_compute(*, dtype: str, remat: str) -> None:
  """Raise a UserError unless both names are known.

  Args:
    dtype: dtype of the computation; parameters are always float32.
    remat: what the backward pass recomputes (see `nn.blocks`).
  """
  if dtype not in DTYPES:
    raise UserError(f'unknown dtype {dtype!r}; choose one of {DTYPES}')
  if remat not in REMATS:
    raise UserError(f'unknown remat {remat!r}; choose one of {REMATS}')
