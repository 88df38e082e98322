"""The evaluators of a training run: held-out losses, pictures and clips."""

import contextlib
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
from phenaki_jax.data.schema import EmptySplitError
from phenaki_jax.evaluation.heldout import HeldoutEvaluator, Sums
from phenaki_jax.evaluation.reconstruction import ReconstructionEvaluator
from phenaki_jax.evaluation.samples import SampleEvaluator
from phenaki_jax.evaluation.unigram import UnigramEvaluator
from phenaki_jax.pixels import normalise, to_uint8
from phenaki_jax.runs.assemble import Run
from phenaki_jax.runs.diffusion import sample_of
from phenaki_jax.runs.enlargement import predict_of
from phenaki_jax.sampling.sampler import Models, Sampler
from phenaki_jax.sampling.still_first import StillFirst
from phenaki_jax.tokenizer.config import TokenizerConfig
from phenaki_jax.tokenizer.cvivit import CViViT

_log = logging.getLogger(__name__)

NUM_BATCHES = 4
_NUM_SAMPLES = 4
NUM_COUNTED = 32  # training batches whose token ids are counted


def build(run: Run) -> list[Any]:
  """Build the evaluators of a run; they use the averaged parameters.

  The list is empty, with a log message, if the held-out split holds no example
  of a kind that the run trains on.
  """
  experiment = run.experiment
  data = dataclasses.replace(
    experiment.data, split='heldout', num_threads=0, prefetch=0
  )
  every = experiment.train.evaluate_every
  try:
    pipeline = run.open_pipeline(data)
  except EmptySplitError as error:
    _log.warning('There is no evaluation during training: %s.', error)
    return []
  batches = [pipeline.batch(step) for step in range(NUM_BATCHES)]
  numbered = list(enumerate(batches))
  evaluators: list[Any] = [
    HeldoutEvaluator(measure=_measure(run), batches=numbered, every=every)
  ]
  if experiment.kind == 'reader':
    return evaluators
  # A student's loss is a divergence, which no rate of tokens compares with.
  if experiment.kind == 'generator' and not experiment.distillation.teacher:
    evaluators.append(
      UnigramEvaluator(
        count=_count(run),
        training=lambda: _training_batches(run),
        heldout=numbered,
        every=every,
      )
    )
  if jax.process_count() > 1:
    _log.warning(
      'A run of several processes shows its losses, but no pictures.'
    )
  elif experiment.kind == 'tokenizer' or not experiment.reads_text:
    clips = [batch['clips'] for batch in batches if 'clips' in batch]
    predict = _reconstruct(run)
    if experiment.kind == 'diffusion':
      predict = predict_of(experiment.diffusion)
    if clips:
      evaluators.append(
        ReconstructionEvaluator(predict=predict, clips=clips, every=every)
      )
  elif experiment.text.source:
    _log.warning(
      'A run with a cache of text shows its losses, but no pictures, because '
      'it does not read the encoder of its prompts.'
    )
  elif pipeline.composition.num_clips:
    sample = _sample if experiment.kind == 'generator' else sample_of
    evaluators.append(
      SampleEvaluator(
        sample=sample(run), prompts=_prompts(run, data), every=every
      )
    )
  return evaluators


def _prompts(run: Run, data: DataConfig) -> list[str]:
  """Return held-out captions of clips that continue no earlier scene.

  They are those of images if clips have none.
  """
  share = 0.0 if data.clip_captions else 1.0
  read = dataclasses.replace(data, image_share=share, continuation_share=0.0)
  with contextlib.closing(run.open_pipeline(read)) as pipeline:
    captions = dict.fromkeys(pipeline.captions(20 * _NUM_SAMPLES))
  return list(itertools.islice(captions, _NUM_SAMPLES))


def _training_batches(run: Run) -> list[Any]:
  """Read the first batches of the training data, with their numbers."""
  data = dataclasses.replace(
    run.experiment.data, num_threads=0, prefetch=0, buckets=()
  )
  with contextlib.closing(run.open_pipeline(data)) as pipeline:
    return [(step, pipeline.batch(step)) for step in range(NUM_COUNTED)]


def _key(number: int | jax.Array) -> jax.Array:
  """Return the fixed key of a batch, so that losses of runs compare."""
  return rng.at_step(rng.stream(rng.root(0), 'heldout'), number)


def _part(number: int | jax.Array) -> Any:
  """Return the place of a batch among the held-out ones, in (0, 1).

  Further numbers, such as those of training batches, start from the first place
  again.
  """
  return (number % NUM_BATCHES + 0.5) / NUM_BATCHES


def _measure(run: Run) -> Any:
  """Return a function that maps a state and a numbered batch to sums."""
  task, mesh = run.task, run.mesh

  @jax.jit
  def terms(params: Any, frozen: Any, batch: Any, number: Any) -> Any:
    options = {}
    if run.experiment.kind == 'generator':
      options['part'] = _part(number)
    return task.evaluate(params, frozen, batch, _key(number), **options)

  def measure(state: Any, numbered: tuple[int, Any]) -> Sums:
    number, batch = numbered
    found = terms(
      state.ema, state.frozen, sharding.global_batch(batch, mesh), number
    )
    return {
      name: (float(mean.sum), float(mean.count)) for name, mean in found.items()
    }

  return measure


def _count(run: Run) -> Any:
  """Return a function that counts all and hidden ids of a numbered batch."""
  task, mesh = run.task, run.mesh
  num = task.config.codebook_size

  def histograms(
    frozen: Any, batch: Any, number: Any
  ) -> tuple[jax.Array, jax.Array]:
    # The hidden tokens are those of `_measure`.
    rows = task.rows(frozen, batch, _key(number), _part(number))
    real = (rows.segments >= 0)[:, :, None, None]
    seen = jnp.zeros(num).at[rows.ids].add(real)
    return seen, jnp.zeros(num).at[rows.ids].add(rows.hidden & real)

  compiled = jax.jit(histograms, out_shardings=sharding.replicated(mesh))

  def count(
    state: Any, numbered: tuple[int, Any]
  ) -> tuple[np.ndarray, np.ndarray]:
    number, batch = numbered
    seen, hidden = compiled(
      state.frozen, sharding.global_batch(batch, mesh), number
    )
    return np.asarray(seen), np.asarray(hidden)

  return count


def reconstructor(config: TokenizerConfig) -> Callable[[Any, Any], Any]:
  """Return a function that maps (params, pixels) to decoded pixels."""
  model = CViViT(config)

  def reconstruct(params: Any, pixels: Any) -> Any:
    variables = {'params': params}
    ids = model.apply(variables, normalise(pixels), method='encode')
    decoded: Any = model.apply(variables, ids, method='decode')
    return to_uint8(decoded)

  return reconstruct


def _reconstruct(run: Run) -> Any:
  """Return a function that maps (state, pixels, lengths) to decoded pixels."""
  compiled = jax.jit(
    reconstructor(run.experiment.tokenizer),
    out_shardings=sharding.replicated(run.mesh),
  )
  return lambda state, pixels, lengths: compiled(state.ema, pixels)


def _sample(run: Run) -> Any:
  """Return a function that maps (state, prompts, seeds) to clips."""
  experiment, vocabulary = run.experiment, run.vocabulary
  assert vocabulary is not None
  models = Models(
    tokenizer=experiment.tokenizer,
    generator=experiment.generator,
    text=experiment.text,
  )

  frozen_names = ('text',) if experiment.text.encodes_in_step else ()

  def sample(state: Any, prompts: Any, seeds: Any) -> np.ndarray:
    frozen = {name: state.frozen[name] for name in frozen_names}
    sampler: Any = Sampler(
      models=models,
      tokenizer_params=state.frozen,
      generator_params={**state.ema, **frozen},
      vocabulary=vocabulary,
      fps=experiment.data.fps,
    )
    if not experiment.data.clip_captions:
      sampler = StillFirst(sampler=sampler)
    return sampler.clips(
      prompts,
      size=experiment.data.size,
      seeds=seeds,
      settings=experiment.sampling,
    )

  return sample
