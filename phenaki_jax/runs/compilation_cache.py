"""The persistent cache of compiled programs, which is an option of JAX."""

import jax

from phenaki_jax.files.ownership import check_private


def check_compilation_cache() -> str | None:
  """Check the folder of the cache and return it; None if the cache is off.

  Raises:
    UserError: if somebody else could have put programs there (see
      `files.ownership`).
  """
  folder = jax.config.values['jax_compilation_cache_dir']
  if not folder:
    return None
  check_private(folder, name='compilation cache')
  return str(folder)
