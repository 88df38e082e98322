"""Name the dimensions of every array, and map the names to the mesh.

Parameters and activations carry logical names ('embed', 'heads', ...). One
table maps each name to axes of the mesh (data, fsdp, tensor), as in T5X.
Linen's own rules silently replicate a misspelt name; here a name that is not
in the table raises. `jax.jit` with shardings then places the arrays. The box
of a parameter also carries its optimizer rules.
"""

import difflib
import functools
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal

import jax
import numpy as np
from flax import linen as nn
from flax import struct
from jax.sharding import (
  AbstractMesh,
  AxisType,
  Mesh,
  NamedSharding,
  PartitionSpec,
)
from jaxtyping import Array

from phenaki_jax.config import validated
from phenaki_jax.errors import UserError

_logger = logging.getLogger(__name__)

Otherwise = Literal['raise', 'replicate']

MESH_AXES = ('data', 'fsdp', 'tensor')

# Logical name -> mesh axes, in order. An empty tuple: never split.
RULES: Mapping[str, tuple[str, ...]] = MappingProxyType(
  {
    'batch': ('data', 'fsdp'),
    'embed': ('fsdp',),
    'heads': ('tensor',),
    'mlp': ('tensor',),
    'vocab': ('tensor',),
    'codebook': ('tensor',),
    'frames': (),
    'kv': (),
    'text': ('fsdp',),
    'exchanged': ('data', 'fsdp'),
    'layers': (),
  }
)


@validated
class MeshConfig:
  """The number of devices on each mesh axis; one may be -1, for the rest.

  Attributes:
    data: copies of the model, each with a part of the batch.
    fsdp: parts of the batch and of the width of the parameters.
    tensor: parts of heads, MLPs and vocabularies.
  """

  data: int = -1
  fsdp: int = 1
  tensor: int = 1

  def shape(self, num_devices: int) -> tuple[int, int, int]:
    """Return the mesh shape for that many devices.

    Raises:
      UserError: more than one axis is -1, an axis is 0 or below -1, or the
        product is not the number of devices.
    """
    given = (self.data, self.fsdp, self.tensor)
    stated = ', '.join(
      f'{name}={size}' for name, size in zip(MESH_AXES, given, strict=True)
    )
    if given.count(-1) > 1 or any(size == 0 or size < -1 for size in given):
      raise UserError(
        f'The mesh ({stated}) is not usable: every axis must be a positive '
        'number, and at most one may be -1, which takes the remaining devices.'
      )
    known = math.prod(size for size in given if size != -1)
    rest, left_over = divmod(num_devices, known)
    if left_over or (-1 not in given and rest != 1):
      raise UserError(
        f'The mesh ({stated}) does not fit {num_devices} device(s): the axes '
        'must multiply to the number of devices. Change one, or make one -1.'
      )
    data, fsdp, tensor = (rest if size == -1 else size for size in given)
    return data, fsdp, tensor


def make_mesh(
  config: MeshConfig, *, devices: Sequence[jax.Device] | None = None
) -> Mesh:
  """Build the mesh over the given devices, or over all of them.

  The axis types are Auto: `jax.make_mesh` defaults to Explicit, under which
  Linen's layers do not work.

  Raises:
    UserError: if the axes do not multiply to the number of devices.
  """
  chosen = list(jax.devices() if devices is None else devices)
  return jax.make_mesh(
    config.shape(len(chosen)),
    MESH_AXES,
    axis_types=(AxisType.Auto,) * len(MESH_AXES),
    devices=chosen,
  )


def described_mesh(config: MeshConfig, num_devices: int) -> AbstractMesh:
  """Describe the mesh over devices that are not on this machine.

  Raises:
    UserError: if the axes do not multiply to the number of devices.
  """
  return AbstractMesh(
    config.shape(num_devices),
    MESH_AXES,
    axis_types=(AxisType.Auto,) * len(MESH_AXES),
  )


def check_names(names: Sequence[str | None]) -> None:
  """Raise unless every name is in the table and none is repeated.

  Raises:
    ValueError: naming the unknown name and the nearest real one.
  """
  for name in names:
    if name is not None and name not in RULES:
      near = difflib.get_close_matches(name, RULES, n=1, cutoff=0.0)[0]
      raise ValueError(
        f'Unknown logical axis {name!r}; did you mean {near!r}? The table '
        f'holds {", ".join(sorted(RULES))}; None marks a dimension that is '
        'never split.'
      )
  named = [name for name in names if name is not None]
  if len(set(named)) != len(named):
    raise ValueError(
      f'Logical axes {tuple(names)} name one axis twice; give None to all but '
      'one of the dimensions that share it.'
    )


def resolve(names: Sequence[str | None]) -> PartitionSpec:
  """Turn logical names into a partition spec.

  A mesh axis can split one dimension of an array only: the first name that asks
  for it gets it, so ('batch', 'embed') splits the batch and keeps rows whole.

  Raises:
    ValueError: if a name is unknown or repeated.
  """
  check_names(names)
  taken: set[str] = set()
  entries: list[Any] = []
  for name in names:
    axes = RULES[name] if name is not None else ()
    free = tuple(axis for axis in axes if axis not in taken)
    taken.update(free)
    entries.append(None if not free else free[0] if len(free) == 1 else free)
  return PartitionSpec(*entries)


class Parameter(nn.LogicallyPartitioned):
  """A parameter with its logical names and its optimizer rules.

  Attributes:
    inputs: number of input dimensions of a hidden matrix, which Muon
      orthogonalises; None for any other parameter.
    decay: apply weight decay.
  """

  inputs: int | None = struct.field(default=None, pytree_node=False)
  decay: bool = struct.field(default=False, pytree_node=False)


def logical(
  init_fn: Callable[..., Array],
  *names: str | None,
  inputs: int | None = None,
  decay: bool = False,
) -> Callable[..., Parameter]:
  """Wrap an initialiser so that it returns a `Parameter`.

  Args:
    init_fn: returns the array.
    *names: logical name of each dimension.
    inputs: see `Parameter`; without the dimension that `nn.scan` adds.
    decay: see `Parameter`.

  Raises:
    ValueError: at declaration, if a name is unknown or repeated.
  """
  check_names(names)

  def init(*args: Any, **kwargs: Any) -> Parameter:
    value = init_fn(*args, **kwargs)
    return Parameter(value, names, inputs=inputs, decay=decay)

  return init


def constrain(
  x: Array, *names: str | None, uneven: Otherwise = 'replicate'
) -> Array:
  """Constrain the sharding of an activation by its logical names.

  Has no effect without a mesh (`jax.set_mesh`).

  Args:
    x: the activation.
    *names: logical name of each dimension.
    uneven: what to do with a dimension that its mesh axes do not divide:
      'replicate' it, which is logged once, or 'raise'.

  Raises:
    UserError: for an uneven dimension under 'raise'.
    ValueError: if a name is unknown or the count is not the array's rank.
  """
  if len(names) != x.ndim:
    raise ValueError(
      f'{len(names)} names {names} for an array of rank {x.ndim}.'
    )
  spec = resolve(names)
  mesh = _ambient_mesh()
  if mesh.empty:
    return x
  what = f'An activation of shape {x.shape}'
  entries = _even(mesh, what, x.shape, names, spec, uneven)
  return jax.lax.with_sharding_constraint(x, PartitionSpec(*entries))


def splits_evenly(shape: Sequence[Any], names: Sequence[str | None]) -> bool:
  """Return whether the mesh, if there is one, divides each dimension.

  A dimension of a program that is being exported may be symbolic.
  """
  mesh = _ambient_mesh()
  return mesh.empty or all(
    size % _ways(mesh, entry) == 0
    for size, entry in zip(shape, resolve(names), strict=True)
  )


def platform() -> str:
  """Return 'cpu', 'gpu' or 'tpu': that of the mesh, or the default one.

  The devices of a mesh may be described ones that are not on this machine.
  """
  device = jax.sharding.get_abstract_mesh().abstract_device
  return device.platform if device else jax.default_backend()


def on_each_device(
  function: Callable[..., Any],
  inputs: Sequence[Sequence[str | None]],
  output: Sequence[str | None],
) -> Callable[..., Any]:
  """Return a function that each device computes on its own shards.

  Args:
    function: of arrays; without a mesh it is returned as it is.
    inputs: logical names of the dimensions of each array.
    output: logical names of the dimensions of the result.
  """
  if _ambient_mesh().empty:
    return function
  return jax.shard_map(
    function,
    in_specs=tuple(resolve(names) for names in inputs),
    out_specs=resolve(output),
    check_vma=False,
  )


def current_batch_ways() -> int:
  """Return among how many devices the mesh, if any, divides a batch."""
  mesh = _ambient_mesh()
  return 1 if mesh.empty else batch_ways(mesh)


def replicated(mesh: Mesh | AbstractMesh) -> NamedSharding:
  """Return the sharding of an array that every device holds completely."""
  return NamedSharding(mesh, PartitionSpec())


def batch_ways(mesh: Mesh | AbstractMesh) -> int:
  """Return among how many devices a mesh divides a batch."""
  return math.prod(mesh.shape[axis] for axis in RULES['batch'])


def batch_sharding(mesh: Mesh | AbstractMesh) -> NamedSharding:
  """Return the sharding of anything whose first dimension is the batch."""
  return NamedSharding(mesh, resolve(('batch',)))


def unbox(tree: Any) -> Any:
  """Replace each `Parameter` by its array."""
  return jax.tree.map(_content, tree, is_leaf=_is_box)


def map_parameters(function: Callable[[Parameter], Any], tree: Any) -> Any:
  """Apply a function to each `Parameter` of a tree.

  Returns:
    The results, in the structure of the unboxed tree.

  Raises:
    ValueError: if a leaf was declared without `logical`.
  """

  def apply(path: Any, leaf: Any) -> Any:
    _names(_joined(path), leaf)
    return function(leaf)

  return jax.tree_util.tree_map_with_path(apply, tree, is_leaf=_is_box)


def param_shardings(
  tree: Any,
  mesh: Mesh | AbstractMesh,
  *,
  uneven: Otherwise = 'raise',
  unnamed: Otherwise = 'raise',
) -> Any:
  """Return a sharding for each leaf of a boxed tree, in its unboxed structure.

  Works on parameters and on the optimizer state of boxed parameters. Scalars
  without names (step counts) are replicated.

  Args:
    tree: boxed arrays or shapes, as `jax.eval_shape(init)` returns them.
    mesh: from `make_mesh`, or an abstract mesh of the same axes.
    uneven: what to do with a dimension that its mesh axes do not divide:
      'raise', or 'replicate' it, which is logged once.
    unnamed: what to do with an array without names: 'raise', or 'replicate'
      it, for optimizer state that does not mirror a parameter.

  Raises:
    UserError: for an uneven dimension under 'raise'.
    ValueError: for an array without names under 'raise', and for an unknown
      name.
  """
  shardings = []
  for path, leaf in _leaves(tree):
    bare = unnamed == 'replicate' and not _is_box(leaf)
    if bare or not _shape(leaf):
      shardings.append(replicated(mesh))
      continue
    names, shape = _names(path, leaf), _shape(leaf)
    if len(names) != len(shape):
      raise ValueError(f'{path} has shape {shape} but axes {names}.')
    entries = _even(mesh, path, shape, names, resolve(names), uneven)
    shardings.append(NamedSharding(mesh, PartitionSpec(*entries)))
  structure = jax.tree.structure(unbox(tree))
  return jax.tree.unflatten(structure, shardings)


def describe(tree: Any, mesh: Mesh | AbstractMesh, **options: Otherwise) -> Any:
  """Return the shape, dtype and sharding of each leaf of a boxed tree.

  Args:
    tree: see `param_shardings`.
    mesh: see `param_shardings`.
    **options: `uneven` and `unnamed` of `param_shardings`.
  """
  return jax.tree.map(
    lambda leaf, place: jax.ShapeDtypeStruct(
      leaf.shape, leaf.dtype, sharding=place
    ),
    unbox(tree),
    param_shardings(tree, mesh, **options),
  )


def global_batch(batch: Any, mesh: Mesh) -> Any:
  """Join every process' rows (numpy) into global arrays, split over the mesh.

  Raises:
    UserError: if the rows of a part do not divide over the batch axes.
  """
  sharding = batch_sharding(mesh)
  ways = _ways(mesh, sharding.spec[0])

  def join(path: Any, rows: np.ndarray) -> jax.Array:
    total = rows.shape[0] * jax.process_count()
    if total % ways:
      raise UserError(
        f'The batch holds {total} rows of {_joined(path)}, which do not divide '
        f'over the {ways} devices of mesh axes {"x".join(RULES["batch"])}. '
        'Change the batch size, the image share or the mesh.'
      )
    shape = (total, *rows.shape[1:])
    return jax.make_array_from_process_local_data(sharding, rows, shape)

  return jax.tree_util.tree_map_with_path(join, batch)


def _ambient_mesh() -> AbstractMesh:
  """Return the mesh over which arrays are split here, which may be empty.

  It is empty in a function that each device computes on arrays of its own.
  """
  mesh = jax.sharding.get_abstract_mesh()
  is_manual = all(kind == AxisType.Manual for kind in mesh.axis_types)
  return AbstractMesh((), ()) if is_manual else mesh


def _even(
  mesh: Any,
  what: str,
  shape: Sequence[int],
  names: Sequence[str | None],
  spec: PartitionSpec,
  uneven: Otherwise,
) -> list[Any]:
  """Return the entries of a spec for dimensions that mesh axes divide."""
  entries = list(spec)
  for dim, (size, entry) in enumerate(zip(shape, entries, strict=True)):
    ways = _ways(mesh, entry)
    if size % ways == 0:
      continue
    sentence = (
      f'{what}: dimension {dim} ({names[dim]!r}, size {size}) is not divisible '
      f'by the {ways} devices of mesh axis {entry!r}'
    )
    if uneven == 'raise':
      raise UserError(
        f"{sentence}. Change the size or the mesh, or state uneven='replicate'."
      )
    _warn_once(f'{sentence}; it is replicated.')
    entries[dim] = None
  return entries


def _is_box(leaf: Any) -> bool:
  return isinstance(leaf, Parameter)


def _content(leaf: Any) -> Any:
  # leaf.unbox() would apply Linen's rules, which accept unknown names.
  return leaf.value if _is_box(leaf) else leaf


def _leaves(tree: Any) -> list[tuple[str, Any]]:
  flat, _ = jax.tree_util.tree_flatten_with_path(tree, is_leaf=_is_box)
  # An optimizer of several groups leaves empty boxes for the other groups.
  return [
    (_joined(path), leaf)
    for path, leaf in flat
    if jax.tree.leaves(_content(leaf))
  ]


def _joined(path: Any) -> str:
  return jax.tree_util.keystr(path, simple=True, separator='/')


def _shape(leaf: Any) -> tuple[int, ...]:
  return tuple(np.shape(_content(leaf)))


def _names(path: str, leaf: Any) -> tuple[str | None, ...]:
  if not _is_box(leaf):
    raise ValueError(
      f'{path} carries no logical axis names; declare it with '
      'sharding.logical(init_fn, *names).'
    )
  check_names(leaf.names)
  return tuple(leaf.names)


def _ways(mesh: Any, entry: str | tuple[str, ...] | None) -> int:
  axes = (entry,) if isinstance(entry, str) else entry or ()
  return math.prod(mesh.shape[axis] for axis in axes)


@functools.cache
def _warn_once(sentence: str) -> None:
  _logger.warning(sentence)
