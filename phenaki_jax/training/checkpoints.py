"""Save a run so that it can be killed anywhere, and trust nothing on the disk.

The only file that knows Orbax. A checkpoint is a folder `checkpoints/<step>` of
five items that can be read apart (`params`, `ema`, `opt_state`; `data` and
`config` as JSON) and a `manifest.json` that is written last and holds a digest
of each. Orbax writes in the background; the folder counts once its manifest
stands in it.
"""

import dataclasses
import json
import logging
import pathlib
import shutil
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

from phenaki_jax.errors import UserError
from phenaki_jax.files import digests
from phenaki_jax.files.atomic import replace_file
from phenaki_jax.training.compatibility import check_same_run
from phenaki_jax.training.metrics import Mean
from phenaki_jax.training.state import TrainState

_logger = logging.getLogger(__name__)

_FOLDER = 'checkpoints'
_ARRAYS = ('params', 'ema', 'opt_state')
_MANIFEST = 'manifest.json'
_NOTHING, _REFUSED = -1, -2


class CheckpointError(UserError):
  """Say in a sentence why a checkpoint cannot be written or read."""


class DamagedError(CheckpointError):
  """Say what is wrong with one checkpoint; another may do."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Restored:
  """Hold a resumed run: its state, and the metrics not yet written."""

  step: int
  state: TrainState
  metrics: dict[str, Mean]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Snapshot:
  """Hold parameters (numpy) with what they are from.

  Attributes:
    step: of the run.
    params: the arrays.
    config: the run's experiment.
    identity: fingerprints of what else the run depends on, by name.
  """

  step: int
  params: dict[str, Any]
  config: dict[str, Any]
  identity: dict[str, str]


def load_params(workdir: str | pathlib.Path, *, item: str = 'ema') -> Snapshot:
  """Read the newest good parameters of a run, without its optimizer.

  Args:
    workdir: the run's directory.
    item: 'ema', the averaged parameters, or 'params'.

  Raises:
    CheckpointError: if there is none, or all are damaged.
    UserError: if `item` is neither.
  """
  if item not in ('ema', 'params'):
    raise UserError(f"item is 'ema' or 'params', not {item!r}.")
  folder = pathlib.Path(workdir).absolute() / _FOLDER
  for step in _steps(folder):
    try:
      manifest, values = _read_json(folder / str(step))
      params = _read_arrays(folder / str(step), item, manifest)
    except DamagedError as error:
      _logger.warning('%s Trying the one before.', error)
      continue
    return Snapshot(
      step=step,
      params=params,
      config=values['config'],
      identity=values['data']['identity'],
    )
  raise CheckpointError(
    f'There is no usable checkpoint in {folder}. Train first, or name the '
    'directory that --workdir was given.'
  )


class Checkpoints:
  """Save and restore one run."""

  def __init__(
    self,
    workdir: str | pathlib.Path,
    *,
    keep: int,
    config: Mapping[str, Any],
    identity: Mapping[str, str],
  ) -> None:
    """Look at the directory; nothing is written yet.

    Args:
      workdir: the run's directory.
      keep: how many of the newest checkpoints stay.
      config: the resolved experiment, as JSON can hold it.
      identity: fingerprints of what else the run depends on (the data, frozen
        parameters), by name; a checkpoint with others is refused.
    """
    self._folder = pathlib.Path(workdir).absolute() / _FOLDER
    self._keep = keep
    self._config = json.loads(json.dumps(config))
    self._identity = dict(identity)
    self._manager: ocp.CheckpointManager | None = None
    self._pending: dict[str, Any] | None = None

  def restore(self, abstract: TrainState) -> Restored | None:
    """Return the newest good state, or None in a fresh directory.

    Damaged and unfinished checkpoints are moved to `checkpoints-damaged`, with
    a warning that says which and why.

    Args:
      abstract: shapes, types and shardings of the state, on any mesh.

    Raises:
      CheckpointError: if there are checkpoints and all are damaged.
      UserError: if the run in the directory is another one.
    """
    # One process reads and judges, so that all resume from the same step.
    failure: Exception | None = None
    step = _NOTHING
    read: dict[str, Any] = {}
    if jax.process_index() == 0:
      try:
        step, read = self._choose(abstract)
      except (CheckpointError, ValueError) as error:
        step, failure = _REFUSED, error
    step = int(multihost_utils.broadcast_one_to_all(np.int32(step)))
    if step == _REFUSED:
      raise failure or CheckpointError('Process 0 refused the checkpoints.')
    if step == _NOTHING:
      return None
    # Orbax sweeps away what a killed save left behind.
    self._open()
    folder = self._folder / str(step)
    _, values = _read_json(folder)
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
      step: number of steps done.
      state: what to save.
      metrics: those of the steps since the last record.

    Raises:
      CheckpointError: if this or the last one cannot be written.
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
    manifest = digests.make_manifest(step, items, values)
    args = {
      **{name: ocp.args.StandardSave(tree) for name, tree in items.items()},
      **{name: ocp.args.JsonSave(value) for name, value in values.items()},
    }
    try:
      self._open().save(step, args=ocp.args.Composite(**args), force=True)
    except Exception as error:
      raise self._failed(step, error) from error
    self._pending = manifest

  def poll(self) -> None:
    """Finish the running save if its background part is over; never wait."""
    if self._pending and not self._open().is_saving_in_progress():
      self.finish()

  def finish(self) -> None:
    """Wait for the running save, write its manifest, and drop old ones.

    Raises:
      CheckpointError: if it could not be written.
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
        replace_file(folder / _MANIFEST, text.encode())
        self._drop_old()
    except Exception as error:
      raise self._failed(manifest['step'], error) from error

  def close(self) -> None:
    """Finish the running save, and let go of the directory.

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
    """Pick the newest good step, set aside what is newer, return its items."""
    steps = _steps(self._folder)
    reasons = []
    chosen, read = _NOTHING, {}
    for step in steps:
      folder = self._folder / str(step)
      try:
        manifest, values = _read_json(folder)
        check_same_run(
          folder,
          saved=(
            values['config'],
            values['data']['identity'],
            {
              path: f'{entry["dtype"]}{tuple(entry["shape"])}'
              for path, entry in manifest['arrays'].items()
            },
          ),
          ours=(
            self._config,
            self._identity,
            {
              path: f'{leaf.dtype.name}{tuple(leaf.shape)}'
              for path, leaf in digests.flatten(_items(abstract)).items()
            },
          ),
        )
        read = {i: _read_arrays(folder, i, manifest) for i in _ARRAYS}
      except DamagedError as error:
        reasons.append(str(error))
        continue
      chosen = step
      break
    if chosen == _NOTHING and _finished(self._folder):
      raise CheckpointError(
        f'{" ".join(reasons)} None of the checkpoints in {self._folder} is '
        'usable. Move that directory away to start from the beginning.'
      )
    for reason in reasons:
      _logger.warning('%s', reason)
    if reasons:
      start = 'the beginning' if chosen == _NOTHING else f'step {chosen}'
      _logger.warning('Going on from %s.', start)
    self._set_aside([step for step in steps if step > chosen])
    return chosen, read

  def _set_aside(self, steps: list[int]) -> None:
    """Move checkpoints out of the way of the steps that come again."""
    aside = self._folder.with_name(f'{_FOLDER}-damaged')
    for step in steps:
      aside.mkdir(exist_ok=True)
      place = aside / str(step)
      if place.exists():
        shutil.rmtree(place)
      (self._folder / str(step)).rename(place)
      _logger.warning('Moved checkpoint %d to %s.', step, place)

  def _drop_old(self) -> None:
    for step in _finished(self._folder)[self._keep :]:
      # The manifest goes first: what is half deleted must not look finished.
      (self._folder / str(step) / _MANIFEST).unlink()
      shutil.rmtree(self._folder / str(step))

  def _open(self) -> ocp.CheckpointManager:
    if self._manager is None:
      self._manager = ocp.CheckpointManager(
        self._folder,
        item_names=(*_ARRAYS, 'data', 'config'),
        options=ocp.CheckpointManagerOptions(cleanup_tmp_directories=True),
      )
    return self._manager

  def _failed(self, step: int, error: Exception) -> CheckpointError:
    good = _finished(self._folder)
    there = f'Checkpoint {good[0]} is' if good else 'No checkpoint is'
    return CheckpointError(
      f'Checkpoint {step} could not be written to {self._folder}: '
      f'{_first_line(error)}. {there} there to go on from. See that the disk '
      'has room and can be written, and start the same command again.'
    )


def _steps(folder: pathlib.Path) -> list[int]:
  """List the steps in a folder, newest first."""
  if not folder.is_dir():
    return []
  names = [entry.name for entry in folder.iterdir() if entry.is_dir()]
  return sorted((int(name) for name in names if name.isdigit()), reverse=True)


def _finished(folder: pathlib.Path) -> list[int]:
  """List the steps whose save was finished, newest first."""
  return [
    step for step in _steps(folder) if (folder / str(step) / _MANIFEST).exists()
  ]


def _items(state: TrainState) -> dict[str, Any]:
  return {
    'params': state.params,
    'ema': state.ema,
    'opt_state': _flat(state.opt_state),
  }


def _flat(opt_state: Any) -> dict[str, Any]:
  """Name the optimizer's arrays: a file cannot hold its named tuples."""
  flat, _ = jax.tree_util.tree_flatten_with_path(opt_state)
  return {
    jax.tree_util.keystr(path, simple=True, separator='.'): leaf
    for path, leaf in flat
  }


def _read_json(folder: pathlib.Path) -> tuple[dict[str, Any], dict[str, Any]]:
  """Read the manifest and the JSON items, and check them."""
  path = folder / _MANIFEST
  if not path.exists():
    raise DamagedError(f'Checkpoint {folder} was not finished.')
  try:
    manifest = json.loads(path.read_bytes())
    if manifest['format'] != digests.FORMAT:
      raise UserError(f'format {manifest["format"]} is not known')
    if str(manifest['step']) != folder.name:
      raise UserError(f'it is of step {manifest["step"]}')
    entries = [manifest['arrays'], *manifest['arrays'].values()]
    if not all(isinstance(entry, dict) for entry in entries):
      raise UserError('its entries are not objects')
    expected = {name: manifest['json'][name] for name in ('data', 'config')}
  except (ValueError, KeyError, TypeError, AttributeError) as error:
    raise DamagedError(
      f'Checkpoint {folder}: {_MANIFEST} is damaged ({_first_line(error)}).'
    ) from error
  values = {}
  for name, digest in expected.items():
    try:
      with _checkpointer(ocp.JsonCheckpointHandler()) as reader:
        values[name] = reader.restore(
          folder / name, args=ocp.args.JsonRestore()
        )
    except Exception as error:
      raise DamagedError(
        f'Checkpoint {folder}: {name} cannot be read ({_first_line(error)}).'
      ) from error
    if digests.digest_json(values[name]) != digest:
      raise DamagedError(f'Checkpoint {folder}: {name} is damaged.')
  return manifest, values


def _read_arrays(
  folder: pathlib.Path, item: str, manifest: Mapping[str, Any]
) -> dict[str, Any]:
  """Read one item as numpy arrays, and check every digest."""
  try:
    entries = {
      path.removeprefix(f'{item}/'): entry
      for path, entry in manifest['arrays'].items()
      if path.startswith(f'{item}/')
    }
    target = {
      path: np.empty(entry['shape'], np.dtype(entry['dtype']))
      for path, entry in entries.items()
    }
    with _checkpointer(ocp.StandardCheckpointHandler()) as reader:
      tree = reader.restore(
        folder / item, args=ocp.args.StandardRestore(digests.nest(target))
      )
    flat = digests.flatten(tree)
    broken = [
      path
      for path, entry in entries.items()
      if digests.digest_array(np.asarray(flat[path])) != entry['blake2b']
    ]
  except Exception as error:
    raise DamagedError(
      f'Checkpoint {folder}: {item} cannot be read ({_first_line(error)}).'
    ) from error
  if broken or not entries:
    what = f'in {", ".join(broken[:3])}' if broken else 'and holds nothing'
    raise DamagedError(
      f'Checkpoint {folder}: {item} is damaged {what} (digests differ).'
    )
  return digests.nest({path: np.asarray(leaf) for path, leaf in flat.items()})


def _place(
  abstract: Any, folder: pathlib.Path, read: dict[str, Any] | None
) -> Any:
  """Put an item where it belongs; several processes read their own parts."""
  if jax.process_count() == 1 and read is not None:
    # What was judged is what is used: the disk is not asked again.
    return jax.tree.map(
      lambda leaf, array: jax.device_put(array, leaf.sharding), abstract, read
    )
  try:
    with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as reader:
      return reader.restore(folder, args=ocp.args.StandardRestore(abstract))
  except Exception as error:
    raise CheckpointError(
      f'{folder} cannot be read ({_first_line(error)}). Move '
      f'{folder.parent} away to go on from the checkpoint before it.'
    ) from error


def _checkpointer(handler: Any) -> ocp.Checkpointer:
  """Read in this process alone, without waiting for the others."""
  return ocp.Checkpointer(
    handler,
    multiprocessing_options=ocp.options.MultiprocessingOptions(
      primary_host=jax.process_index(),
      active_processes={jax.process_index()},
      barrier_sync_key_prefix='phenaki_read',
    ),
  )


def _first_line(error: BaseException) -> str:
  text = str(error).strip() or type(error).__name__
  return text.splitlines()[0][:300].rstrip('.')
