"""Build the optimizer and its schedule, and average the parameters.

Which parameters weight decay applies to, and which Muon orthogonalises, is
declared with each parameter (see `sharding.logical`). Decoupled weight decay
(Loshchilov and Hutter, 2019) applies to matrices only: norms, biases,
embeddings and codebooks are lookups or offsets, for which zero is not a
neutral value.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int
from optax import contrib

from phenaki_jax import sharding
from phenaki_jax.training.config import OptimConfig

Schedule = Callable[[Any], Any]


def make_schedule(config: OptimConfig, *, steps: int) -> Schedule:
  """Return the learning rate as a function of the number of completed steps.

  It rises linearly during the warm-up, then stays constant or follows half a
  cosine down to `end_factor` of the highest rate at the last step, or at step
  `decay_steps`, after which it stays.
  """
  falling = max((config.decay_steps or steps) - config.warmup_steps, 1)

  def schedule(step: Int[Array, ''] | int) -> Float[Array, '']:
    done = jnp.asarray(step, jnp.float32)
    # The first rate is 1 / warm-up: at rate zero the step would be wasted.
    rate = jnp.minimum(1.0, (done + 1.0) / max(config.warmup_steps, 1))
    if config.decay == 'cosine':
      progress = jnp.clip((done - config.warmup_steps) / falling, 0.0, 1.0)
      half = 0.5 * (1.0 + jnp.cos(jnp.pi * progress))
      rate *= config.end_factor + (1.0 - config.end_factor) * half
    return config.learning_rate * rate

  return schedule


def make_optimizer(
  config: OptimConfig,
  *,
  steps: int,
  params: Any,
  opponents: Mapping[str, int] = MappingProxyType({}),
  unoptimized: Sequence[str] = (),
) -> optax.GradientTransformationExtraArgs:
  """Chain clipping, AdamW or Muon, weight decay and the schedule.

  With an opponent that starts late, updates need the keyword argument `step`,
  the number of completed steps.

  Args:
    config: optimizer settings; opponents may have a learning rate and a
      decay of their own.
    steps: length of the run, which the schedule spans.
    params: boxed parameters or shapes, read for their optimizer rules.
    opponents: top-level entries of the parameters with a state and a clip norm
      of their own, with the step at which their training begins (see
      `state.Role`).
    unoptimized: top-level entries that no optimizer changes; without a state.
  """
  chain = _make_chain(config, steps=steps, params=params)
  if not opponents and not unoptimized:
    return optax.with_extra_args_support(chain)
  apart = (*opponents, *unoptimized)
  labels = {
    name: jax.tree.map(
      lambda _, part=name if name in apart else 'model': part,
      sharding.unbox(tree),
    )
    for name, tree in params.items()
  }
  own = _of_opponents(config)
  chains = {
    'model': chain,
    **{
      name: _from_step(start, _make_chain(own, steps=steps, params=params))
      for name, start in opponents.items()
    },
    **dict.fromkeys(unoptimized, optax.set_to_zero()),
  }
  return optax.partition(chains, labels)


def _of_opponents(config: OptimConfig) -> OptimConfig:
  """Return the settings of the opponents' optimizers."""
  changed: dict[str, Any] = {
    'b1': config.opponent_b1,
    'learning_rate': config.opponent_learning_rate or None,
    'adam_learning_rate': config.opponent_learning_rate or None,
  }
  given = {name: x for name, x in changed.items() if x is not None}
  return dataclasses.replace(config, **given)


def _from_step(
  start: int, inner: optax.GradientTransformation
) -> optax.GradientTransformation:
  """Change neither parameters nor state before a step; schedule by all steps.

  Gradients of zero would advance the state: the bias correction of Adam's
  second moment counts them, so that the first update would be too large.
  """
  if not start:
    return inner

  def update(
    grads: Any, state: Any, params: Any = None, *, step: Any, **_: Any
  ) -> tuple[Any, Any]:
    # Adam counts its own updates, but the learning rate is that of the run.
    now = optax.tree.set(state, _is_of_schedule, count=step)
    updates, after = inner.update(grads, now, params)
    # Steps that were skipped delay the task's own count, and so its gradients.
    has_begun = (step >= start) & (optax.tree.norm(grads) > 0)
    return (
      jax.tree.map(lambda x: jnp.where(has_begun, x, 0), updates),
      jax.tree.map(lambda a, b: jnp.where(has_begun, a, b), after, state),
    )

  return optax.GradientTransformationExtraArgs(inner.init, update)


def _is_of_schedule(path: Sequence[Any], value: Any) -> bool:
  """Return whether a count in an optimizer's state is that of its schedule."""
  del value
  return getattr(path[-1], 'tuple_name', '') == 'ScaleByScheduleState'


def _make_chain(
  config: OptimConfig, *, steps: int, params: Any
) -> optax.GradientTransformation:
  """Chain the transformations of one player."""
  schedule = make_schedule(config, steps=steps)
  clip = optax.clip_by_global_norm(config.clip_norm)
  if config.optimizer == 'adamw':
    decayed = sharding.map_parameters(lambda param: param.decay, params)
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
      muon_weight_dimension_numbers=sharding.map_parameters(
        muon_dimensions, params
      ),
      # This scale gives the updates the usual size of Adam's updates.
      consistent_rms=0.2,
      # Optax makes an array of them, which would be float64 with 64-bit JAX.
      ns_coeffs=tuple(map(np.float32, (3.4445, -4.775, 2.0315))),
    ),
  )


def muon_dimensions(
  param: sharding.Parameter,
) -> contrib.MuonDimensionNumbers | None:
  """Return the input and output dimensions of a hidden matrix.

  A leading dimension of stacked layers belongs to neither.

  Returns:
    None for a parameter that is not a hidden matrix.
  """
  if param.inputs is None:
    return None
  first = param.names.count('layers')
  last = first + param.inputs
  return contrib.MuonDimensionNumbers(
    tuple(range(first, last)), tuple(range(last, len(param.names)))
  )


def average(
  ema: Any, params: Any, *, decay: float, step: Int[Array, '']
) -> Any:
  """Update the exponential moving average of the parameters.

  Early in the run the decay is (1 + step) / (10 + step), so that the initial
  values are soon forgotten.
  """
  done = step.astype(jnp.float32)
  rate = jnp.minimum(decay, (1.0 + done) / (10.0 + done))
  return jax.tree.map(lambda a, b: a + (1.0 - rate) * (b - a), ema, params)
