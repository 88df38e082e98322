"""One optimizer step, which never applies an update that is not finite.

The step is pure: the same state, batch and root key give the same result, so
that a resumed run equals an uninterrupted one.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Key

from phenaki_jax import rng as rngs
from phenaki_jax import sharding
from phenaki_jax.training.metrics import Mean, Metrics
from phenaki_jax.training.micro_batches import gradients_of
from phenaki_jax.training.optim import average
from phenaki_jax.training.state import Task, TrainState, shardings_of

Step = Callable[
  [TrainState, Any, Key[Array, ''], Any], tuple[TrainState, dict[str, Mean]]
]


def make_step(
  task: Task,
  optimizer: optax.GradientTransformationExtraArgs,
  *,
  ema_decay: float,
  micro_batches: int = 1,
  canonical: bool = False,
) -> Step:
  """Build the pure step of a task.

  It takes (state, batch, root key, frozen arrays) and returns (state, metrics).
  If a metric, a gradient or an update of any player is not finite, or a
  parameter or its average is not, then parameters, average and optimizer state
  stay unchanged, and the metric 'nonfinite' is 1. The step number advances in
  either case; the loop decides what follows (see `training.recovery`).

  Args:
    task: what is trained.
    optimizer: from `training.optim`.
    ema_decay: decay of the averaged parameters.
    micro_batches: `accumulate` of `TrainConfig`.
    canonical: see `TrainConfig`; the step then needs a mesh.

  Raises:
    UserError: the batch of the task cannot be divided.
  """
  gradients = gradients_of(task, parts=micro_batches, canonical=canonical)

  def step(
    state: TrainState, batch: Any, root: Key[Array, ''], frozen: Any
  ) -> tuple[TrainState, dict[str, Mean]]:
    key = rngs.at_step(root, state.step)
    found = gradients(state.params, frozen, batch, key)
    if not canonical:
      return update(state, *found)
    # A branch is compiled alone, and so in the same way on any mesh. The
    # compiler does not know that the step is not negative.
    nothing = jax.eval_shape(update, state, *found)
    return jax.lax.cond(
      state.step >= 0,
      update,
      lambda *_: jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), nothing),
      state,
      *found,
    )

  def update(
    state: TrainState, grads: Any, measured: dict[str, Mean]
  ) -> tuple[TrainState, dict[str, Mean]]:
    updates, opt_state = optimizer.update(
      grads, state.opt_state, state.params, step=state.step
    )
    params = optax.apply_updates(state.params, updates)
    params = task.settle(params, grads)
    model = {name: params[name] for name in state.ema}
    ema = average(state.ema, model, decay=ema_decay, step=state.step)
    metrics = {
      **_norms(task, grads, updates),
      'parameter_norm': Mean.of(optax.tree.norm(state.params)),
      'average_norm': Mean.of(optax.tree.norm(state.ema)),
      **measured,
    }
    sums = [mean.sum for mean in metrics.values()]
    finite = jnp.isfinite(jnp.stack(sums)).all()
    kept = jax.tree.map(
      lambda new, old: jnp.where(finite, new, old),
      (params, ema, opt_state),
      (state.params, state.ema, state.opt_state),
    )
    metrics['nonfinite'] = Mean.of(~finite)
    return TrainState(state.step + 1, *kept), metrics

  return sharding.on_every_device(step) if canonical else step


def _norms(task: Task, grads: Any, updates: Any) -> dict[str, Mean]:
  """Return the norms of the model's gradients and updates, and of each
  opponent's."""
  norms = {}
  for kind, tree in (('gradient_norm', grads), ('update_norm', updates)):
    apart = (*task.opponents, *task.statistics)
    model = {k: v for k, v in tree.items() if k not in apart}
    norms[kind] = Mean.of(optax.tree.norm(model))
    for name in task.opponents:
      norms[f'{kind}_{name}'] = Mean.of(optax.tree.norm(tree[name]))
  return norms


def compile_step(
  step: Step, abstract: TrainState, *, canonical: bool = False
) -> Step:
  """Compile a step for a described state, whose buffers it reuses.

  Args:
    step: from `make_step`.
    abstract: describes the state.
    canonical: see `make_step`.
  """
  # Only for several devices XLA merges common subexpressions before it
  # simplifies them, and the result rounds in another way.
  options = {'xla_disable_hlo_passes': 'cse'} if canonical else None
  return jax.jit(
    step,
    compiler_options=options,
    # Metrics are scalars, replicated like the step number.
    out_shardings=(shardings_of(abstract), abstract.step.sharding),
    donate_argnums=0,
  )


def check_finite(step: int, metrics: Metrics) -> None:
  """Raise if a step was not applied.

  Args:
    step: the number of that step, starting at 1.
    metrics: its metrics, on the host.

  Raises:
    FloatingPointError: naming the step and the terms that are not finite.
  """
  if not metrics['nonfinite'].sum:
    return
  broken = [name for name, mean in metrics.items() if not np.isfinite(mean.sum)]
  raise FloatingPointError(
    f'Step {step} is not finite ({", ".join(sorted(broken))}). It was not '
    'applied, and no checkpoint contains it. Lower optim.learning_rate or '
    'optim.clip_norm and start the same command again: it continues from the '
    'last checkpoint.'
  )
