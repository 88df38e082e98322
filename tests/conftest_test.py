"""Tests compile quickly, by an internal function of JAX that is replaced."""

import jax
from jax._src import compiler


def test_fast_tests_compile_with_the_quick_options(monkeypatch):
  """If JAX stops calling the function, tests only become slow."""
  found = []
  quick = compiler.get_compile_options

  def record(*args, **kwargs):
    options = quick(*args, **kwargs)
    found.append(options.env_option_overrides)
    return options

  monkeypatch.setattr(compiler, 'get_compile_options', record)
  assert jax.jit(lambda x: x + 1)(1) == 2
  assert found
  for overrides in found:
    assert ('xla_cpu_use_fusion_emitters', False) in overrides
