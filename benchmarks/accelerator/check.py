"""Compare the accelerator with the CPU, on the models of `configs/*/tiny.py`."""

import dataclasses
import functools
import pathlib
import time
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from accelerator import attention, machine
from accelerator.rows import Row, error, measured
from phenaki_jax import rng, sharding
from phenaki_jax.generator import Generator
from phenaki_jax.runs import doctor
from phenaki_jax.runs.experiment import Experiment, resolve
from phenaki_jax.sampling.decode import DecodeConfig
from phenaki_jax.sampling.sampler import Models, uncover_tokens
from phenaki_jax.tokenizer.cvivit import CViViT
from phenaki_jax.training.generator_task import GeneratorTask
from phenaki_jax.training.optim import make_optimizer
from phenaki_jax.training.state import abstract_state, boxed_params
from phenaki_jax.training.step import compile_step, make_step
from phenaki_jax.training.tokenizer_task import TokenizerTask

_CONFIGS = pathlib.Path(__file__).resolve().parents[2] / 'configs'
_CLIPS = 4
_STEPS = 8


def run(*, length: int, seconds: float) -> Iterator[Row]:
  """Yield the rows of all comparisons.

  Args:
    length: tokens of a sequence of the attention.
    seconds: after which no further comparison begins.
  """
  began = time.perf_counter()
  yield from _doctor()
  parts = (
    functools.partial(_models, 'float32'),
    functools.partial(attention.compare, length=length),
    functools.partial(_models, 'bfloat16'),
  )
  for part in parts:
    for row in part():
      yield row
      if time.perf_counter() - began > seconds:
        yield Row(
          name='further comparisons',
          state='failed',
          note=f'left out after {seconds:.0f} s',
        )
        return


def _doctor() -> Iterator[Row]:
  try:
    for check in doctor.examine('runs'):
      # Problems of the machine that no comparison depends on are reported.
      mark = 'PROBLEM: ' if check.is_problem else ''
      yield Row(name=f'doctor: {check.name}', note=mark + check.found)
  except Exception as failure:
    yield Row(name='doctor', state='failed', note=str(failure)[:200])


def _models(dtype: str) -> Iterator[Row]:
  limit = attention.LIMITS[dtype]
  for kind in ('generator', 'tokenizer'):
    experiment = resolve(str(_CONFIGS / kind / 'tiny.py'))
    config = dataclasses.replace(getattr(experiment, kind), dtype=dtype)
    experiment = dataclasses.replace(experiment, **{kind: config})
    yield from measured(
      f'{kind}, training step, {dtype}',
      limit,
      functools.partial(_step_errors, experiment),
    )
    yield from measured(
      f'{kind}, sample, {dtype}',
      limit,
      functools.partial(_sample_errors, experiment, dtype),
    )


def _task(experiment: Experiment) -> Any:
  if experiment.kind == 'tokenizer':
    return TokenizerTask(
      config=experiment.tokenizer, weights=experiment.losses
    )
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
    return {'clips': {**clips, 'pixels': bits.integers(0, 256, shape, np.uint8)}}
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


def _params(boxed_init: Any) -> Any:
  """Create parameters, none of which is zero, on the host."""
  drawn = jax.jit(lambda key: sharding.unbox(boxed_init(key)))(rng.root(0))
  bits = np.random.default_rng(1)
  return jax.tree.map(
    lambda x: np.asarray(x)
    + 0.05 * bits.normal(size=x.shape).astype(np.float32),
    drawn,
  )


def _devices() -> tuple[jax.Device, jax.Device]:
  return machine.device(), jax.devices('cpu')[0]


def _step_errors(experiment: Experiment) -> dict[str, float]:
  """Compare the loss, its gradient and the parameters after a step."""
  task, batch = _task(experiment), _batch(experiment)
  params = _params(task.init)
  optimizer = make_optimizer(
    experiment.optim, steps=100, params=boxed_params(task)
  )
  results = []
  for where in _devices():
    mesh = sharding.make_mesh(sharding.MeshConfig(), devices=[where])
    abstract = abstract_state(task, optimizer, mesh)
    step = compile_step(make_step(task, optimizer, ema_decay=0.9), abstract)
    places = jax.tree.map(lambda leaf: leaf.sharding, abstract)
    with jax.set_mesh(mesh), jax.default_matmul_precision('highest'):
      root = jax.device_put(rng.root(0), where)
      # Copied, because the step reuses the memory of its state.
      placed = jax.device_put(params, places.params)
      copied = jax.device_put(params, places.ema)
      both = sharding.global_batch(batch, mesh)
      grads, metrics = jax.jit(task.gradients)(placed, {}, both, root)
      state = abstract.replace(
        step=jax.device_put(np.int32(0), places.step),
        params=placed,
        ema=copied,
        opt_state=jax.jit(optimizer.init, out_shardings=places.opt_state)(
          placed
        ),
      )
      state, _ = step(state, both, root, {})
    mean = metrics['loss']
    results.append(
      jax.device_get((mean.sum / mean.count, grads, state.params))
    )
  ours, reference = results
  names = ('loss', 'gradient', 'parameters after')
  return {
    name: error(a, b)
    for name, a, b in zip(names, ours, reference, strict=True)
  }


def _sample_errors(experiment: Experiment, dtype: str) -> dict[str, float]:
  """Compare decoded tokens and logits, or pixels and their tokens."""
  task, batch = _task(experiment), _batch(experiment)['clips']
  params = _params(task.init)
  results = []
  compute = _pixels if experiment.kind == 'tokenizer' else _tokens
  for where in _devices():
    with jax.default_matmul_precision('highest'):
      given, inputs = jax.device_put((params, batch), where)
      found = compute(experiment, given, inputs, where)
    results.append(jax.device_get(found))
  ours, reference = results
  found = {
    name: error(ours[name], reference[name])
    for name in ours
    if not name.startswith('share')
  }
  if dtype == 'float32':
    # In bfloat16 rounding alone changes which token is the most likely one.
    found |= {
      f'{name} that differ': float(np.mean(ours[name] != reference[name]))
      for name in ours
      if name.startswith('share')
    }
  return found


def _tokens(
  experiment: Experiment, params: Any, clips: Any, where: jax.Device
) -> dict[str, Any]:
  config, text = experiment.generator, experiment.text
  generator = Generator(config=config, text=text)
  ids = clips['tokens']
  masked = jnp.where(ids % 2 == 0, config.codebook_size, ids)

  @jax.jit
  def logits(params: Any, masked: Any, words: Any) -> Any:
    return generator.logits(params, masked, generator.encode(params, words))

  models = Models(
    tokenizer=experiment.tokenizer, generator=config, text=text
  )
  keys = jax.device_put(jax.random.split(rng.root(0), _CLIPS), where)
  settings = np.tile(np.asarray([1.0, 1.0, 4.5], np.float32), (_CLIPS, 1))
  state = uncover_tokens(
    models,
    DecodeConfig(steps=_STEPS),
    params,
    clips['text'],
    ids,
    jax.device_put(np.zeros(ids.shape, bool), where),
    keys,
    jax.device_put(settings, where),
  )
  return {
    'logits': logits(params, masked, clips['text']),
    'share of tokens': state.ids,
  }


def _pixels(
  experiment: Experiment, params: Any, clips: Any, where: jax.Device
) -> dict[str, Any]:
  model = CViViT(experiment.tokenizer)
  pixels = clips['pixels'].astype(jnp.float32) / 127.5 - 1.0
  bits = np.random.default_rng(2)
  data = experiment.data
  grid = experiment.tokenizer.grid(data.frames, data.size)
  ids = bits.integers(
    0, experiment.tokenizer.codebook_size, (_CLIPS, *grid), np.int32
  )
  encode, decode = (
    jax.jit(
      lambda params, x, method=method: model.apply(
        {'params': params}, x, method=method
      )
    )
    for method in ('encode', 'decode')
  )
  return {
    'pixels': decode(params, jax.device_put(ids, where)),
    'share of tokens': encode(params, pixels),
  }
