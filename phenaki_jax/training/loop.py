"""The training loop, the same for every model.

The model is a `Task`, the data an iterator of batches that can start at any
step, and evaluators and writers are passed in. The loop reads data, logs, saves
and evaluates; the comments explain where the order matters.
"""

import contextlib
import functools
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

import jax
from etils import epath
from jax.sharding import Mesh

from phenaki_jax import rng as rngs
from phenaki_jax import sharding
from phenaki_jax.files.atomic import replace_file, sweep_folder
from phenaki_jax.files.lock import run_lock
from phenaki_jax.training import metrics
from phenaki_jax.training import state as state_lib
from phenaki_jax.training.checkpoint_manifest import digest_tree
from phenaki_jax.training.checkpoints import Checkpoints
from phenaki_jax.training.compatibility import FROZEN
from phenaki_jax.training.config import OptimConfig, TrainConfig
from phenaki_jax.training.events import Events
from phenaki_jax.training.last_evaluation import LastEvaluation
from phenaki_jax.training.optim import make_optimizer, make_schedule
from phenaki_jax.training.preemption import StopFlag
from phenaki_jax.training.progress import Progress
from phenaki_jax.training.recovery import Recovery, StateLost
from phenaki_jax.training.seen import seen
from phenaki_jax.training.speed import Speed
from phenaki_jax.training.state import RunArrays, Task, TrainState
from phenaki_jax.training.step import compile_step, make_step
from phenaki_jax.training.watchdog import Watchdog
from phenaki_jax.training.writers import Writer

CountSeen: TypeAlias = Callable[[Mapping[str, int], int], Mapping[str, float]]
"""Returns what was trained on, by name, given the numbers of examples of the
last batch and the number of steps."""

_EXAMPLES_SEEN = functools.partial(seen, tokens=types.MappingProxyType({}))

FINISHED = 0
# EX_TEMPFAIL of sysexits.h: not finished, run the same command again.
PREEMPTED = 75

# Seconds. A first step of a large model may compile for many minutes.
PATIENCE = 3600.0

# The metrics of the progress line, with their names there.
_SHOWN = {
  'loss': 'loss',
  'clips_per_second': 'clips/s',
  'images_per_second': 'images/s',
}

Batches = Callable[[int], Iterator[dict[str, Any]]]


@runtime_checkable
class Evaluator(Protocol):
  """Measures or samples a model every `every` steps; 0 is never."""

  every: int

  def run(self, step: int, state: RunArrays) -> Iterator[tuple[str, Any]]:
    """Yield names with numbers, images or videos (see `Writer`)."""
    ...


def train(
  *,
  task: Task,
  optim: OptimConfig,
  config: TrainConfig,
  batches: Batches,
  data_fingerprint: str,
  experiment: Mapping[str, Any],
  workdir: epath.PathLike,
  mesh: Mesh,
  files: Mapping[str, bytes],
  writers: Sequence[Writer],
  evaluators: Sequence[Evaluator],
  events: Events,
  seed: int,
  patience: float = PATIENCE,
  count_seen: CountSeen = _EXAMPLES_SEEN,
) -> int:
  """Train a task, or resume a run that was stopped.

  Args:
    task: the model and its losses.
    optim: optimizer settings.
    config: length of the run and its intervals.
    batches: returns an infinite iterator of this process' batches from a step
      on (the first is 0); the batch of a step must be the same in every run.
    data_fingerprint: checkpoints made with other data are refused.
    experiment: the resolved experiment, saved in every checkpoint.
    workdir: the run directory, used by this run alone.
    mesh: from `sharding.make_mesh`.
    files: contents by name, written to the run directory once it is known to
      belong to this run.
    writers: receive numbers and samples; closed at the end.
    evaluators: run at their own steps and after the last step.
    events: records on what the time is spent.
    seed: determines the initial parameters and all random draws of the steps.
    patience: seconds without a step, a result of an evaluator or a checkpoint
      after which the process ends (see `training.watchdog`).
    count_seen: counts examples and, except by default, their tokens.

  Returns:
    0 when all steps are done. 75 when a signal stopped the run after saving
    it; the same call then resumes it.

  Raises:
    FloatingPointError: if many steps in a row are not finite; none of them is
      applied (see `training.recovery`).
    CheckpointError: if a checkpoint cannot be written or read.
    UserError: if the directory belongs to another run, or is in use, or the
      parameters or the batch do not divide over the mesh.
    ValueError: if the data ends.
  """
  is_first = jax.process_index() == 0
  workdir = epath.Path(workdir)
  params = state_lib.boxed_params(task)
  optimizer = make_optimizer(
    optim,
    steps=config.steps,
    params=params,
    opponents=task.opponents,
    unoptimized=(*task.fixed, *task.statistics),
  )
  schedule = make_schedule(optim, steps=config.steps)
  root = rngs.root(seed)
  with contextlib.ExitStack() as stack:
    stop = stack.enter_context(StopFlag())
    stack.enter_context(jax.set_mesh(mesh))
    watchdog = stack.enter_context(Watchdog(workdir, patience=patience))
    if is_first:
      stack.enter_context(run_lock(workdir))
    else:
      writers = ()
    for writer in writers:
      stack.callback(writer.close)

    uneven = config.uneven_shards
    abstract = state_lib.abstract_state(
      task, optimizer, mesh, params=params, uneven=uneven
    )
    frozen = state_lib.place_frozen(task, mesh, uneven=uneven)
    checkpoints = stack.enter_context(
      Checkpoints(
        workdir,
        keep=config.keep_checkpoints,
        config=experiment,
        identity={'data': data_fingerprint, FROZEN: digest_tree(task.bound)},
      )
    )

    def begin() -> tuple[int, TrainState, dict[str, metrics.Mean]]:
      """Return the state of the last checkpoint, or that of a new run."""
      watchdog.wait_for('the last checkpoint to be read')
      with events.during('restore') as found:
        restored = checkpoints.restore(abstract)
        found['step'] = restored.step if restored else 0
      if restored is not None:
        return restored.step, restored.state, restored.metrics
      key = rngs.stream(root, 'init')
      return 0, state_lib.create_state(task, optimizer, abstract, key), {}

    start, state, window = begin()
    if is_first:
      sweep_folder(workdir)
      _keep(files, workdir)
    events.open(start)
    for writer in writers:
      writer.rewind(start)
    compiled = compile_step(
      make_step(
        task,
        optimizer,
        ema_decay=optim.ema_decay,
        micro_batches=config.accumulate,
        canonical=config.canonical,
      ),
      abstract,
      canonical=config.canonical,
    )

    progress = Progress(start=start, steps=config.steps, muted=not is_first)
    stack.callback(progress.close)
    if start:
      progress.say(f'Resuming {workdir} after step {start}.')
    last = LastEvaluation(workdir, step=config.steps)
    if start >= config.steps:
      if start > config.steps or last.done() is None:
        progress.say(f'All {config.steps} steps are done.')
        return FINISHED
      progress.say(f'Finishing the evaluation of step {start}.')
      arrays = RunArrays(params=state.params, ema=state.ema, frozen=frozen)
      with events.during('evaluate', step=start):
        return _finish(
          last, evaluators, writers, start, arrays, stop, watchdog, progress
        )
    progress.say('Compiling the first step.')
    stream = batches(start)
    stack.callback(lambda: _close(stream))
    speed = Speed()
    recovery = Recovery()

    # The metrics of a step are fetched while the next step runs, so that the
    # device does not wait for the host.
    in_flight: dict[str, metrics.Mean] | None = None
    step = start
    while step < config.steps:
      step += 1
      watchdog.wait_for(f'the batch of step {step}')
      with speed.waiting(), events.waiting():
        batch = sharding.global_batch(_next(stream, step), mesh)
      watchdog.wait_for(f'step {step} on the devices')
      state, results = compiled(state, batch, root, frozen)
      events.step(step)
      ready = [] if in_flight is None else [(step - 1, in_flight)]
      in_flight = results
      speed.count(task.num_examples(batch))
      progress.advance(step)
      checkpoints.poll()

      is_last = step == config.steps
      is_logged = step % config.log_every == 0 or is_last
      # Several processes agree only when they log, as it costs a message.
      stopping = (is_logged or jax.process_count() == 1) and stop.agreed()
      is_saved = step % config.checkpoint_every == 0 or is_last or stopping
      due = [
        e for e in evaluators if e.every and (is_last or step % e.every == 0)
      ]

      if is_logged or is_saved or due:
        # Before anything is written, as the state may be lost.
        ready.append((step, results))
        in_flight = None
      try:
        for number, found in ready:
          window = recovery.take(number, metrics.fetched(found), window)
      except StateLost:
        watchdog.wait_for('the checkpoint that is being written')
        checkpoints.finish()
        _close(stream)
        # There may be no memory for two states.
        del state
        step, state, window = begin()
        events.rewind(step)
        stream, in_flight = batches(step), None
        for writer in writers:
          writer.rewind(step)
        progress.say(f'Repeating the steps after step {step}.')
        continue
      if is_logged:
        values = {
          **metrics.finalise(window),
          **count_seen(task.num_examples(batch), step),
          'learning_rate': float(schedule(step - 1)),
          **speed.take(),
        }
        window = {}
        _write(writers, step, {f'train/{k}': v for k, v in values.items()})
        progress.report(
          step, {_SHOWN[k]: v for k, v in values.items() if k in _SHOWN}
        )
      if is_last and due:
        last.record(0)
      if is_saved:
        # Before the evaluators, which may be slow and may fail.
        watchdog.wait_for(f'the checkpoint of step {step}')
        with events.during('save', step=step):
          checkpoints.save(step, state, window)
      if stopping and not is_last:
        if due:
          progress.say(f'Stopping; step {step} is not evaluated.')
        break
      if is_last:
        break
      if due:
        with events.during('evaluate', step=step):
          arrays = RunArrays(params=state.params, ema=state.ema, frozen=frozen)
          for evaluator in due:
            got = _results(evaluator, step, arrays, stop, watchdog)
            _write(writers, step, got)
          # The next step reuses the buffers.
          del arrays
        speed.restart()
    watchdog.wait_for(f'the checkpoint of step {step}')
    checkpoints.close()
    if step < config.steps:
      progress.say(
        f'Stopped and saved after step {step} of {config.steps}. Run the same '
        'command to resume.'
      )
      return PREEMPTED
    arrays = RunArrays(params=state.params, ema=state.ema, frozen=frozen)
    with events.during('evaluate', step=step):
      return _finish(
        last, evaluators, writers, step, arrays, stop, watchdog, progress
      )


def _finish(
  last: LastEvaluation,
  evaluators: Sequence[Evaluator],
  writers: Sequence[Writer],
  step: int,
  arrays: RunArrays,
  stop: StopFlag,
  watchdog: Watchdog,
  progress: Progress,
) -> int:
  """Run the evaluators of the last step that are not done; return the code."""
  due = [evaluator for evaluator in evaluators if evaluator.every]
  is_alone = jax.process_count() == 1
  for number in range(last.done() or 0, len(due)):
    results = {}
    if not (stop and is_alone):
      results = _results(due[number], step, arrays, stop, watchdog)
    # An evaluator that a signal cuts short leaves no record and is run again.
    if stop and is_alone:
      progress.say(
        f'Stopped in the evaluation of step {step}. Run the same command to '
        'finish it.'
      )
      return PREEMPTED
    _write(writers, step, results)
    last.record(number + 1)
  last.finish()
  return FINISHED


def _results(
  evaluator: Evaluator,
  step: int,
  state: RunArrays,
  stop: StopFlag,
  watchdog: Watchdog,
) -> dict[str, Any]:
  """Run an evaluator; after a signal, skip its remaining results."""
  results = {}
  watchdog.wait_for(f'the evaluation of step {step}')
  for name, value in evaluator.run(step, state):
    results[name] = value
    watchdog.wait_for(f'the evaluation of step {step} after {name}')
    # Several processes must all finish what they compute together.
    if stop and jax.process_count() == 1:
      break
  return results


def _keep(files: Mapping[str, bytes], workdir: epath.Path) -> None:
  for name, content in files.items():
    path = workdir / name
    if not path.exists() or path.read_bytes() != content:
      replace_file(path, content)


def _write(
  writers: Sequence[Writer], step: int, values: Mapping[str, Any]
) -> None:
  for writer in writers:
    writer.write(step, values)


def _close(stream: Any) -> None:
  if hasattr(stream, 'close'):
    stream.close()


def _next(stream: Iterator[dict[str, Any]], step: int) -> dict[str, Any]:
  try:
    return next(stream)
  except StopIteration:
    raise ValueError(
      f'The data ended before step {step}; the data iterator must be infinite.'
    ) from None
