"""Compile a run for a pod of TPUs that need not be there.

The programs are those that train and sample: the same functions, shardings and
donation, with described devices and arrays.
"""

import dataclasses
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal

import jax
import jax.numpy as jnp

from phenaki_jax import config as config_lib
from phenaki_jax import rng, sharding
from phenaki_jax.errors import UserError
from phenaki_jax.planning import chips as chips_lib
from phenaki_jax.planning import program
from phenaki_jax.planning.program import Collective, Memory
from phenaki_jax.runs.assemble import Run, assemble_abstract
from phenaki_jax.runs.diffusion import models_of
from phenaki_jax.runs.experiment import Experiment
from phenaki_jax.runs.plan import step_flops
from phenaki_jax.sampling.config import DecodeConfig
from phenaki_jax.sampling.diffusion_sampler import denoise
from phenaki_jax.sampling.sampler import Guided, Models, uncover_tokens
from phenaki_jax.text import config as text_config
from phenaki_jax.text.config import TextConfig
from phenaki_jax.text.t5 import T5Encoder

Program = Literal['step', 'sampler']
PROGRAMS: Mapping[str, tuple[Program, ...]] = MappingProxyType(
  {'step': ('step',), 'sampler': ('sampler',), 'both': ('step', 'sampler')}
)

# Share of the memory of a chip that is left for what the compiler cannot know.
ROOM = 0.1
_NEEDED = re.compile(r'Used ([\d.]+)([KMGT]) of')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
  """A program compiled for a pod.

  Attributes:
    program: the training step, or the sampler with one prompt per chip.
    topology: the pod.
    num_chips: its chips.
    mesh: devices on each mesh axis.
    remat: what the backward pass recomputes.
    fits: whether at least 10% of the memory of a chip stay free.
    needed: bytes of a chip that it needs.
    available: bytes of a chip that a program may use.
    memory: what the compiler says; None if it refused the program.
    donated: share of the results, which are the new state and a few metrics,
      that reuse the memory of the state; None for a sampler, which has none.
    flops: operations of the network on each chip in a step, by formula; without
      recomputation. None for a sampler.
    collectives: communication in a step, by kind; None if the compiler refused
      the program, or cannot print it, as it does for some.
    compiler_flags: those of `planning/flags`, by name.
    seconds: time to compile.
  """

  program: Program
  topology: str
  num_chips: int
  mesh: dict[str, int]
  remat: str
  fits: bool
  needed: float
  available: float
  memory: Memory | None
  donated: float | None
  flops: float | None
  collectives: dict[str, Collective] | None
  compiler_flags: dict[str, str]
  seconds: float


def compile_run(
  experiment: Experiment,
  *,
  topology: str,
  programs: Sequence[Program] = ('step',),
  remat: str = '',
) -> Iterator[Report]:
  """Compile the programs of a run for a pod.

  Args:
    experiment: a resolved experiment.
    topology: such as 'v4:4x4x8'.
    programs: which to compile; only a model that reads text has a sampler.
    remat: what the backward pass recomputes; '' for the config's, 'auto' for
      the least that fits.

  Yields:
    A report on each program, as soon as it is compiled; with 'auto' also on the
    policies that do not fit.

  Raises:
    UserError: no such topology, no libtpu, or a run that does not divide.
  """
  if 'sampler' in programs and not experiment.reads_text:
    is_diffusion = experiment.kind == 'diffusion'
    what = 'model that enlarges clips' if is_diffusion else experiment.kind
    raise UserError(f'a {what} has no sampler; compile its step')
  if experiment.kind == 'reader':
    raise UserError('a reader trains on one machine; compile another config')
  devices = chips_lib.described_devices(topology)
  mesh = sharding.make_mesh(experiment.mesh, devices=devices)
  for name in programs:
    policies = [remat or _config(experiment).remat]
    if remat == 'auto':
      policies = ['none', 'matmuls', 'full']
    for policy in policies if name == 'step' else policies[:1]:
      chosen = experiment if policy == 'auto' else _with(experiment, policy)
      run = assemble_abstract(chosen, mesh=mesh)
      report = _report(run, name, topology)
      yield report
      if report.fits:
        break


def _config(experiment: Experiment) -> Any:
  """Return the settings of the network that the run trains."""
  return getattr(experiment, experiment.kind)


def _with(experiment: Experiment, remat: str) -> Experiment:
  config = dataclasses.replace(_config(experiment), remat=remat)
  return dataclasses.replace(experiment, **{experiment.kind: config})


def _report(run: Run, name: Program, topology: str) -> Report:
  chip, num_chips = chips_lib.split_topology(topology)
  flags = dict(chips_lib.compiler_flags(chip))
  is_step = name == 'step'
  began = time.monotonic()
  lowered = run.lower() if is_step else lower_sampler(run)
  memory, donated, found = None, None, None
  try:
    compiled = lowered.compile(compiler_options={**flags})
  except jax.errors.JaxRuntimeError as error:
    needed = _needed(str(error))
    if needed is None:
      raise
  else:
    memory = program.memory(compiled)
    needed = float(memory.peak)
    found = _collectives(compiled)
    donated = memory.aliased / memory.results if is_step else None
  available = chips_lib.chip(chip).memory
  return Report(
    program=name,
    topology=topology,
    num_chips=num_chips,
    mesh=dict(run.mesh.shape),
    remat=_config(run.experiment).remat,
    fits=needed <= (1 - ROOM) * available,
    needed=needed,
    available=available,
    memory=memory,
    donated=donated,
    flops=step_flops(run).training / num_chips if is_step else None,
    collectives=found,
    compiler_flags=flags,
    seconds=time.monotonic() - began,
  )


def _collectives(compiled: Any) -> dict[str, Collective] | None:
  try:
    return program.collectives(compiled.as_text())
  except jax.errors.JaxRuntimeError:
    return None


def _needed(message: str) -> float | None:
  """Return the bytes of a program that the compiler refused for its memory."""
  found = _NEEDED.search(message)
  if not found:
    return None
  return float(found[1]) * 1024.0 ** (1 + 'KMGT'.index(found[2]))


def lower_sampler(run: Run) -> jax.stages.Lowered:
  """Lower the decoding of one clip per device that divides a batch.

  A frozen text encoder is part of it. If the run does not name one, it is that
  of T5 whose width the generator reads.
  """
  experiment, mesh = run.experiment, run.mesh
  if experiment.kind == 'diffusion':
    return _lower_denoising(run)
  text = experiment.text
  if experiment.generator.text_width and not text.is_frozen:
    text = _t5(experiment.generator.text_width, text.max_length)
  models = Models(
    tokenizer=experiment.tokenizer, generator=experiment.generator, text=text
  )
  params = dict(run.state.params)
  batch = sharding.batch_ways(mesh)
  ids = (batch, *experiment.generator.grid)
  place = sharding.batch_sharding(mesh)

  def described(shape: tuple[int, ...], dtype: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, dtype, sharding=place)

  texts = described((batch, text.max_length), jnp.int32)
  with jax.set_mesh(mesh):
    if 'text' not in params and experiment.generator.text_width:
      params['text'] = _encoder(text, texts, mesh)
    sampling = experiment.sampling
    guided = Guided.by(sampling)
    return uncover_tokens.lower(
      models,
      DecodeConfig(
        steps=sampling.steps, schedule=sampling.schedule, order=sampling.order
      ),
      params,
      texts,
      described(ids, jnp.int32),
      described(ids, jnp.bool_),
      described((batch,), rng.described().dtype),
      described((batch, 3), jnp.float32),
      guided=guided,
      away=texts if guided and guided.is_negative else None,
      time_guidance=described((batch,), jnp.float32)
      if guided and guided.is_temporal
      else None,
    )


def _lower_denoising(run: Run) -> jax.stages.Lowered:
  """Lower the DDIM steps of one clip per device, without the tokenizer."""
  experiment, mesh = run.experiment, run.mesh
  models = models_of(experiment)
  batch = sharding.batch_ways(mesh)
  values = (batch, *models.grid(models.frames, experiment.data.size))
  place = sharding.batch_sharding(mesh)

  def described(shape: tuple[int, ...], dtype: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, dtype, sharding=place)

  params = dict(run.state.params)
  texts = described((batch, experiment.text.max_length), jnp.int32)
  guided = Guided.by(experiment.sampling)
  with jax.set_mesh(mesh):
    # A frozen encoder is no part of the state.
    params.setdefault('text', _encoder(experiment.text, texts, mesh))
    return denoise.lower(
      models,
      experiment.sampling.steps,
      params,
      texts,
      described((*values, experiment.diffusion.channels), jnp.float32),
      described(values, jnp.bool_),
      described((batch,), rng.described().dtype),
      described((batch, 2), jnp.float32),
      guided=guided,
      away=texts if guided and guided.is_negative else None,
    )


def _encoder(config: TextConfig, texts: Any, mesh: Any) -> Any:
  """Describe the parameters of a text encoder."""
  boxed = jax.eval_shape(T5Encoder(config).init, rng.described(), texts)
  return sharding.describe(boxed['params'], mesh)


def _t5(width: int, max_length: int) -> TextConfig:
  """Return the settings of the T5 encoder of a width."""
  for size in text_config.SIZES.values():
    if size['width'] == width:
      values = {**size, 'max_length': max_length, 'source': 'described'}
      return config_lib.build(TextConfig, values)
  raise UserError(
    f'generator.text_width is {width}, which no T5 encoder has; name the '
    'encoder with --set text.encoder=PATH'
  )


def to_text(report: Report) -> str:
  """Return the lines that a user reads."""
  gib = 2.0**30
  room = 1 - report.needed / report.available
  lines = [
    f'{report.program} for {report.topology}, {report.num_chips} chips, remat '
    f'{report.remat}: {"fits" if report.fits else "does not fit"}',
    f'  memory per chip   {report.needed / gib:.2f} of '
    f'{report.available / gib:.2f} GiB, {room:.0%} free',
  ]
  if report.memory:
    lines[-1] += (
      f' (arguments {report.memory.arguments / gib:.2f}, temporary '
      f'{report.memory.temporary / gib:.2f})'
    )
  if report.donated is not None:
    lines.append(f'  state donated     {report.donated:.1%}')
  if report.flops is not None:
    lines.append(
      f'  arithmetic        {report.flops / 1e12:.4g} TFLOP per chip'
    )
  if report.memory and report.collectives is None:
    lines.append('  collectives       the compiler cannot print this program')
  for kind, each in (report.collectives or {}).items():
    lines.append(
      f'  {kind:<18}{each.count}, {each.bytes / gib:.3f} GiB per chip'
    )
  lines.append(f'  compiled in       {report.seconds:.0f} s')
  return '\n'.join(lines)
