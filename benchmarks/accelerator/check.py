"""Compare the accelerator with the CPU on the models of `configs/*/tiny.py`."""

import dataclasses
import functools
import os
import pathlib
import time
import types
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from accelerator import attention, machine
from accelerator.once import Once
from accelerator.rows import Job, Row, error, measured
from phenaki_jax import rng, sharding
from phenaki_jax.generator import Generator
from phenaki_jax.pixels import normalise
from phenaki_jax.runs import doctor
from phenaki_jax.runs.experiment import Experiment, resolve
from phenaki_jax.sampling.config import DecodeConfig
from phenaki_jax.sampling.sampler import Models, uncover_tokens
from phenaki_jax.tokenizer.cvivit import CViViT
from phenaki_jax.training.generator_task import GeneratorTask
from phenaki_jax.training.optim import make_optimizer
from phenaki_jax.training.state import TrainState, boxed_params
from phenaki_jax.training.step import make_step
from phenaki_jax.training.tokenizer_task import TokenizerTask

_CONFIGS = pathlib.Path(__file__).resolve().parents[2] / 'configs'
_CLIPS = 4
_STEPS = 8


def run(*, length: int, seconds: float) -> Iterator[Row]:
  """Yield the rows of all comparisons.

  Most of the time is spent in the compiler, which works outside Python's lock:
  the comparisons are made by several threads.

  Args:
    length: tokens of a sequence of the attention.
    seconds: after which no further comparison is waited for.
  """
  end = time.monotonic() + seconds
  yield from _doctor()
  jobs = [
    *_models(),
    *attention.comparisons(length=length),
  ]
  pool = ThreadPoolExecutor(min(len(jobs), os.cpu_count() or 1))
  running = [pool.submit(measured, *job) for job in jobs]
  for (name, limit, _), one in zip(jobs, running, strict=True):
    try:
      yield from one.result(timeout=max(0.0, end - time.monotonic()))
    except TimeoutError:
      note = f'not done after {seconds:.0f} s'
      yield Row(name=name, limit=limit, state='failed', note=note)
  pool.shutdown(wait=False, cancel_futures=True)


def _doctor() -> Iterator[Row]:
  try:
    for check in doctor.examine('runs'):
      # Problems of the machine that no comparison depends on are reported.
      mark = 'PROBLEM: ' if check.is_problem else ''
      yield Row(name=f'doctor: {check.name}', note=mark + check.found)
  except Exception as failure:
    yield Row(name='doctor', state='failed', note=str(failure)[:200])


def _models() -> Iterator[Job]:
  """Yield the comparisons of both models with float32 on the CPU."""
  for kind in _PARAMS:
    by_dtype = {dtype: _experiment(kind, dtype) for dtype in attention.LIMITS}
    for what, compute in (('training step', _step), ('sample', _sample)):
      reference = Once(
        functools.partial(compute, by_dtype['float32'], jax.devices('cpu')[0])
      )
      for dtype, limit in attention.LIMITS.items():
        yield (
          f'{kind}, {what}, {dtype}',
          limit,
          functools.partial(_errors, compute, by_dtype[dtype], reference),
        )


def _errors(
  compute: Callable[..., Any], experiment: Experiment, reference: Once
) -> dict[str, float]:
  found, expected = compute(experiment, machine.device()), reference()
  errors = {}
  for name, value in found.items():
    if not name.startswith('share'):
      errors[name] = error(value, expected[name])
    # In bfloat16 rounding alone changes which token is the most likely one.
    elif getattr(experiment, experiment.kind).dtype == 'float32':
      errors[f'{name} that differ'] = float(np.mean(value != expected[name]))
  return errors


def _experiment(kind: str, dtype: str) -> Experiment:
  experiment = resolve(str(_CONFIGS / kind / 'tiny.py'))
  # One block is compiled for all; the numbers are those of unrolled blocks.
  config = dataclasses.replace(
    getattr(experiment, kind), dtype=dtype, scan=True
  )
  return dataclasses.replace(experiment, **{kind: config})


def _task(experiment: Experiment) -> Any:
  if experiment.kind == 'tokenizer':
    return TokenizerTask(config=experiment.tokenizer, weights=experiment.losses)
  return GeneratorTask(
    config=experiment.generator,
    text=experiment.text,
    tokenizer=experiment.tokenizer,
    tokenizer_params={},
    training=experiment.task,
  )


def _batch(experiment: Experiment) -> Any:
  """Return random clips: pixels, or the tokens of a generator."""
  bits = np.random.default_rng(0)
  frames, size = experiment.data.frames, experiment.data.size
  clips: dict[str, Any] = {'num_frames': np.full(_CLIPS, frames, np.int32)}
  if experiment.kind == 'tokenizer':
    shape = (_CLIPS, frames, *size, 3)
    return {
      'clips': {**clips, 'pixels': bits.integers(0, 256, shape, np.uint8)}
    }
  config, text = experiment.generator, experiment.text
  grid, words = (_CLIPS, *config.grid), (_CLIPS, text.max_length)
  return {
    'clips': {
      **clips,
      'tokens': bits.integers(0, config.codebook_size, grid, np.int32),
      'context_frames': np.zeros(_CLIPS, np.int32),
      'text': bits.integers(2, text.vocab_size, words, np.int32),
    }
  }


def _params(kind: str) -> Any:
  """Create parameters, none of which is zero, on the host."""
  init = _task(_experiment(kind, 'float32')).init
  drawn = jax.jit(lambda key: sharding.unbox(init(key)))(rng.root(0))
  bits = np.random.default_rng(1)
  return jax.tree.map(
    lambda x: (
      np.asarray(x) + 0.05 * bits.normal(size=x.shape).astype(np.float32)
    ),
    drawn,
  )


_PARAMS = {
  kind: Once(functools.partial(_params, kind))
  for kind in ('generator', 'tokenizer')
}


def _step(experiment: Experiment, where: jax.Device) -> dict[str, Any]:
  """Compute the loss, its gradient and the parameters after a step."""
  task, batch = _task(experiment), _batch(experiment)
  params = _PARAMS[experiment.kind]()
  optimizer = make_optimizer(
    experiment.optim, steps=100, params=boxed_params(task)
  )
  seen: dict[str, Any] = {}

  def gradients(*inputs: Any) -> Any:
    # Compiled once, for the step and for what is compared.
    seen['grads'], seen['metrics'] = task.gradients(*inputs)
    return seen['grads'], seen['metrics']

  watched: Any = types.SimpleNamespace(
    gradients=gradients,
    settle=task.settle,
    opponents=task.opponents,
    statistics=task.statistics,
  )
  one_step = make_step(watched, optimizer, ema_decay=0.9)

  @jax.jit
  def both(params: Any, batch: Any, root: Any) -> Any:
    state = TrainState(
      step=jnp.zeros((), jnp.int32),
      params=params,
      ema=params,
      opt_state=optimizer.init(params),
    )
    after, _ = one_step(state, batch, root, {})
    mean = seen['metrics']['loss']
    return {
      'loss': mean.sum / mean.count,
      'gradient': seen['grads'],
      'parameters after': after.params,
    }

  return _compute(both, (params, batch, rng.root(0)), where)


def _sample(experiment: Experiment, where: jax.Device) -> dict[str, Any]:
  """Compute decoded tokens and logits, or pixels and their tokens."""
  compute = _pixels if experiment.kind == 'tokenizer' else _tokens
  params = _PARAMS[experiment.kind]()
  inputs = (params, _batch(experiment)['clips'])
  return _compute(
    jax.jit(functools.partial(compute, experiment)), inputs, where
  )


def _compute(function: Any, inputs: Any, where: jax.Device) -> dict[str, Any]:
  """Return what a function computes on a device, without tf32."""
  with jax.default_matmul_precision('highest'):
    return jax.device_get(function(*jax.device_put(inputs, where)))


def _tokens(experiment: Experiment, params: Any, clips: Any) -> dict[str, Any]:
  config, text = experiment.generator, experiment.text
  generator = Generator(config=config, text=text)
  ids, words = clips['tokens'], clips['text']
  masked = jnp.where(ids % 2 == 0, config.codebook_size, ids)
  state = uncover_tokens(
    Models(tokenizer=experiment.tokenizer, generator=config, text=text),
    DecodeConfig(steps=_STEPS),
    params,
    words,
    ids,
    jnp.zeros(ids.shape, bool),
    jax.random.split(rng.root(0), _CLIPS),
    jnp.tile(jnp.asarray([[1.0, 1.0, 4.5]], jnp.float32), (_CLIPS, 1)),
  )
  return {
    'logits': generator.logits(params, masked, generator.encode(params, words)),
    'share of tokens': state.ids,
  }


def _pixels(experiment: Experiment, params: Any, clips: Any) -> dict[str, Any]:
  config, data = experiment.tokenizer, experiment.data
  model = CViViT(config)
  grid = config.grid(data.frames, data.size)
  ids = np.random.default_rng(2).integers(
    0, config.codebook_size, (_CLIPS, *grid), np.int32
  )
  decoded, encoded = (
    model.apply({'params': params}, x, method=method)
    for x, method in (
      (jnp.asarray(ids), 'decode'),
      (normalise(clips['pixels']), 'encode'),
    )
  )
  return {'pixels': decoded, 'share of tokens': encoded}
