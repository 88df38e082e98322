"""Time the sampler: one window, and a long story window by window."""

import dataclasses
import functools
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
from phenaki_jax.generator import EncodedTexts, Generator
from phenaki_jax.masked_transformer.config import GeneratorConfig
from phenaki_jax.planning import flops
from phenaki_jax.sampling.config import DecodeConfig
from phenaki_jax.sampling.sampler import Models, Sampler, uncover_tokens
from phenaki_jax.text.config import TextConfig
from phenaki_jax.training.tokenizer_task import TokenizerTask

# As `configs/generator/paper_1p8b.py`: guidance and the two temperatures.
_SETTINGS = (12.0, 1.0, 8.0)
_WINDOWS = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Maker:
  """Makes windows of a story with random parameters.

  Attributes:
    shapes: what is timed.
    sampler: of the library, which encodes and decodes frames.
    texts: vectors of the prompt.
    programs: the compiled decoding of tokens, by number of decoding steps.
  """

  shapes: Shapes
  sampler: Sampler
  texts: EncodedTexts
  programs: dict[int, Any]

  def window(
    self, context: np.ndarray | None, *, steps: int, seed: int
  ) -> np.ndarray:
    """Return the frames of a window, the context frames first."""
    models = self.sampler.models
    grid = models.generator.grid
    ids, known = np.zeros((1, *grid), np.int32), np.zeros((1, *grid), bool)
    if context is not None:
      given = self.sampler.encode(context)
      ids[:, : given.shape[1]] = given
      known[:, : given.shape[1]] = True
    state = self.programs[steps](
      self.sampler.generator_params,
      self.texts,
      jnp.asarray(ids),
      jnp.asarray(known),
      rng.root(seed)[None],
      jnp.asarray([_SETTINGS], jnp.float32),
    )
    return self.sampler.decode(np.asarray(state.ids).reshape(ids.shape))


def _described(shapes: Shapes) -> tuple[Models, Any, Any]:
  """Return the settings and the shapes of the parameters of both networks."""
  generator = shapes.generators[shapes.sampled]
  text = TextConfig(max_length=shapes.text_length, source='given')
  models = Models(tokenizer=shapes.tokenizer, generator=generator, text=text)
  of_generator, of_tokenizer = (
    jax.eval_shape(
      lambda key, init=init: sharding.unbox(init(key)), rng.described()
    )
    for init in (
      Generator(config=generator, text=text).init,
      TokenizerTask(config=shapes.tokenizer).init,
    )
  )
  return models, of_generator, of_tokenizer


def _arguments(shapes: Shapes, generator: GeneratorConfig) -> tuple[Any, ...]:
  """Describe the arguments of the decoding after the parameters."""
  shape, grid = jax.ShapeDtypeStruct, (1, *generator.grid)
  # The prompt, and what guidance moves away from.
  size = (2, shapes.text_length)
  texts = EncodedTexts(
    vectors=shape((*size, generator.text_width), jnp.bfloat16),
    mask=shape(size, bool),
  )
  keys = shape((1,), rng.described().dtype)
  return (
    texts,
    shape(grid, jnp.int32),
    shape(grid, bool),
    keys,
    shape((1, 3), jnp.float32),
  )


def prepare(shapes: Shapes) -> tuple[Maker, dict[str, Any]]:
  """Make the parameters in bfloat16, and compile all that is needed."""
  models, of_generator, of_tokenizer = _described(shapes)
  generator = models.generator
  half = jax.tree.map(
    lambda leaf: jax.ShapeDtypeStruct(leaf.shape, jnp.bfloat16), of_generator
  )
  began = time.perf_counter()
  arguments = _arguments(shapes, generator)

  def compile_decoding(steps: int) -> Any:
    return uncover_tokens.lower(
      models, DecodeConfig(steps=steps), half, *arguments
    ).compile()

  with ThreadPoolExecutor(len(shapes.decoding)) as pool:
    # Of several threads, since the compiler works outside Python's lock.
    compiling = {n: pool.submit(compile_decoding, n) for n in shapes.decoding}
    params, tokenizer_params = jax.jit(
      lambda: (
        machine.random_params(half, 1, jnp.bfloat16),
        machine.random_params(of_tokenizer, 2),
      )
    )()
    vectors = jax.random.normal(
      jax.random.key(3), arguments[0].vectors.shape, jnp.bfloat16
    )
    maker = Maker(
      shapes=shapes,
      sampler=Sampler(
        models=models,
        tokenizer_params=tokenizer_params,
        generator_params=params,
        vocabulary=None,  # type: ignore[arg-type]
      ),
      texts=EncodedTexts(
        vectors=vectors, mask=jnp.ones(vectors.shape[:2], bool)
      ),
      programs={n: one.result() for n, one in compiling.items()},
    )
  spent = time.perf_counter() - began
  # The first calls compile the tokenizer.
  steps = shapes.decoding[0]
  frames = maker.window(None, steps=steps, seed=0)
  maker.window(frames[:, -shapes.context :], steps=steps, seed=1)
  whole = time.perf_counter() - began
  return maker, {
    'compile_s': spent,
    'with_tokenizer_s': whole,
    'parameters': sum(x.size for x in jax.tree.leaves(params)),
  }


def time_sampler(shapes: Shapes, seconds: float) -> Iterator[dict[str, Any]]:
  """Yield the latency of a window, and the time of a long story.

  Every window is as in `stories/generate.py`: the last K frames are encoded,
  the other tokens decoded with guidance, all turned into pixels, and the K
  frames removed. The vectors of the text are given.

  Args:
    shapes: what is timed.
    seconds: time for all of it.
  """
  began = time.perf_counter()
  maker, compiled = prepare(shapes)
  yield compiled
  generator = maker.sampler.models.generator
  forward = flops.generator(
    generator,
    batch=2,
    text_length=shapes.text_length,
    text_width=generator.text_width or 0,
    learned_text=False,
  ).forward
  random = np.random.default_rng(0)
  context = random.integers(
    0, 256, (1, shapes.context, *shapes.size, 3), np.uint8
  )
  for steps in shapes.decoding:
    call = functools.partial(maker.window, context, steps=steps, seed=2)
    call()
    found = machine.seconds_of(call, least=_WINDOWS, limit=0.0)
    latency = statistics.median(found)
    yield {
      'decoding_steps': steps,
      'window_s': latency,
      'rate': steps * forward / latency,
      'peak_gib': machine.peak_gib(),
    }
  yield from _stories(maker, lambda: seconds - (time.perf_counter() - began))


def _stories(maker: Maker, left: Any) -> Iterator[dict[str, Any]]:
  """Make the whole story with as many decoding steps as there is time for."""
  shapes = maker.shapes
  new = maker.sampler.clip_frames - shapes.context
  windows = 1 + -(-(shapes.frames - maker.sampler.clip_frames) // new)
  for number, steps in enumerate(shapes.decoding):
    # The first may take all the time, and the others share the rest.
    share = left() / (len(shapes.decoding) - number if number else 1)
    began, made, tail, times = time.perf_counter(), 0, None, []
    while made < shapes.frames and time.perf_counter() - began < share - 1.0:
      at = time.perf_counter()
      frames = maker.window(tail, steps=steps, seed=len(times))
      made += frames.shape[1] - (0 if tail is None else tail.shape[1])
      tail = frames[:, -shapes.context :]
      times.append(time.perf_counter() - at)
    if not times:
      return
    median = statistics.median(times)
    yield {
      'story_steps': steps,
      'wanted_frames': shapes.frames,
      'made_frames': min(made, shapes.frames),
      'made_s': time.perf_counter() - began,
      'windows': len(times),
      'window_s': median,
      'of_all_windows_s': windows * median,
    }
