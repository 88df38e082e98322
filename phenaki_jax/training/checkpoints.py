"""Saving and restoring of a run.

Orbax writes checkpoints in the background; a checkpoint counts once it has its
manifest (see `checkpoint_files`). A run may be killed at any time, and nothing
on disk is used before its checksum was verified.
"""

import dataclasses
import functools
import itertools
import json
import logging
import types
from collections.abc import Mapping, Sequence
from concurrent import futures
from typing import Any, Literal

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from flax.traverse_util import flatten_dict

from phenaki_jax.files.atomic import replace_file
from phenaki_jax.training import checkpoint_files as files
from phenaki_jax.training import checkpoint_parts as parts
from phenaki_jax.training import checkpoint_sums as sums
from phenaki_jax.training import orbax_reports
from phenaki_jax.training.agreement import agreed
from phenaki_jax.training.checkpoint_files import CheckpointError, DamagedError
from phenaki_jax.training.checkpoint_manifest import make_manifest
from phenaki_jax.training.compatibility import RunDescription, check_same_run
from phenaki_jax.training.metrics import Mean
from phenaki_jax.training.state import TrainState

_logger = logging.getLogger(__name__)

# Parts in which an array is stored, and their sizes in bytes. Orbax cuts the
# largest dimension first; so many parts divide a matrix along both.
_CHUNKS, _SMALL, _MAX_CHUNK = 512, 1 << 20, 1 << 24
# TensorStore reports a full disk as a ValueError.
_FAILED_WRITE = (OSError, ValueError)
_Item = Literal['ema', 'params']


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
  workdir: epath.PathLike, *, item: _Item = 'ema', step: int | None = None
) -> Snapshot:
  """Read the newest intact parameters of a run, without its optimizer.

  Args:
    workdir: the run directory.
    item: 'ema', the averaged parameters, or 'params'.
    step: of the checkpoint; None for the newest intact one.

  Raises:
    CheckpointError: if there is no such checkpoint, or it is damaged.
  """
  folder = files.folder_of(workdir)
  for at in files.steps(folder) if step is None else [step]:
    try:
      manifest, values = files.read_json(folder / str(at))
      params = files.read_arrays(folder / str(at), item, manifest)
    except DamagedError as error:
      _logger.warning('%s It is not used.', error)
      continue
    return Snapshot(
      step=at,
      params=params,
      config=values['config'],
      identity=values['data']['identity'],
    )
  raise CheckpointError(
    f'There is no usable checkpoint in {folder}. Train first, or give the '
    '--workdir of a trained run.'
  )


@dataclasses.dataclass(kw_only=True)
class _Pending:
  """A save in the background.

  Attributes:
    step: the step of the checkpoint.
    items: descriptions of the arrays.
    values: the JSON items.
    sums: of this process' shards.
    files: digests of small files, which are computed once all are written.
  """

  step: int
  items: dict[str, Any]
  values: dict[str, Any]
  sums: futures.Future[dict[str, Any]]
  files: futures.Future[dict[str, str]] | None = None


class Checkpoints:
  """Save and restore one run; a context that closes itself."""

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
    self._folder = files.folder_of(workdir)
    self._keep = keep
    self._config = json.loads(json.dumps(config))
    self._identity = dict(identity)
    self._manager: ocp.CheckpointManager | None = None
    self._pending: _Pending | None = None
    # Checksums are computed here, not in the thread that trains.
    self._thread = futures.ThreadPoolExecutor(1, 'checksums')

  def __enter__(self) -> 'Checkpoints':
    """Return itself."""
    return self

  def __exit__(
    self,
    kind: type[BaseException] | None,
    error: BaseException | None,
    trace: types.TracebackType | None,
  ) -> None:
    """Close; an exception is soon shown, even if the save cannot be finished.

    Raises:
      CheckpointError: if the running save fails, and nothing else did.
    """
    del error, trace
    if kind is None:
      self.close()
      return
    try:
      self.close(patience=parts.SHORT_PATIENCE)
    except CheckpointError as failure:
      _logger.warning('%s', failure)

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
    items = _items(abstract)
    # A new one is opened below, as Orbax remembers the steps that it saw.
    self._close_orbax()
    steps = sums.exchange(files.steps(self._folder))[0]
    reasons: list[str] = []
    for step in steps:
      folder = self._folder / str(step)
      try:
        manifest, values = self._read_json(step, items)
        read = _verified(folder, items, manifest)
      except DamagedError as error:
        reasons.append(str(error))
        continue
      agreed(functools.partial(self._choose, step, steps, reasons))
      return self._restored(abstract, step, read, values)
    agreed(functools.partial(self._choose, None, steps, reasons))
    return None

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
    args = {
      **{
        name: ocp.args.StandardSave(tree, jax.tree.map(_in_chunks, tree))
        for name, tree in items.items()
      },
      **{name: ocp.args.JsonSave(value) for name, value in values.items()},
    }
    try:
      self._open().save(step, args=ocp.args.Composite(**args), force=True)
    except _FAILED_WRITE as error:
      raise self._failed(step, error) from error
    # Orbax has copied them to the host already, where they do not change.
    blocks = list(sums.held_blocks(items, every_copy=False))
    self._pending = _Pending(
      step=step,
      items=jax.tree.map(_described, items),
      values=values,
      sums=self._thread.submit(sums.sum_blocks, blocks),
    )

  def poll(self) -> None:
    """Finish the running save if its background part is over; do not wait."""
    pending = self._pending
    if pending is None or self._open().is_saving_in_progress():
      return
    if pending.files is None:
      pending.files = self._digests(pending)
    done = pending.sums.done() and pending.files.done()
    if done and not parts.missing(self._folder / str(pending.step)):
      self.finish()

  def finish(self, *, patience: float = parts.PATIENCE) -> None:
    """Wait for the running save, write its manifest, delete old checkpoints.

    Args:
      patience: seconds to wait for what the other processes say.

    Raises:
      CheckpointError: if the checkpoint could not be written.
    """
    if self._pending is None:
      return
    pending, self._pending = self._pending, None
    try:
      self._open().wait_until_finished()
      self._open().check_for_errors()
      digests = pending.files or self._digests(pending)
      own = {'sums': pending.sums.result(), 'files': digests.result()}
      folder = self._folder / str(pending.step)
      told = parts.gather(folder, own, patience=patience)
      if jax.process_index() == 0:
        self._write_manifest(pending, told)
        self._drop_old()
    except _FAILED_WRITE as error:
      raise self._failed(pending.step, error) from error

  def close(self, *, patience: float = parts.PATIENCE) -> None:
    """Finish the running save and close Orbax.

    Args:
      patience: seconds to wait for what the other processes say.

    Raises:
      CheckpointError: if the running save fails.
    """
    try:
      self.finish(patience=patience)
    finally:
      self._close_orbax()
      self._thread.shutdown()

  def _close_orbax(self) -> None:
    manager, self._manager = self._manager, None
    if manager is not None:
      manager.close()

  def _read_json(
    self, step: int, items: Mapping[str, Any]
  ) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the manifest and the JSON items; process 0 reads them for all.

    Raises:
      DamagedError: if they are damaged.
      UserError: if the checkpoint belongs to another run.
    """
    folder = self._folder / str(step)

    def read() -> Any:
      if jax.process_index():
        return None
      manifest, values = files.read_json(folder)
      saved = RunDescription(
        config=values['config'],
        identity=values['data']['identity'],
        arrays={
          path: f'{entry["dtype"]}{tuple(entry["shape"])}'
          for path, entry in manifest['arrays'].items()
        },
      )
      ours = RunDescription(
        config=self._config,
        identity=self._identity,
        arrays={
          path: f'{leaf.dtype.name}{tuple(leaf.shape)}'
          for path, leaf in flatten_dict(dict(items), sep='/').items()
        },
      )
      check_same_run(folder, saved=saved, ours=ours, step=step)
      return manifest, values

    manifest, values = sums.exchange(agreed(read))[0]
    return manifest, values

  def _choose(
    self, chosen: int | None, steps: list[int], reasons: list[str]
  ) -> None:
    """Say which step was chosen and why, and move newer ones aside."""
    if jax.process_index():
      return
    if chosen is None and files.finished(self._folder):
      raise CheckpointError(
        f'{" ".join(reasons)} None of the checkpoints in {self._folder} is '
        'usable. Move that directory away to start from the beginning.'
      )
    for reason in reasons:
      _logger.warning('%s', reason)
    if reasons:
      start = 'the beginning' if chosen is None else f'step {chosen}'
      _logger.warning('Resuming from %s.', start)
    self._set_aside([s for s in steps if chosen is None or s > chosen])
    parts.forget(self._folder)

  def _restored(
    self,
    abstract: TrainState,
    step: int,
    read: Mapping[str, Any],
    values: Mapping[str, Any],
  ) -> Restored:
    # This makes Orbax delete the leftovers of a killed save.
    self._open()
    opt_state = jax.tree.unflatten(
      jax.tree.structure(abstract.opt_state),
      [read['opt_state'][name] for name in _flat(abstract.opt_state)],
    )
    place = abstract.step.sharding
    return Restored(
      step=step,
      state=TrainState(
        step=jax.make_array_from_callback(
          (), place, lambda _: np.asarray(step, np.int32)
        ),
        params=read['params'],
        ema=read['ema'],
        opt_state=opt_state,
      ),
      metrics={
        name: Mean(sum=total, count=count)
        for name, (total, count) in values['data']['metrics'].items()
      },
    )

  def _digests(self, pending: _Pending) -> futures.Future[dict[str, str]]:
    folder, process = self._folder / str(pending.step), jax.process_index()

    def digests() -> dict[str, str]:
      if process == 0:
        files.forget_paths(folder)
      return files.small_files(folder, process=process)

    return self._thread.submit(digests)

  def _write_manifest(
    self, pending: _Pending, told: Sequence[dict[str, Any]]
  ) -> None:
    folder = self._folder / str(pending.step)
    shapes = {
      path: leaf.shape
      for path, leaf in flatten_dict(pending.items, sep='/').items()
    }
    manifest = make_manifest(
      pending.step,
      pending.items,
      sums.add_up([part['sums'] for part in told], shapes),
      pending.values,
      dict(itertools.chain(*(part['files'].items() for part in told))),
    )
    text = json.dumps(manifest, indent=1, sort_keys=True)
    replace_file(folder / files.MANIFEST, text.encode())
    parts.delete(folder)

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


def _verified(
  folder: epath.Path, items: Mapping[str, Any], manifest: Mapping[str, Any]
) -> dict[str, Any]:
  """Read the arrays; each process reads and sums up its own shards.

  Raises:
    DamagedError: on every process, if any shard is damaged.
  """
  read = functools.partial(files.read_shards, folder, items, manifest)
  arrays, own = agreed(read)
  files.check_arrays(folder, arrays, manifest, sums.exchange(own))
  return arrays


def _in_chunks(leaf: Any) -> ocp.SaveArgs:
  """Store an array in parts, of which a process reads only those it needs."""
  if leaf.nbytes < _SMALL:
    return ocp.SaveArgs()
  return ocp.SaveArgs(chunk_byte_size=min(leaf.nbytes // _CHUNKS, _MAX_CHUNK))


def _described(leaf: Any) -> jax.ShapeDtypeStruct:
  return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)
