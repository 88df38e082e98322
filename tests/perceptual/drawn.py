"""Weights for networks, the same in PyTorch and here, drawn from a seed."""

import math

import numpy as np


def draw(shapes, seed):
  """Draw a tensor for each name, in the order of the names.

  Args:
    shapes: by name; the names of batch norms' statistics are PyTorch's.
    seed: of the numbers.
  """
  generator = np.random.default_rng(seed)
  tensors = {}
  for name in sorted(shapes):
    shape = tuple(shapes[name])
    values = generator.random(shape)
    if name.endswith('running_var'):
      values = 0.5 + values
    elif name.startswith('lin') or name.endswith('bn.weight'):
      values = 0.1 + values
    elif len(shape) > 1:
      # Keeps the size of the features from layer to layer.
      values = (2 * values - 1) * math.sqrt(6 / math.prod(shape[1:]))
    else:
      values = 0.2 * values - 0.1
    tensors[name] = values.astype(np.float32)
  return tensors


def pixels(*shape, seed):
  """Draw pixels in [-1, 1]."""
  values = np.random.default_rng(seed).random(shape)
  return (2 * values - 1).astype(np.float32)
