"""Time the training step of a generator at the batch that fits."""

import dataclasses
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from accelerator import machine
from accelerator.shapes import Shapes
from phenaki_jax import rng, sharding
from phenaki_jax.masked_transformer.config import GeneratorConfig
from phenaki_jax.planning import flops, program
from phenaki_jax.text.config import TextConfig
from phenaki_jax.training.config import OptimConfig
from phenaki_jax.training.generator_config import GeneratorTaskConfig
from phenaki_jax.training.generator_task import GeneratorTask
from phenaki_jax.training.optim import make_optimizer
from phenaki_jax.training.rows import Layout
from phenaki_jax.training.state import TrainState, abstract_state, boxed_params
from phenaki_jax.training.step import compile_step, make_step

# As `configs/generator/paper_1p8b.py`, with a schedule of few steps.
_OPTIM = OptimConfig(
  learning_rate=1e-4, b1=0.9, b2=0.99, weight_decay=1e-4, clip_norm=10.0
)
# Share of the memory that is left for what the compiler cannot know.
_ROOM = 0.04
_OUT_OF_MEMORY = 'RESOURCE_EXHAUSTED'


@dataclasses.dataclass(frozen=True, kw_only=True)
class Program:
  """A step that was compiled for a batch."""

  step: Any
  state: TrainState
  batch: Any
  facts: dict[str, Any]


def time_step(
  shapes: Shapes, name: str, seconds: float
) -> Iterator[dict[str, Any]]:
  """Yield how a generator's step was compiled, then how long it takes.

  The step is that of `phenaki train`: the loss of clips with vectors of their
  captions, gradients, AdamW and the average of the parameters. Tokens and text
  vectors are given, as by caches.

  Args:
    shapes: what is timed.
    name: a generator of `shapes`.
    seconds: time for all of it.
  """
  began = time.perf_counter()
  config = shapes.generators[name]
  for remat, clips in shapes.clips[name].items():
    for one in _programs(shapes, config, remat=remat, clips=clips):
      yield one.facts
      left = seconds - (time.perf_counter() - began)
      if one.facts['fits']:
        limit = min(shapes.most_seconds, max(1.0, 0.4 * left))
        try:
          yield _timed(shapes, config, one, limit=limit)
          return
        except jax.errors.JaxRuntimeError as error:
          if _OUT_OF_MEMORY not in str(error):
            raise
          yield {'out_of_memory': str(error)[:300]}
      if left < 0.3 * seconds:
        raise RuntimeError('no batch that fits was found in the time given')
  raise RuntimeError('no batch fits the memory')


def _programs(
  shapes: Shapes, config: GeneratorConfig, *, remat: Any, clips: int
) -> Iterator[Program]:
  """Compile for a batch, and then for a smaller one if it does not fit."""
  config = dataclasses.replace(config, remat=remat)
  first = _compile(shapes, config, clips)
  yield first
  limit = _limit()
  needed, fixed = first.facts['needed'], first.facts['state_bytes'] * 1.3
  if limit is None or needed is None or limit <= fixed:
    return
  # What a clip needs, if the state and its gradients need the rest.
  each = (needed - fixed) / clips
  fewer = min(int((limit - fixed) / each), clips - 1) if each > 0 else 0
  fewer -= fewer % 4 if fewer > 4 else 0
  if fewer:
    yield _compile(shapes, config, fewer)


def _limit() -> float | None:
  stats = machine.device().memory_stats() or {}
  size = stats.get('bytes_limit')
  return None if size is None else (1 - _ROOM) * size


def _task(shapes: Shapes, config: GeneratorConfig, clips: int) -> GeneratorTask:
  return GeneratorTask(
    config=config,
    # Captions come as vectors, so that no encoder is needed.
    text=TextConfig(max_length=shapes.text_length, source='given'),
    tokenizer=shapes.tokenizer,
    tokenizer_params={},
    training=GeneratorTaskConfig(text_dropout=0.1, prediction_share=0.0),
    layout=Layout(num_clips=clips, num_images=0, length=config.grid[0]),
  )


def _batch(shapes: Shapes, config: GeneratorConfig, clips: int) -> Any:
  random = np.random.default_rng(0)
  length = shapes.text_length
  grid = (clips, *config.grid)
  return {
    'clips': {
      'tokens': random.integers(0, config.codebook_size, grid, np.int32),
      'num_frames': np.full(
        clips, 1 + (config.grid[0] - 1) * shapes.tokenizer.tubelet, np.int32
      ),
      'context_frames': np.zeros(clips, np.int32),
      'text': np.ones((clips, length), np.int32),
      'text_vectors': random.normal(
        size=(clips, length, config.text_width)
      ).astype(np.float32),
    }
  }


def _compile(shapes: Shapes, config: GeneratorConfig, clips: int) -> Program:
  task = _task(shapes, config, clips)
  mesh = sharding.make_mesh(sharding.MeshConfig(), devices=[machine.device()])
  optimizer = make_optimizer(_OPTIM, steps=1000, params=boxed_params(task))
  abstract = abstract_state(task, optimizer, mesh)
  batch = sharding.global_batch(_batch(shapes, config, clips), mesh)
  step: Any = compile_step(
    make_step(task, optimizer, ema_decay=_OPTIM.ema_decay), abstract
  )

  def init() -> TrainState:
    params = machine.random_params(abstract.params, 0)
    return TrainState(
      step=jnp.zeros((), jnp.int32),
      params=params,
      ema=jax.tree.map(jnp.copy, params),
      opt_state=optimizer.init(params),
    )

  places = jax.tree.map(lambda leaf: leaf.sharding, abstract)

  def make_state() -> Any:
    with jax.set_mesh(mesh):
      return jax.jit(init, out_shardings=places).lower().compile()

  began = time.perf_counter()
  needed, compiled, refused = None, None, ''
  with ThreadPoolExecutor(1) as pool:
    making = pool.submit(make_state)
    with jax.set_mesh(mesh):
      lowered = step.lower(abstract, batch, rng.described(), {})
    traced = time.perf_counter() - began
    try:
      compiled = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
      if _OUT_OF_MEMORY not in str(error):
        raise
      refused = str(error)[:200]
    made = making.result()
  size = sum(
    leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(abstract)
  )
  if compiled is not None:
    memory = program.memory(compiled)
    needed = float(
      memory.arguments + memory.temporary + memory.results - memory.aliased
    )
  limit = _limit()
  fits = compiled is not None and (limit is None or needed <= limit)
  return Program(
    step=compiled,
    state=made,
    batch=batch,
    facts={
      'clips': clips,
      'tokens': clips * int(np.prod(config.grid)),
      'remat': config.remat,
      'parameters': sum(x.size for x in jax.tree.leaves(abstract.params)),
      'trace_s': traced,
      'compile_s': time.perf_counter() - began - traced,
      'state_bytes': size,
      'needed': needed,
      'limit': limit,
      'fits': bool(fits),
      'refused': refused,
    },
  )


def _timed(
  shapes: Shapes, config: GeneratorConfig, chosen: Program, *, limit: float
) -> dict[str, Any]:
  root = rng.root(0)
  state, metrics = chosen.state(), {}

  def call() -> Any:
    nonlocal state, metrics
    state, metrics = chosen.step(state, chosen.batch, root, {})
    return metrics

  began = time.perf_counter()
  for _ in range(2):
    jax.block_until_ready(call())
  first = time.perf_counter() - began
  found = machine.seconds_of(call, least=shapes.least_steps, limit=limit)
  values = jax.device_get(metrics)
  clips = chosen.facts['clips']
  work = flops.generator(
    config,
    batch=clips,
    text_length=shapes.text_length,
    text_width=config.text_width or 0,
    learned_text=False,
  ).training
  step = statistics.median(found)
  return {
    'step_s': step,
    'steps': len(found),
    'slowest_s': max(found),
    'first_two_s': first,
    'tokens_per_s': chosen.facts['tokens'] / step,
    'flops': work,
    'rate': work / step,
    'loss': float(values['loss'].sum / values['loss'].count),
    'nonfinite': float(values['nonfinite'].sum),
    'peak_gib': machine.peak_gib(),
  }
