"""Train a run: open its data, writers and evaluators, and call the loop."""

import contextlib
import functools
import hashlib
import logging
import math
import os
import platform
from collections.abc import Iterator

import jax
from etils import epath

from phenaki_jax import config as config_lib
from phenaki_jax import sharding
from phenaki_jax.data.buckets import Buckets
from phenaki_jax.data.config import DataConfig
from phenaki_jax.data.loader import Loader
from phenaki_jax.runs import evaluators
from phenaki_jax.runs.assemble import assemble
from phenaki_jax.runs.compilation_cache import check_compilation_cache
from phenaki_jax.runs.conditions import conditions
from phenaki_jax.runs.experiment import (
  CONFIG_FILE,
  VOCABULARY_FILE,
  WORDS_FILE,
  Experiment,
  saved,
)
from phenaki_jax.training import checkpoint_files, loop, writers
from phenaki_jax.training.collapse import CollapseAlarm
from phenaki_jax.training.events import Events
from phenaki_jax.training.seen import seen

_log = logging.getLogger(__name__)

_HUGE_PAGES = 'glibc.malloc.hugetlb'


def train(experiment: Experiment, workdir: epath.PathLike) -> int:
  """Train a run, or resume it from its last checkpoint.

  Args:
    experiment: a resolved experiment.
    workdir: the run directory.

  Returns:
    0 when all steps are done, or 75 when a signal stopped the run after it was
    saved: the same call resumes it.

  Raises:
    UserError: the experiment, its data or its tokenizer cannot be used, the
      run directory holds another run, or others can write to the compilation
      cache.
    FloatingPointError: a loss or a gradient was not finite.
  """
  checkpoint_files.folder_of(workdir)
  workdir = epath.Path(workdir)
  check_compilation_cache()
  mesh = sharding.make_mesh(experiment.mesh)
  events = Events(workdir)
  run = assemble(experiment, workdir=workdir, mesh=mesh)
  experiment = run.experiment
  model = run.vocabulary.model if run.vocabulary else b''
  kept = saved(experiment, workdir)
  events.facts = conditions(kept, mesh)
  files = {CONFIG_FILE: config_lib.to_json(kept).encode()}
  if model:
    files[VOCABULARY_FILE] = model
  if run.words:
    files[WORDS_FILE] = run.words.to_json()
  data = experiment.data
  with events, contextlib.closing(run.open_pipeline(data)) as pipeline:
    _log.info('%s', described(experiment, pipeline))
    if jax.process_index() == 0:
      log_missing_huge_pages()
    code = loop.train(
      task=run.task,
      optim=experiment.optim,
      config=experiment.train,
      batches=pipeline.iterate,
      # The vocabulary decides how captions are read, so it belongs to the data.
      data_fingerprint=hashlib.sha256(
        pipeline.fingerprint.encode() + model
      ).hexdigest(),
      experiment=config_lib.to_dict(kept),
      workdir=workdir,
      mesh=mesh,
      files=files,
      writers=[
        writers.JsonlWriter(workdir / 'metrics.jsonl'),
        writers.TensorBoardWriter(workdir / 'tensorboard', fps=data.fps),
        writers.FileWriter(workdir / 'samples', fps=data.fps),
        *wandb_writers(kept, workdir),
        CollapseAlarm(),
      ],
      evaluators=evaluators.build(run),
      events=events,
      seed=experiment.seed,
      count_seen=_count_seen(experiment, pipeline),
    )
    event = 'preempt' if code == loop.PREEMPTED else 'stop'
    events.record(event, code=code)
    return code


def wandb_writers(
  experiment: Experiment, workdir: epath.Path
) -> list[writers.Writer]:
  """Return the writer of Weights & Biases if a project is named."""
  if not experiment.wandb.project:
    return []
  settings = config_lib.to_dict(experiment)
  del settings['wandb']
  return [
    writers.WandbWriter(
      workdir,
      config=experiment.wandb,
      settings=settings,
      fps=experiment.data.fps,
    )
  ]


def described(experiment: Experiment, pipeline: Loader) -> str:
  """Describe the batches of a run, for the log."""
  tokens = _example_tokens(experiment, experiment.data)
  return pipeline.describe(tokens['clips'] // tokens['images'] if tokens else 0)


def _example_tokens(experiment: Experiment, data: DataConfig) -> dict[str, int]:
  """Return the visual tokens of one example, by part; none without tokens."""
  if experiment.kind != 'tokenizer' and not experiment.uses_tokenizer:
    return {}
  frames = data.frames - experiment.task.midway_frames
  latent_frames, *plane = experiment.tokenizer.grid(frames, data.size)
  of_image = math.prod(plane)
  return {'clips': latent_frames * of_image, 'images': of_image}


def _count_seen(experiment: Experiment, pipeline: Loader) -> loop.CountSeen:
  """Return what counts the examples and tokens of the steps so far."""
  if not isinstance(pipeline, Buckets):
    tokens = _example_tokens(experiment, experiment.data)
    return functools.partial(seen, tokens=tokens)
  of_buckets = [
    _example_tokens(experiment, one.config) for one in pipeline.pipelines
  ]
  return lambda _, step: pipeline.seen(step, of_buckets)


@contextlib.contextmanager
def joined_processes() -> Iterator[bool]:
  """Join the processes of a job, if a launcher has started several.

  Enter this before anything asks jax for its devices. The launcher sets
  PHENAKI_COORDINATOR, PHENAKI_NUM_PROCESSES and PHENAKI_PROCESS_INDEX, or only
  PHENAKI_COORDINATOR=auto on TPUs and under Slurm, where jax finds the others.

  Yields:
    Whether this is the first process, which does the reporting.
  """
  coordinator = os.environ.get('PHENAKI_COORDINATOR')
  if coordinator is None:
    yield True
    return
  if coordinator == 'auto':
    jax.distributed.initialize()
  else:
    jax.distributed.initialize(
      coordinator_address=coordinator,
      num_processes=int(os.environ['PHENAKI_NUM_PROCESSES']),
      process_id=int(os.environ['PHENAKI_PROCESS_INDEX']),
    )
  try:
    yield jax.process_index() == 0
  finally:
    jax.distributed.shutdown()


def huge_pages_missing() -> bool:
  """Return whether this is a CPU run that could use huge pages and does not."""
  if jax.default_backend() != 'cpu' or platform.libc_ver()[0] != 'glibc':
    return False
  return _HUGE_PAGES not in os.environ.get('GLIBC_TUNABLES', '')


def log_missing_huge_pages() -> None:
  """Log the cost of a CPU run without huge pages, and how to enable them.

  XLA allocates the scratch memory of a compiled step anew on each call, and the
  kernel clears every page of it at the first access. With pages of 2 MB instead
  of 4 KB a training step takes about three quarters of the time (measure it
  with benchmarks/step.py). glibc 2.35 or newer reads the setting when a process
  starts, and needs a kernel whose transparent huge pages are `madvise` or
  `always`.
  """
  if huge_pages_missing():
    _log.info(
      'Huge pages are off; they save about a quarter of each training step on '
      'a CPU. To use them, start with GLIBC_TUNABLES=%s=1 in the environment.',
      _HUGE_PAGES,
    )
