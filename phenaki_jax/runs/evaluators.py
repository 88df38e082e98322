"""What a training run shows of itself on the way."""

import dataclasses
import itertools
import logging
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from phenaki_jax import rng, sharding
from phenaki_jax.data.config import DataConfig
from phenaki_jax.data.pipeline import Pipeline
from phenaki_jax.evaluation.heldout import HeldoutEvaluator, Sums
from phenaki_jax.evaluation.reconstruction import ReconstructionEvaluator
from phenaki_jax.evaluation.samples import SampleEvaluator
from phenaki_jax.evaluation.unigram import UnigramEvaluator
from phenaki_jax.pixels import normalise, to_uint8
from phenaki_jax.runs.experiment import Experiment
from phenaki_jax.sampling.sampler import Models, Sampler
from phenaki_jax.text.vocab import SentencePieceVocabulary
from phenaki_jax.tokenizer.cvivit import CViViT
from phenaki_jax.training.state import Task

_log = logging.getLogger(__name__)

_NUM_BATCHES = 4
_NUM_SAMPLES = 4
_NUM_COUNTED = 32  # training batches whose tokens are counted


def build(
  experiment: Experiment,
  *,
  task: Task,
  open_pipeline: Callable[[DataConfig], Pipeline],
  vocabulary: SentencePieceVocabulary | None,
  mesh: jax.sharding.Mesh,
) -> list[Any]:
  """Build the evaluators of a run; all of them use the averaged parameters.

  Args:
    experiment: the run.
    task: what it trains.
    open_pipeline: opens data as the run does.
    vocabulary: a generator's.
    mesh: the run's.
  """
  data = dataclasses.replace(
    experiment.data, split='heldout', num_threads=0, prefetch=0
  )
  every = experiment.train.evaluate_every
  try:
    pipeline = open_pipeline(data)
  except ValueError as error:
    _log.warning('Nothing is evaluated on the way: %s.', error)
    return []
  batches = [pipeline.batch(step) for step in range(_NUM_BATCHES)]
  evaluators: list[Any] = [
    HeldoutEvaluator(_measure(task, mesh), batches, every=every)
  ]
  if experiment.kind == 'generator':
    evaluators.append(
      UnigramEvaluator(
        _count(task, mesh),
        training=lambda: _first(open_pipeline, experiment.data, _NUM_COUNTED),
        heldout=batches,
        every=every,
      )
    )
  if jax.process_count() > 1:
    _log.warning(
      'A run of several processes shows its losses, but no pictures.'
    )
  elif experiment.kind == 'tokenizer':
    clips = [batch['clips'] for batch in batches if 'clips' in batch]
    if clips:
      predict = _reconstruct(experiment, mesh)
      evaluators.append(ReconstructionEvaluator(predict, clips, every=every))
  elif pipeline.composition.num_clips:
    assert vocabulary is not None
    predict = _sample(experiment, vocabulary)
    prompts = _prompts(open_pipeline, data)
    evaluators.append(SampleEvaluator(predict, prompts, every=every))
  return evaluators


def _prompts(
  open_pipeline: Callable[[DataConfig], Pipeline], data: DataConfig
) -> list[str]:
  """Return held-out captions of clips that go on from nothing."""
  clips = dataclasses.replace(data, image_share=0.0, continuation_share=0.0)
  captions = dict.fromkeys(open_pipeline(clips).captions(20 * _NUM_SAMPLES))
  return list(itertools.islice(captions, _NUM_SAMPLES))


def _first(
  open_pipeline: Callable[[DataConfig], Pipeline], data: DataConfig, number: int
) -> list[Any]:
  """Read the first batches of data."""
  pipeline = open_pipeline(dataclasses.replace(data, num_threads=0, prefetch=0))
  return [pipeline.batch(step) for step in range(number)]


def _key() -> jax.Array:
  """Return the same key at any time, so that one run compares with the next."""
  return rng.stream(rng.root(0), 'heldout')


def _measure(task: Task, mesh: jax.sharding.Mesh) -> Any:
  """Return a function of (state, batch) to the task's own loss terms."""
  key = _key()

  @jax.jit
  def terms(params: Any, frozen: Any, batch: Any) -> Any:
    return task.evaluate(params, frozen, batch, key)

  def measure(state: Any, batch: Any) -> Sums:
    found = terms(state.ema, state.frozen, sharding.global_batch(batch, mesh))
    return {
      name: (float(mean.sum), float(mean.count)) for name, mean in found.items()
    }

  return measure


def _count(task: Any, mesh: jax.sharding.Mesh) -> Any:
  """Return a function of (state, batch) to counts of all and hidden ids."""
  key = _key()
  num = task.config.codebook_size

  def histograms(frozen: Any, batch: Any) -> tuple[jax.Array, jax.Array]:
    rows = task.rows(frozen, batch, key)
    real = (rows.segments >= 0)[:, :, None, None]
    seen = jnp.zeros(num).at[rows.ids].add(real)
    return seen, jnp.zeros(num).at[rows.ids].add(rows.hidden & real)

  compiled = jax.jit(histograms, out_shardings=sharding.replicated(mesh))

  def count(state: Any, batch: Any) -> tuple[np.ndarray, np.ndarray]:
    seen, hidden = compiled(state.frozen, sharding.global_batch(batch, mesh))
    return np.asarray(seen), np.asarray(hidden)

  return count


def _reconstruct(experiment: Experiment, mesh: jax.sharding.Mesh) -> Any:
  """Return a function of (state, pixels, lengths) to decoded pixels."""
  model = CViViT(experiment.tokenizer)

  def reconstruct(params: Any, pixels: Any) -> Any:
    variables = {'params': params}
    ids = model.apply(variables, normalise(pixels), method='encode')
    decoded: Any = model.apply(variables, ids, method='decode')
    return to_uint8(decoded)

  compiled = jax.jit(reconstruct, out_shardings=sharding.replicated(mesh))
  return lambda state, pixels, lengths: compiled(state.ema, pixels)


def _sample(experiment: Experiment, vocabulary: SentencePieceVocabulary) -> Any:
  """Return a function of (state, prompts, seeds) to clips."""
  models = Models(
    tokenizer=experiment.tokenizer,
    generator=experiment.generator,
    text=experiment.text,
  )

  def sample(state: Any, prompts: Any, seeds: Any) -> np.ndarray:
    sampler = Sampler(
      models=models,
      tokenizer_params=state.frozen,
      generator_params=state.ema,
      vocabulary=vocabulary,
    )
    return sampler.clips(
      prompts,
      size=experiment.data.size,
      seeds=seeds,
      settings=experiment.sampling,
    )

  return sample
