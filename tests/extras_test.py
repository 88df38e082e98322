"""What is not installed is named, with the command that installs it."""

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
