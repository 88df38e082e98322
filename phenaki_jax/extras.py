"""Optional packages, which the extras of the package install."""

import importlib
import importlib.util

from phenaki_jax.errors import UserError


class MissingExtraError(UserError):
  """Report that a package of an extra is missing, or cannot be imported."""


def needs(what: str, package: str, *, extra: str) -> str:
  """Return the sentence that something needs a package of an extra."""
  return f'{what} needs {package}; run: pip install "phenaki-jax[{extra}]"'


def check_extra(what: str, *modules: str, extra: str) -> None:
  """Check that modules are installed, and import them.

  Args:
    what: what needs them, for the sentence.
    *modules: names to import; the sentence has `-` in place of `_` and `.`.
    extra: the extra of this package that installs them.

  Raises:
    MissingExtraError: a module is missing, or is installed and cannot be
      imported, for example because it lacks a shared library.
  """
  missing = [one for one in modules if importlib.util.find_spec(one) is None]
  if missing:
    packages = ', '.join(missing).translate(str.maketrans('_.', '--'))
    raise MissingExtraError(needs(what, packages, extra=extra))
  for module in modules:
    try:
      importlib.import_module(module)
    except (ImportError, OSError) as error:  # Of ctypes it is an OSError.
      raise MissingExtraError(
        f'{what} needs {module}, which is installed but cannot be imported '
        f'({type(error).__name__}: {error}); repair its installation, for '
        f'example by pip install --force-reinstall "phenaki-jax[{extra}]"'
      ) from error
