"""Make one update of one model, and let nothing that is not finite through.

The step is pure: the same state, batch and root key give the same result, which
is what makes a resumed run equal to an unbroken one.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Key

from phenaki_jax import rng as rngs
from phenaki_jax.training.metrics import Mean, Metrics
from phenaki_jax.training.optim import average
from phenaki_jax.training.state import Task, TrainState, shardings_of

Step = Callable[
  [TrainState, Any, Key[Array, ''], Any], tuple[TrainState, dict[str, Mean]]
]


def make_step(
  task: Task, optimizer: optax.GradientTransformation, *, ema_decay: float
) -> Step:
  """Build the pure step of a task.

  It takes (state, batch, root key, frozen arrays) and returns (state, metrics).
  When the loss, the gradient or the update is not finite, parameters, average
  and optimizer state stay as they were, and the metric 'nonfinite' is 1. The
  step number moves on either way; the loop then stops.
  """

  def step(
    state: TrainState, batch: Any, root: Key[Array, ''], frozen: Any
  ) -> tuple[TrainState, dict[str, Mean]]:
    key = rngs.at_step(root, state.step)

    def loss_fn(params: Any) -> tuple[Any, Metrics]:
      return task.loss(params, frozen, batch, key, deterministic=False)

    (loss, terms), grads = jax.value_and_grad(loss_fn, has_aux=True)(
      state.params
    )
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    ema = average(state.ema, params, decay=ema_decay, step=state.step)
    norms = {
      'loss': loss,
      'gradient_norm': optax.tree.norm(grads),
      'update_norm': optax.tree.norm(updates),
    }
    finite = jnp.isfinite(jnp.stack(list(norms.values()))).all()
    kept = jax.tree.map(
      lambda new, old: jnp.where(finite, new, old),
      (params, ema, opt_state),
      (state.params, state.ema, state.opt_state),
    )
    metrics = {
      **{name: Mean.of(value) for name, value in norms.items()},
      **terms,
      'nonfinite': Mean.of(~finite),
    }
    return TrainState(state.step + 1, *kept), metrics

  return step


def compile_step(step: Step, abstract: TrainState) -> Step:
  """Jit a step for a described state, whose buffers it takes over."""
  return jax.jit(
    step,
    # Metrics are scalars, whole on every device like the step number.
    out_shardings=(shardings_of(abstract), abstract.step.sharding),
    donate_argnums=0,
  )


def check_finite(step: int, metrics: Metrics) -> None:
  """Stop the run if a step was refused.

  Args:
    step: the number of that step, the first being 1.
    metrics: its own metrics, on the host.

  Raises:
    FloatingPointError: naming the step and the terms that are not finite.
  """
  if not metrics['nonfinite'].sum:
    return
  broken = [name for name, mean in metrics.items() if not np.isfinite(mean.sum)]
  raise FloatingPointError(
    f'Step {step} is not finite ({", ".join(sorted(broken))}). It was not '
    'applied, and no checkpoint holds anything of it. Lower '
    'optim.learning_rate or optim.clip_norm and start the same command again: '
    'it goes on from the last checkpoint.'
  )
