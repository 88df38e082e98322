"""What is missing or broken is named, with the command that installs it."""

import sys

import pytest

from phenaki_jax.extras import MissingExtraError, check_extra


def test_missing_packages_are_named_with_their_extra(monkeypatch):
  check_extra('a test', 'numpy', 'numpy.linalg', extra='x')
  monkeypatch.setitem(sys.modules, 'numpy', None)
  with pytest.raises(MissingExtraError) as caught:
    check_extra('a test', 'sys', 'numpy', 'json.no_such_module', extra='x')
  assert str(caught.value) == (
    'a test needs numpy, json-no-such-module; run: pip install "phenaki-jax[x]"'
  )


@pytest.mark.parametrize('kind', ['ImportError', 'OSError'])
def test_a_package_that_cannot_be_imported_is_named(
  kind, tmp_path, monkeypatch
):
  reason = 'libx.so.1: cannot open shared object file'
  (tmp_path / 'broken_one.py').write_text(f'raise {kind}({reason!r})')
  monkeypatch.syspath_prepend(tmp_path)
  words = (
    'a test needs broken_one, which is installed but cannot be imported '
    rf'\({kind}: {reason}\); .* "phenaki-jax\[x\]"'
  )
  with pytest.raises(MissingExtraError, match=words) as caught:
    check_extra('a test', 'numpy', 'broken_one', extra='x')
  assert type(caught.value.__cause__).__name__ == kind
