"""Build the optimizer with its schedule, and average the parameters.

Decoupled weight decay (Loshchilov and Hutter, 2019) pulls matrices only: norms,
biases, embeddings and codebooks are lookups or offsets for which zero is not
the neutral value.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int
from optax import contrib

from phenaki_jax.training.config import OptimConfig

_NO_HIDDEN_MATRIX = ('first_out', 'rest_out', 'place')
_NOT_DECAYED = (
  'scale',
  'bias',
  'embedding',
  'codebook',
  'position',
  'slopes',
)

Schedule = Callable[[Any], Any]


def make_schedule(config: OptimConfig, *, steps: int) -> Schedule:
  """Return the learning rate as a function of the steps already done.

  It rises linearly over the warm-up, then stays or falls along half a cosine
  to `end_factor` of the highest rate at the last step.
  """
  falling = max(steps - config.warmup_steps, 1)

  def schedule(step: Int[Array, ''] | int) -> Float[Array, '']:
    done = jnp.asarray(step, jnp.float32)
    # The first step is 1 / warm-up, not zero: no update is wasted.
    rate = jnp.minimum(1.0, (done + 1.0) / max(config.warmup_steps, 1))
    if config.decay == 'cosine':
      progress = jnp.clip((done - config.warmup_steps) / falling, 0.0, 1.0)
      half = 0.5 * (1.0 + jnp.cos(jnp.pi * progress))
      rate *= config.end_factor + (1.0 - config.end_factor) * half
    return config.learning_rate * rate

  return schedule


def make_optimizer(
  config: OptimConfig, *, steps: int
) -> optax.GradientTransformation:
  """Chain clipping, AdamW or Muon, decoupled decay and the schedule."""
  schedule = make_schedule(config, steps=steps)
  clip = optax.clip_by_global_norm(config.clip_norm)
  if config.optimizer == 'adamw':
    return optax.chain(
      clip,
      optax.scale_by_adam(b1=config.b1, b2=config.b2),
      optax.add_decayed_weights(config.weight_decay, mask=decayed),
      optax.scale_by_learning_rate(schedule),
    )
  ratio = config.adam_learning_rate / config.learning_rate
  return optax.chain(
    clip,
    contrib.muon(
      schedule,
      weight_decay=config.weight_decay,
      adam_b1=config.b1,
      adam_b2=config.b2,
      adam_learning_rate=lambda step: ratio * schedule(step),
      muon_weight_dimension_numbers=muon_dimensions,
      # The update's size is then that of a usual Adam update.
      consistent_rms=0.2,
    ),
  )


def muon_dimensions(params: Any) -> Any:
  """Say which dimensions of each hidden matrix are inputs and outputs.

  Returns:
    The tree's own shape, with None at everything that is no hidden matrix:
    norms, biases, embeddings, codebooks, and the layers that make pixels
    and logits or read positions.
  """

  def dimensions(path: Any, leaf: Any) -> contrib.MuonDimensionNumbers | None:
    keys = [str(entry.key) for entry in path if hasattr(entry, 'key')]
    layer = keys[-2] if len(keys) > 1 else ''
    if keys[-1] != 'kernel' or layer in _NO_HIDDEN_MATRIX:
      return None
    # Scanned blocks stack their kernels along a first dimension.
    first = int(keys[-4:-3] == ['blocks'])
    dims = tuple(range(first, leaf.ndim))
    inputs = dims[:-1] if layer == 'out' else dims[:1]
    return contrib.MuonDimensionNumbers(inputs, dims[len(inputs) :])

  return jax.tree_util.tree_map_with_path(dimensions, params)


def decayed(params: Any) -> Any:
  """Mark the parameters that weight decay pulls, in the tree's own shape."""

  def pulled(path: Any, leaf: Any) -> bool:
    # Boxed parameters end in an attribute of the box; the name comes before.
    keys = [entry.key for entry in path if hasattr(entry, 'key')]
    name = str(keys[-1]) if keys else ''
    return leaf.ndim > 1 and not any(word in name for word in _NOT_DECAYED)

  return jax.tree_util.tree_map_with_path(pulled, params)


def average(
  ema: Any, params: Any, *, decay: float, step: Int[Array, '']
) -> Any:
  """Move the averaged parameters towards the new ones.

  Early on the decay is (1 + step) / (10 + step), so that the initial values are
  soon forgotten.
  """
  done = step.astype(jnp.float32)
  rate = jnp.minimum(decay, (1.0 + done) / (10.0 + done))
  return jax.tree.map(lambda a, b: a + (1.0 - rate) * (b - a), ema, params)
