"""Hold what a run knows, and make it already spread over the mesh."""

from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax.sharding import Mesh
from jaxtyping import Array, Key

from phenaki_jax import sharding
from phenaki_jax.training.metrics import Metrics


@struct.dataclass
class TrainState:
  """Hold the steps done, parameters, their average, and the optimizer's state.

  Parameters are plain nested dicts. There is no random key: keys are derived
  from the run's seed and `step`.
  """

  step: Any
  params: Any
  ema: Any
  opt_state: Any


@runtime_checkable
class Task(Protocol):
  """Say how one model starts and what it is to lower."""

  @property
  def frozen(self) -> Any:
    """Return the arrays that the loss reads and training never changes."""
    ...

  def init(self, rng: Key[Array, '']) -> Any:
    """Return parameters boxed with their logical names."""
    ...

  def loss(
    self,
    params: Any,
    frozen: Any,
    batch: Any,
    rng: Key[Array, ''],
    *,
    deterministic: bool = False,
  ) -> tuple[Any, Metrics]:
    """Return the scalar to lower, and metrics; each term of it is a metric."""
    ...


def abstract_state(
  task: Task,
  optimizer: optax.GradientTransformation,
  mesh: Mesh,
  *,
  uneven: str = 'raise',
) -> TrainState:
  """Describe the state (shapes, types, shardings) without making it.

  Args:
    task: what is trained.
    optimizer: its state is placed by the names of the parameters it mirrors.
    mesh: from `sharding.make_mesh`.
    uneven: see `sharding.param_shardings`.

  Raises:
    UserError: if a parameter has no names, or does not divide over the mesh.
  """
  boxed = jax.eval_shape(
    lambda key: _fresh(task.init(key), optimizer), jax.random.key(0)
  )
  places = TrainState(
    **{
      name: sharding.param_shardings(
        getattr(boxed, name),
        mesh,
        uneven=uneven,
        unnamed='replicate' if name == 'opt_state' else 'raise',
      )
      for name in ('step', 'params', 'ema', 'opt_state')
    }
  )
  return jax.tree.map(
    lambda leaf, place: jax.ShapeDtypeStruct(
      leaf.shape, leaf.dtype, sharding=place
    ),
    sharding.unbox(boxed),
    places,
  )


def create_state(
  task: Task,
  optimizer: optax.GradientTransformation,
  abstract: TrainState,
  rng: Key[Array, ''],
) -> TrainState:
  """Make the first state; no device ever holds more than its own part."""

  def init(key: Key[Array, '']) -> TrainState:
    return _fresh(sharding.unbox(task.init(key)), optimizer)

  return jax.jit(init, out_shardings=shardings_of(abstract))(rng)


def shardings_of(abstract: Any) -> Any:
  """Pick the shardings out of a described state."""
  return jax.tree.map(lambda leaf: leaf.sharding, abstract)


def _fresh(params: Any, optimizer: optax.GradientTransformation) -> TrainState:
  return TrainState(
    step=jnp.zeros((), jnp.int32),
    params=params,
    # A copy: the step donates both, and one buffer cannot be given twice.
    ema=jax.tree.map(jnp.copy, params),
    opt_state=optimizer.init(params),
  )
