"""Count the matrix products and convolutions of traced programs."""

import math

import jax


def _inner(value):
  """Yield the jaxprs in a parameter of an equation."""
  if isinstance(value, jax.extend.core.ClosedJaxpr):
    yield value.jaxpr
  elif isinstance(value, jax.extend.core.Jaxpr):
    yield value
  elif isinstance(value, (tuple, list)):
    for entry in value:
      yield from _inner(entry)


def count_flops(jaxpr):
  """Add up the FLOPs of the products of a jaxpr and of inner jaxprs."""
  total = 0
  for equation in jaxpr.eqns:
    if equation.primitive.name == 'dot_general':
      (contracted, _), _ = equation.params['dimension_numbers']
      left = equation.invars[0].aval.shape
      depth = math.prod(left[axis] for axis in contracted)
      total += 2 * depth * math.prod(equation.outvars[0].aval.shape)
      continue
    if equation.primitive.name == 'conv_general_dilated':
      kernel = equation.invars[1].aval.shape
      _, inputs, *window = equation.params['dimension_numbers'].rhs_spec
      depth = kernel[inputs] * math.prod(kernel[axis] for axis in window)
      total += 2 * depth * math.prod(equation.outvars[0].aval.shape)
      continue
    times = equation.params.get('length', 1)
    for value in equation.params.values():
      for inner in _inner(value):
        total += times * count_flops(inner)
  return total
