"""Optional packages, which the extras of the package install."""

import importlib.util

from phenaki_jax.errors import UserError


class MissingExtraError(UserError):
  """Report that a package of an extra is not installed."""


def needs(what: str, package: str, *, extra: str) -> str:
  """Return the sentence that something needs a package of an extra."""
  return f'{what} needs {package}; run: pip install "phenaki-jax[{extra}]"'


def check_extra(what: str, *modules: str, extra: str) -> None:
  """Check that modules are installed, without importing them.

  Args:
    what: what needs them, for the sentence.
    *modules: names to import; the sentence has `-` in place of `_` and `.`.
    extra: the extra of this package that installs them.

  Raises:
    MissingExtraError: a module is missing.
  """
  missing = [one for one in modules if importlib.util.find_spec(one) is None]
  if missing:
    packages = ', '.join(missing).translate(str.maketrans('_.', '--'))
    raise MissingExtraError(needs(what, packages, extra=extra))
