"""The state of a run, and the interface of a task."""

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct
from flax.traverse_util import flatten_dict, unflatten_dict
from jax.sharding import AbstractMesh, Mesh
from jaxtyping import Array, Float, Key

from phenaki_jax import rng as rngs
from phenaki_jax import sharding
from phenaki_jax.training.metrics import Mean, Metrics


@struct.dataclass
class TrainState:
  """Completed steps, parameters, their average, and the optimizer's state.

  Parameters are plain nested dicts. The average covers the model, not its
  opponents and statistics. There is no random key: keys are derived from the
  run's seed and `step`.
  """

  step: Any
  params: Any
  ema: Any
  opt_state: Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunArrays:
  """The arrays of a run that an evaluator may read, as placed on the mesh."""

  params: Any
  ema: Any
  frozen: Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class Role:
  """How a top-level entry of the parameters is trained, if not as the model.

  Attributes:
    kind: an 'opponent' is trained against the model, such as a discriminator;
      it is clipped and optimized on its own, and is not averaged. A 'fixed'
      entry is not trained. No optimizer changes 'statistics', such as running
      means, and they are not averaged; see `Task.settle`.
    start: completed steps before an opponent is trained.
  """

  kind: Literal['opponent', 'fixed', 'statistics']
  start: int = 0


@runtime_checkable
class Task(Protocol):
  """A model to train, and the computation of its gradients.

  Attributes:
    roles: the roles of top-level entries of the parameters, by name; the other
      entries are the model.
    given: top-level entries of the parameters that a new run starts from,
      instead of random ones. Leaves that an entry lacks stay random.
  """

  roles: Mapping[str, Role] = MappingProxyType({})
  given: Mapping[str, Any] = MappingProxyType({})

  @property
  def opponents(self) -> Mapping[str, int]:
    """Return the first step of each opponent's training, by name."""
    return {name: self.roles[name].start for name in self._with('opponent')}

  @property
  def fixed(self) -> tuple[str, ...]:
    """Return the names of the entries that are not trained."""
    return self._with('fixed')

  @property
  def statistics(self) -> tuple[str, ...]:
    """Return the names of the entries that no optimizer changes."""
    return self._with('statistics')

  def _with(self, kind: str) -> tuple[str, ...]:
    return tuple(name for name, x in self.roles.items() if x.kind == kind)

  def held(self, params: Any) -> Any:
    """Return parameters whose fixed entries have no gradient."""
    fixed = self.fixed
    return {
      name: jax.lax.stop_gradient(tree) if name in fixed else tree
      for name, tree in params.items()
    }

  @property
  def undivided(self) -> str:
    """Return the setting of a loss term of a whole batch; '' for none."""
    return ''

  @property
  def frozen(self) -> Any:
    """Return the arrays that a step reads and never changes."""
    return {}

  @property
  def bound(self) -> Any:
    """Return those of `frozen` without which what is trained has no meaning.

    Every checkpoint holds their fingerprint.
    """
    return self.frozen

  def init(self, rng: Key[Array, '']) -> Any:
    """Create the parameters, boxed with their logical names."""
    ...

  def init_frozen(self, rng: Key[Array, '']) -> Any:
    """Create boxed arrays of the shapes of `frozen`; only traced, never run."""
    return {}

  def loss(
    self,
    params: Any,
    frozen: Any,
    batch: Any,
    rng: Key[Array, ''],
    *,
    deterministic: bool = False,
  ) -> tuple[Float[Array, ''], dict[str, Mean]]:
    """Compute the loss of a batch and its metrics.

    Args:
      params: the parameters.
      frozen: the arrays of `frozen`.
      batch: see `data.spec`.
      rng: key of all random draws.
      deterministic: no dropout and no other regularisation.
    """
    ...

  def gradients(
    self, params: Any, frozen: Any, batch: Any, rng: Key[Array, '']
  ) -> tuple[Any, dict[str, Mean]]:
    """Differentiate the loss; a task with opponents overrides this.

    Returns:
      Gradients in the structure of the parameters, those of each
      player from its own loss; and all losses and other terms, by name. In
      place of the gradients of `statistics` are those of this batch.
    """
    return jax.grad(self.loss, has_aux=True)(params, frozen, batch, rng)

  def num_examples(self, batch: Mapping[str, Any]) -> dict[str, int]:
    """Return the number of examples of each part of a global batch."""
    return {
      part: jax.tree.leaves(arrays)[0].shape[0]
      for part, arrays in batch.items()
    }

  def settle(self, params: Any, gradients: Any) -> Any:
    """Return the parameters with updated statistics, after the optimizer.

    Args:
      params: the parameters after the step; their statistics before it.
      gradients: from `gradients`.
    """
    del gradients
    return params

  def evaluate(
    self, params: Any, frozen: Any, batch: Any, rng: Key[Array, '']
  ) -> Metrics:
    """Compute the metrics of a held-out batch, without dropout.

    `params` are those of the model, without opponents and statistics.
    """
    return self.loss(params, frozen, batch, rng, deterministic=True)[1]


def boxed_params(task: Task) -> Any:
  """Return the shapes of the parameters, boxed; nothing is allocated."""
  return jax.eval_shape(task.init, rngs.described())


def abstract_state(
  task: Task,
  optimizer: optax.GradientTransformation,
  mesh: Mesh | AbstractMesh,
  *,
  params: Any = None,
  uneven: sharding.Otherwise = 'raise',
) -> TrainState:
  """Describe the state (shapes, dtypes, shardings); nothing is allocated.

  Args:
    task: the model to train.
    optimizer: its state is placed by the names of the parameters it mirrors.
    mesh: from `sharding.make_mesh`, or an abstract one.
    params: from `boxed_params`, if they are there: tracing a large model takes
      seconds.
    uneven: see `sharding.param_shardings`.

  Raises:
    UserError: if a parameter does not divide over the mesh.
    ValueError: if a parameter has no names.
  """
  boxed = jax.eval_shape(
    lambda params: _fresh(params, optimizer, _apart(task)),
    boxed_params(task) if params is None else params,
  )
  return TrainState(
    **{
      name: sharding.describe(
        getattr(boxed, name),
        mesh,
        uneven=uneven,
        unnamed='replicate' if name == 'opt_state' else 'raise',
      )
      for name in ('step', 'params', 'ema', 'opt_state')
    }
  )


def abstract_frozen(
  task: Task, mesh: Mesh | AbstractMesh, *, uneven: sharding.Otherwise = 'raise'
) -> Any:
  """Describe the frozen arrays as `abstract_state` describes the state."""
  boxed = jax.eval_shape(task.init_frozen, rngs.described())
  return sharding.describe(boxed, mesh, uneven=uneven)


def create_state(
  task: Task,
  optimizer: optax.GradientTransformation,
  abstract: TrainState,
  rng: Key[Array, ''],
) -> TrainState:
  """Create the initial state; each device allocates only its own shards."""

  def init(key: Key[Array, '']) -> TrainState:
    return _fresh(sharding.unbox(task.init(key)), optimizer, _apart(task))

  state = jax.jit(init, out_shardings=shardings_of(abstract))(rng)
  trees = {'params': state.params, 'ema': state.ema}
  for kind, tree in trees.items():
    # Placed twice, because the step donates both.
    places = flatten_dict(getattr(abstract, kind))
    leaves = flatten_dict(tree, keep_empty_nodes=True)
    for path, array in flatten_dict(dict(task.given)).items():
      if path[0] in tree:
        leaves[path] = _place(places[path], array)
    trees[kind] = unflatten_dict(leaves)
  return state.replace(**trees)


def missing_leaves(task: Task, given: Mapping[str, Any]) -> list[str]:
  """Return the parameters that entries of `Task.given` lack, by their path.

  Entries that the task does not create, such as a frozen text encoder, lack
  nothing.
  """
  boxed = boxed_params(task)
  shared = {name: tree for name, tree in given.items() if name in boxed}
  ours = sharding.unbox({name: boxed[name] for name in shared})
  return sorted(
    '/'.join(path)
    for path in flatten_dict(ours).keys() - flatten_dict(shared).keys()
  )


def place_frozen(
  task: Task, mesh: Mesh, *, uneven: sharding.Otherwise = 'raise'
) -> Any:
  """Copy the frozen arrays to the mesh; each device gets only its own shards.

  Args:
    task: whose `frozen` is copied.
    mesh: from `sharding.make_mesh`.
    uneven: see `sharding.param_shardings`.
  """
  return _place(abstract_frozen(task, mesh, uneven=uneven), task.frozen)


def _place(abstract: Any, arrays: Any) -> Any:
  """Copy arrays to where their descriptions say."""

  def place(leaf: Any, array: Any) -> Array:
    values = np.asarray(array)
    return jax.make_array_from_callback(
      leaf.shape, leaf.sharding, lambda index: values[index]
    )

  return jax.tree.map(place, abstract, arrays)


def shardings_of(abstract: Any) -> Any:
  """Return the shardings of a described state."""
  return jax.tree.map(lambda leaf: leaf.sharding, abstract)


def _apart(task: Task) -> tuple[str, ...]:
  return (*task.opponents, *task.statistics)


def _fresh(
  params: Any,
  optimizer: optax.GradientTransformation,
  apart: tuple[str, ...],
) -> TrainState:
  return TrainState(
    step=jnp.zeros((), jnp.int32),
    params=params,
    # A copy: the step donates both, and a buffer can be donated only once.
    ema={
      name: jax.tree.map(jnp.copy, tree)
      for name, tree in params.items()
      if name not in apart
    },
    opt_state=optimizer.init(params),
  )
