"""How blocks are computed: the names that every model's config shares."""

from phenaki_jax.errors import UserError

DTYPES = ('float32', 'bfloat16')
REMATS = ('none', 'matmuls', 'full')


def check_compute(*, dtype: str, remat: str) -> None:
  """Raise a ValueError unless both names are known.

  Args:
    dtype: of the computation; parameters are float32 in any case.
    remat: which activations the backward pass keeps (see `nn.blocks`).
  """
  if dtype not in DTYPES:
    raise UserError(f'unknown dtype {dtype!r}; choose one of {DTYPES}')
  if remat not in REMATS:
    raise UserError(f'unknown remat {remat!r}; choose one of {REMATS}')
