"""Tests compile quickly, and types and shapes are checked in each call.

For both, functions of JAX and jaxtyping are replaced.
"""

import jax
import numpy as np
import pytest
from jax._src import compiler
from jaxtyping import TypeCheckError

from phenaki_jax.extras import needs
from phenaki_jax.media.film import Film
from phenaki_jax.sampling.conditions import with_images


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


def test_types_and_shapes_are_checked():
  with pytest.raises(TypeError, match='violates type hint'):
    needs(1, 'a', extra='b')
  shared = {'batch': 1, 'latent_frames': 1, 'role': 'source'}
  assert with_images(None, np.zeros((1, 2, 2), np.int32), **shared)
  with pytest.raises(TypeCheckError):
    with_images(None, np.zeros((2, 2), np.int32), **shared)
  with pytest.raises(TypeCheckError):
    Film(
      frames=np.zeros((1, 2, 2), np.uint8),
      fps=8.0,
      scenes=(('a', 1),),
      provenance={},
    )
