"""Saving and restoring of a run.

Orbax writes checkpoints in the background; a checkpoint counts once it has its
manifest (see `checkpoint_files`). A run may be killed at any time, and nothing
on disk is used before its digest was verified.
"""

import dataclasses
import json
import logging
from collections.abc import Mapping
from typing import Any, Literal

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from flax.traverse_util import flatten_dict
from jax.experimental import multihost_utils

from phenaki_jax.files.atomic import replace_file
from phenaki_jax.files.paths import absolute
from phenaki_jax.training import checkpoint_files as files
from phenaki_jax.training import orbax_reports
from phenaki_jax.training.checkpoint_files import CheckpointError, DamagedError
from phenaki_jax.training.checkpoint_manifest import make_manifest
from phenaki_jax.training.compatibility import RunDescription, check_same_run
from phenaki_jax.training.metrics import Mean
from phenaki_jax.training.state import TrainState

_logger = logging.getLogger(__name__)

_NOTHING, _REFUSED = -1, -2
# TensorStore reports a full disk as a ValueError.
_FAILED_WRITE = (OSError, ValueError)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Restored:
  """A resumed run: its state, and the metrics that are not yet logged."""

  step: int
  state: TrainState
  metrics: dict[str, Mean]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Snapshot:
  """Parameters of a run.

  Attributes:
    step: the step at which they were saved.
    params: nested dicts of numpy arrays.
    config: the run's experiment.
    identity: fingerprints of the run's other inputs, by name.
  """

  step: int
  params: dict[str, Any]
  config: dict[str, Any]
  identity: dict[str, str]


def load_params(
  workdir: epath.PathLike, *, item: Literal['ema', 'params'] = 'ema'
) -> Snapshot:
  """Read the newest intact parameters of a run, without its optimizer.

  Args:
    workdir: the run directory.
    item: 'ema', the averaged parameters, or 'params'.

  Raises:
    CheckpointError: if there is no checkpoint, or all are damaged.
  """
  folder = absolute(workdir) / files.FOLDER
  for step in files.steps(folder):
    try:
      manifest, values = files.read_json(folder / str(step))
      params = files.read_arrays(folder / str(step), item, manifest)
    except DamagedError as error:
      _logger.warning('%s Trying the checkpoint before it.', error)
      continue
    return Snapshot(
      step=step,
      params=params,
      config=values['config'],
      identity=values['data']['identity'],
    )
  raise CheckpointError(
    f'There is no usable checkpoint in {folder}. Train first, or give the '
    '--workdir of a trained run.'
  )


class Checkpoints:
  """Save and restore one run."""

  def __init__(
    self,
    workdir: epath.PathLike,
    *,
    keep: int,
    config: Mapping[str, Any],
    identity: Mapping[str, str],
  ) -> None:
    """Set the directory; nothing is read or written yet.

    Args:
      workdir: the run directory.
      keep: the number of newest checkpoints to keep.
      config: the resolved experiment, as JSON values.
      identity: fingerprints of the run's other inputs (the data, frozen
        parameters), by name; a checkpoint with different ones is refused.
    """
    self._folder = absolute(workdir) / files.FOLDER
    self._keep = keep
    self._config = json.loads(json.dumps(config))
    self._identity = dict(identity)
    self._manager: ocp.CheckpointManager | None = None
    self._pending: dict[str, Any] | None = None

  def restore(self, abstract: TrainState) -> Restored | None:
    """Return the newest intact state, or None in a fresh directory.

    Damaged and unfinished checkpoints are moved to `checkpoints-damaged`, with
    a warning that gives the reason.

    Args:
      abstract: shapes, dtypes and shardings of the state, on any mesh.

    Raises:
      CheckpointError: if there are checkpoints and all are damaged.
      UserError: if the directory belongs to another run.
    """
    # One process chooses, so that all processes resume from the same step.
    failure: Exception | None = None
    step = _NOTHING
    read: dict[str, Any] = {}
    if jax.process_index() == 0:
      try:
        step, read = self._choose(abstract)
      except Exception as error:
        # Raised below: the other processes are waiting for the step.
        step, failure = _REFUSED, error
    step = int(multihost_utils.broadcast_one_to_all(np.int32(step)))
    if step == _REFUSED:
      raise failure or CheckpointError('Process 0 cannot resume; see its log.')
    if step == _NOTHING:
      return None
    # This makes Orbax delete the leftovers of a killed save.
    self._open()
    folder = self._folder / str(step)
    _, values = files.read_json(folder)
    restored = {
      name: _place(tree, folder / name, read.get(name))
      for name, tree in _items(abstract).items()
    }
    opt_state = jax.tree.unflatten(
      jax.tree.structure(abstract.opt_state),
      [restored['opt_state'][name] for name in _flat(abstract.opt_state)],
    )
    place = abstract.step.sharding
    return Restored(
      step=step,
      state=TrainState(
        step=jax.make_array_from_callback(
          (), place, lambda _: np.asarray(step, np.int32)
        ),
        params=restored['params'],
        ema=restored['ema'],
        opt_state=opt_state,
      ),
      metrics={
        name: Mean(sum=total, count=count)
        for name, (total, count) in values['data']['metrics'].items()
      },
    )

  def save(
    self, step: int, state: TrainState, metrics: Mapping[str, Mean]
  ) -> None:
    """Start to save; the state may be donated as soon as this returns.

    Args:
      step: the number of steps done.
      state: the state after that step.
      metrics: of the steps since they were last logged.

    Raises:
      CheckpointError: if this or the previous checkpoint cannot be written.
    """
    self.finish()
    items = _items(state)
    values = {
      'data': {
        'step': step,
        'identity': self._identity,
        'metrics': {
          name: [mean.sum, mean.count] for name, mean in metrics.items()
        },
      },
      'config': self._config,
    }
    manifest = make_manifest(step, items, values)
    args = {
      **{name: ocp.args.StandardSave(tree) for name, tree in items.items()},
      **{name: ocp.args.JsonSave(value) for name, value in values.items()},
    }
    try:
      self._open().save(step, args=ocp.args.Composite(**args), force=True)
    except _FAILED_WRITE as error:
      raise self._failed(step, error) from error
    self._pending = manifest

  def poll(self) -> None:
    """Finish the running save if its background part is over; do not wait."""
    if self._pending and not self._open().is_saving_in_progress():
      self.finish()

  def finish(self) -> None:
    """Wait for the running save, write its manifest, delete old checkpoints.

    Raises:
      CheckpointError: if the checkpoint could not be written.
    """
    if self._pending is None:
      return
    manifest, self._pending = self._pending, None
    folder = self._folder / str(manifest['step'])
    try:
      self._open().wait_until_finished()
      self._open().check_for_errors()
      if jax.process_index() == 0:
        text = json.dumps(manifest, indent=1, sort_keys=True)
        replace_file(folder / files.MANIFEST, text.encode())
        self._drop_old()
    except _FAILED_WRITE as error:
      raise self._failed(manifest['step'], error) from error

  def close(self) -> None:
    """Finish the running save and close Orbax.

    Raises:
      CheckpointError: if the running save fails.
    """
    try:
      self.finish()
    finally:
      manager, self._manager = self._manager, None
      if manager is not None:
        manager.close()

  def _choose(self, abstract: TrainState) -> tuple[int, dict[str, Any]]:
    """Return the newest intact step and its arrays; move newer ones aside."""
    reasons = []
    chosen, read = _NOTHING, {}
    ours = RunDescription(
      config=self._config,
      identity=self._identity,
      arrays={
        path: f'{leaf.dtype.name}{tuple(leaf.shape)}'
        for path, leaf in flatten_dict(_items(abstract), sep='/').items()
      },
    )
    steps = files.steps(self._folder)
    for step in steps:
      folder = self._folder / str(step)
      try:
        manifest, values = files.read_json(folder)
        saved = RunDescription(
          config=values['config'],
          identity=values['data']['identity'],
          arrays={
            path: f'{entry["dtype"]}{tuple(entry["shape"])}'
            for path, entry in manifest['arrays'].items()
          },
        )
        check_same_run(folder, saved=saved, ours=ours, step=step)
        read = {i: files.read_arrays(folder, i, manifest) for i in files.ARRAYS}
      except DamagedError as error:
        reasons.append(str(error))
        continue
      chosen = step
      break
    if chosen == _NOTHING and files.finished(self._folder):
      raise CheckpointError(
        f'{" ".join(reasons)} None of the checkpoints in {self._folder} is '
        'usable. Move that directory away to start from the beginning.'
      )
    for reason in reasons:
      _logger.warning('%s', reason)
    if reasons:
      start = 'the beginning' if chosen == _NOTHING else f'step {chosen}'
      _logger.warning('Resuming from %s.', start)
    self._set_aside([step for step in steps if step > chosen])
    return chosen, read

  def _set_aside(self, steps: list[int]) -> None:
    """Move checkpoints away, so that their steps can be saved again."""
    aside = self._folder.with_name(f'{files.FOLDER}-damaged')
    for step in steps:
      aside.mkdir(exist_ok=True)
      place = aside / str(step)
      place.rmtree(missing_ok=True)
      (self._folder / str(step)).rename(place)
      _logger.warning('Moved checkpoint %d to %s.', step, place)

  def _drop_old(self) -> None:
    for step in files.finished(self._folder)[self._keep :]:
      # The manifest goes first: a partly deleted checkpoint is not finished.
      (self._folder / str(step) / files.MANIFEST).unlink()
      (self._folder / str(step)).rmtree()

  def _open(self) -> ocp.CheckpointManager:
    if self._manager is None:
      orbax_reports.silence()
      self._manager = ocp.CheckpointManager(
        self._folder,
        item_names=(*files.ARRAYS, *files.JSON),
        options=ocp.CheckpointManagerOptions(cleanup_tmp_directories=True),
      )
    return self._manager

  def _failed(self, step: int, error: Exception) -> CheckpointError:
    good = files.finished(self._folder)
    last = f'step {good[0]}' if good else 'the beginning'
    return CheckpointError(
      f'Checkpoint {step} could not be written to {self._folder}: '
      f'{files.first_line(error)}. Check that the disk has space and is '
      f'writable, and start the same command again to resume from {last}.'
    )


def _items(state: TrainState) -> dict[str, Any]:
  return {
    'params': state.params,
    'ema': state.ema,
    'opt_state': _flat(state.opt_state),
  }


def _flat(opt_state: Any) -> dict[str, Any]:
  """Name the optimizer's arrays; a file cannot hold its named tuples."""
  flat, _ = jax.tree_util.tree_flatten_with_path(opt_state)
  return {
    jax.tree_util.keystr(path, simple=True, separator='.'): leaf
    for path, leaf in flat
  }


def _place(
  abstract: Any, folder: epath.Path, read: dict[str, Any] | None
) -> Any:
  """Shard an item; of several processes, each reads its own shards."""
  if jax.process_count() == 1 and read is not None:
    # The verified arrays are used; the disk is not read a second time.
    return jax.tree.map(
      lambda leaf, array: jax.device_put(array, leaf.sharding), abstract, read
    )
  try:
    with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as reader:
      return reader.restore(folder, args=ocp.args.StandardRestore(abstract))
  except files.DAMAGE as error:
    raise CheckpointError(
      f'{folder} cannot be read ({files.first_line(error)}). Move '
      f'{folder.parent} away to resume from the checkpoint before it.'
    ) from error
