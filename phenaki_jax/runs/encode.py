"""Encode the training examples of a generator into a cache of tokens."""

import contextlib
import dataclasses
import functools
import logging
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from etils import epath
from jax.sharding import Mesh

from phenaki_jax import progress, sharding
from phenaki_jax.data import history as history_lib
from phenaki_jax.data.record_cache import CacheInfo, CacheWriter
from phenaki_jax.data.schema import Example
from phenaki_jax.data.token_cache import KIND, TokenExample
from phenaki_jax.errors import UserError
from phenaki_jax.files.lock import run_lock
from phenaki_jax.files.paths import writable
from phenaki_jax.runs.assemble import Run, assemble_encoder, encoded_grid
from phenaki_jax.runs.experiment import Experiment
from phenaki_jax.runs.pipelines import history_slots
from phenaki_jax.training.generator_task import GeneratorTask
from phenaki_jax.training.state import place_frozen

_log = logging.getLogger(__name__)


def encode_tokens(
  experiment: Experiment, out: epath.PathLike, *, steps: int, mesh: Mesh
) -> CacheInfo:
  """Write the tokens of the examples of the first training steps.

  A build that was interrupted, or that was of fewer steps, goes on. The
  examples are encoded batch by batch as a training step would encode them.

  Args:
    experiment: a resolved experiment of a generator.
    out: folder of the cache.
    steps: number of training steps.
    mesh: from `sharding.make_mesh`.

  Raises:
    UserError: the experiment, its data or its tokenizer cannot be used, or the
      folder holds something else.
  """
  check_place(out)
  if experiment.data.buckets:
    raise UserError(
      'a cache holds the tokens of clips of one shape; leave data.buckets out'
    )
  data = dataclasses.replace(experiment.data, token_cache='', split='train')
  experiment = dataclasses.replace(experiment, data=data)
  run = assemble_encoder(experiment, mesh=mesh)
  with (
    run_lock(out, option='--out'),
    contextlib.closing(run.open_pipeline(data)) as pipeline,
  ):
    info = CacheInfo(
      kind=KIND,
      settings=run.cache_settings(pipeline),
      details={
        'reencoded': run.task.uses_reencoded,
        'grid': list(encoded_grid(experiment)),
      },
      counts=pipeline.composition.counts,
      steps=steps,
    )
    writer = CacheWriter(out, info)
    missing = writer.missing
    total = sum(stop - start for start, stop in missing)
    if total < steps:
      _log.info('%d of %d steps are encoded already.', steps - total, steps)
    encode = _encoder(run)
    with progress.bar(total=total, unit='step', desc='encode') as bar:
      for start, stop in missing:
        records: dict[str, list[bytes]] = {part: [] for part in info.counts}
        for examples in pipeline.ahead(pipeline.examples, start, stop):
          for part, found in encode(examples).items():
            records[part] += found
          bar.update()
        writer.write(start, records)
    writer.finish()
  return info


@functools.partial(jax.jit, static_argnums=0)
def tokenized(task: GeneratorTask, frozen: Any, batch: Any) -> Any:
  """Return `task.tokenized`; it is compiled once for equal tasks."""
  return task.tokenized(frozen, batch)


def check_place(out: epath.PathLike) -> None:
  """Check that a cache can be written.

  Raises:
    UserError: it is on a web server, or there are several processes.
  """
  writable(out)
  if jax.process_count() > 1:
    raise UserError(
      f'there are {jax.process_count()} processes; encode in a single one'
    )


def _encoder(run: Run) -> Any:
  """Return a function that maps the examples of a step to their records."""
  frozen = place_frozen(run.task, run.mesh)
  task = dataclasses.replace(run.task, tokenizer_params=None)
  is_small = run.experiment.tokenizer.codebook_size <= 2**16
  dtype = np.uint16 if is_small else np.uint32
  slots = history_slots(run.experiment)

  def encode(examples: dict[str, Any]) -> dict[str, list[bytes]]:
    batch: dict[str, Any] = {}
    for part, found in examples.items():
      batch[part] = {'pixels': np.stack([one.pixels for one in found])}
      if part == 'clips':
        frames = [one.context_frames for one in found]
        batch[part]['context_frames'] = np.array(frames, np.int32)
        batch[part] |= _history(found, slots, run.experiment.data.size)
    counts = run.task.num_examples(batch)
    tokens = tokenized(task, frozen, sharding.global_batch(batch, run.mesh))
    return {
      part: [
        TokenExample(
          tokens=ids['tokens'][row].astype(dtype),
          reencoded=ids['reencoded'][row].astype(dtype)
          if 'reencoded' in ids
          else None,
          caption=one.caption,
          num_frames=one.num_frames,
          context_frames=one.context_frames,
          history=tuple(
            dataclasses.replace(
              scene,
              frame=ids['history'][row, slot]
              .astype(dtype)
              .reshape(ids['tokens'].shape[-2:]),
            )
            for slot, scene in enumerate(one.history)
          ),
        ).to_record()
        for row, one in enumerate(examples[part][: counts[part]])
      ]
      for part, ids in jax.tree.map(np.asarray, tokens).items()
    }

  return encode


def _history(
  clips: Sequence[Example], slots: int, size: tuple[int, int]
) -> dict[str, np.ndarray]:
  """Return the frames of the earlier scenes of clips, without their texts."""
  spec = history_lib.shapes(
    len(clips), slots, size=size, grid=None, text_length=1
  )
  arrays: dict[str, np.ndarray] = {
    name: np.zeros(shape, kind) for name, (kind, shape) in spec.items()
  }
  if slots:
    history_lib.fill('history_pixels', clips, arrays['history_pixels'], None)
  return arrays
