"""Plan a run: its arithmetic, memory, duration and data, by formula.

Nothing is allocated or compiled. FLOPs are those of `planning.flops`. The
activations are an estimate; `runs.compile` has the compiler's own number.
"""

import dataclasses
import math
from typing import Any

import jax

from phenaki_jax import rng, sharding
from phenaki_jax.data.mixture import Composition
from phenaki_jax.data.spec import composition
from phenaki_jax.errors import UserError
from phenaki_jax.nn.conditions import Conditions
from phenaki_jax.planning import chips as chips_lib
from phenaki_jax.planning import flops, unet_flops
from phenaki_jax.planning.flops import Flops
from phenaki_jax.runs.assemble import Run, assemble_abstract
from phenaki_jax.runs.experiment import Experiment

_DAY = 86_400


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
  """What a run needs.

  Attributes:
    parameters: number of parameters of each network.
    clips, images, rows: of a step.
    tokens: visual tokens of a step, those of padding included; of a diffusion
      model, positions of its finest stage.
    flops: operations of a step, of each part; without recomputation, the
      discriminator, perceptual networks and the optimizer.
    memory: bytes on each chip; 'activations' is an estimate.
    chip, num_chips, mfu: what the durations are of.
    seconds: of a step.
    days: of all steps.
    rates: examples and bytes that all processes together read in a second.
  """

  parameters: dict[str, int]
  clips: int
  images: int
  rows: int
  tokens: int
  flops: dict[str, int]
  memory: dict[str, int]
  chip: str
  num_chips: int
  mfu: float
  seconds: float
  days: float
  rates: dict[str, float]


def plan(
  experiment: Experiment, *, chip: str, num_chips: int, mfu: float
) -> Plan:
  """Plan a run on a number of chips.

  Args:
    experiment: a resolved experiment of anything but a reader.
    chip: a name of `planning.chips`.
    num_chips: number of chips.
    mfu: share of the peak arithmetic that the steps reach, above 0 to 1.

  Raises:
    UserError: there is no such chip, or the experiment does not fit it.
  """
  if experiment.kind == 'reader':
    raise UserError('a reader trains on one machine; plan another config')
  peak = chips_lib.chip(chip).peak
  mesh = sharding.described_mesh(experiment.mesh, num_chips)
  run = assemble_abstract(experiment, mesh=mesh)
  made = composition(experiment.data, tubelet=experiment.tokenizer.tubelet)
  grid = _grid(experiment, experiment.clip_frames)
  if experiment.kind == 'diffusion':
    side = experiment.diffusion.patch
    grid = (grid[0], grid[1] // side, grid[2] // side)
  rows: int | float = made.num_clips + made.num_images / grid[0]
  if experiment.kind == 'generator':
    rows = made.num_rows(grid[0])
  arithmetic = {
    part: value for part, value in _flops(run, made).items() if value
  }
  seconds = sum(arithmetic.values()) / (num_chips * peak * mfu)
  batch = sum(
    math.prod(leaf.shape) * leaf.dtype.itemsize
    for leaf in jax.tree.leaves(run.batch)
  )
  return Plan(
    parameters={
      name: sum(leaf.size for leaf in jax.tree.leaves(tree))
      for name, tree in _networks(experiment, run.state.params).items()
    },
    clips=made.num_clips,
    images=made.num_images,
    rows=math.ceil(rows),
    tokens=round(rows * math.prod(grid)),
    flops=arithmetic,
    memory=_memory(run, rows * math.prod(grid)),
    chip=chip,
    num_chips=num_chips,
    mfu=mfu,
    seconds=seconds,
    days=experiment.train.steps * seconds / _DAY,
    rates={
      'clips': made.num_clips / seconds,
      'images': made.num_images / seconds,
      'bytes': batch / seconds,
    },
  )


def _grid(experiment: Experiment, frames: int) -> tuple[int, int, int]:
  """Return the grid of the tokens, or of what is denoised, of a clip."""
  data = experiment.data
  if experiment.kind == 'diffusion' and not experiment.uses_tokenizer:
    return (frames, *data.size)
  return experiment.tokenizer.grid(frames, data.size)


def step_flops(run: Run) -> Flops:
  """Return the operations of the trained network in a step of a run."""
  experiment = run.experiment
  made = composition(experiment.data, tubelet=experiment.tokenizer.tubelet)
  if experiment.kind == 'tokenizer':
    data = experiment.data
    # Some tokenizers learn images as still clips.
    latent = experiment.tokenizer.latent_frames_of_image
    still = 1 + (latent - 1) * experiment.tokenizer.tubelet
    clips, images = (
      flops.tokenizer(
        experiment.tokenizer, batch=count, frames=frames, size=data.size
      )
      for count, frames in (
        (made.num_clips, data.frames),
        (made.num_images, still),
      )
    )
    return clips + images
  text = experiment.text
  if experiment.kind == 'diffusion':
    clips, images = (
      unet_flops.unet(
        experiment.diffusion,
        batch=count,
        grid=_grid(experiment, frames),
        text_length=text.max_length,
        text_width=text.width,
        over_time=is_clip,
        learned_text=not text.is_frozen,
      )
      for count, frames, is_clip in (
        (made.num_clips, experiment.data.frames, True),
        (made.num_images, 1, False),
      )
    )
    return clips + images
  config = experiment.generator
  given = config.text_width
  return flops.generator(
    config,
    batch=run.task.layout.num_rows,
    text_length=text.max_length,
    text_width=text.width if given is None else given,
    texts=run.task.layout.text_order.size,
    learned_text=given is None,
    conditions=_conditions(run),
  )


def _conditions(run: Run) -> Conditions | None:
  """Describe what the ports of a generator read of a step."""
  if not run.experiment.generator.ports.is_used:
    return None
  rows = jax.eval_shape(run.task.rows, run.frozen, run.batch, rng.described())
  return rows.conditions


def _flops(run: Run, made: Composition) -> dict[str, int]:
  """Return the operations of each part of a step."""
  experiment = run.experiment
  if experiment.kind == 'tokenizer':
    return {'tokenizer': step_flops(run).training}
  is_diffusion = experiment.kind == 'diffusion'
  name = 'U-Net' if is_diffusion else 'masked transformer'
  parts = {name: step_flops(run).training}
  network = experiment.diffusion if is_diffusion else experiment.generator
  slots, task = network.ports.memory_slots, experiment.task
  told = slots if task.history_share else 0
  if experiment.reads_text:
    # The captions in the memory of a clip are encoded, too.
    texts = made.num_clips * (1 + told) + made.num_images
    text = flops.text_encoder(experiment.text, batch=texts)
    is_given = not is_diffusion and experiment.generator.text_width is not None
    if experiment.text.encodes_in_step:
      parts['frozen text encoder'] = text.forward
    elif not (experiment.text.is_frozen or is_given):
      parts['text encoder'] = text.training
  if experiment.uses_tokenizer and not experiment.data.token_cache:
    size = experiment.data.size
    # So are the images there.
    of_clip = slots * bool(task.scene_shares) + len(task.frame_shares)
    images = made.num_images + made.num_clips * of_clip
    for count, frames in (
      (made.num_clips, experiment.data.frames),
      (images, 1),
    ):
      name = 'frozen tokenizer'
      found = flops.encoder(
        experiment.tokenizer,
        batch=count,
        frames=frames,
        size=size,
        rounded=not is_diffusion,
      )
      parts[name] = parts.get(name, 0) + found.forward
  return parts


def _memory(run: Run, tokens: int | float) -> dict[str, int]:
  """Return the bytes of one chip, in a step of this number of tokens."""
  state, train = run.state, run.experiment.train
  if train.canonical:
    # Every device holds everything, and the gradients of its micro-batches.
    own = train.accumulate // sharding.batch_ways(run.mesh)
    state, frozen, batch = (
      jax.tree.map(_whole, tree) for tree in (state, run.frozen, run.batch)
    )
    gradients = own * shard_bytes(state.params)
    of_step = tokens / train.accumulate
  else:
    frozen, batch = run.frozen, run.batch
    # With micro-batches, their sum and that of the last one.
    gradients = (1 + (train.accumulate > 1)) * shard_bytes(state.params)
    of_step = tokens / train.groups(sharding.batch_ways(run.mesh))
  return {
    'parameters': shard_bytes(state.params),
    'average': shard_bytes(state.ema),
    'optimizer': shard_bytes(state.opt_state),
    'gradients': gradients,
    'frozen networks': shard_bytes(frozen),
    'batch': shard_bytes(batch),
    'activations': _activations(run, of_step),
  }


def _whole(leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
  """Describe an array that every device holds completely."""
  place = sharding.replicated(leaf.sharding.mesh)
  return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place)


def _activations(run: Run, tokens: int | float) -> int:
  """Estimate what the backward pass keeps for the tokens of one chip."""
  experiment = run.experiment
  if experiment.kind == 'diffusion':
    unet_config = experiment.diffusion
    *_, rows, columns = _grid(experiment, 1)
    places = rows * columns // unet_config.patch**2
    numbers = tokens / places * unet_flops.kept(unet_config, (rows, columns))
    return round(numbers * (2 if unet_config.dtype == 'bfloat16' else 4))
  config: Any = experiment.generator
  layers, outputs = config.num_layers, 4 * config.codebook_size
  if experiment.kind == 'tokenizer':
    config = experiment.tokenizer
    layers = 2 * (config.spatial_layers + config.temporal_layers)
    outputs = 0
  ways = run.mesh.shape['tensor']
  width, hidden = config.width, config.mlp_dim / ways
  # The input of a block; the results of its products; and those of its norms,
  # its activation function and its residual sums.
  kept = {
    'full': width,
    'matmuls': 8 * width + hidden,
    'none': 20 * width + 4 * hidden,
  }
  itemsize = 2 if config.dtype == 'bfloat16' else 4
  # The logits, their softmax and its gradient exist at the same time.
  block = 20 * width + 4 * hidden
  each = layers * kept[config.remat] + block
  return round(tokens * (itemsize * each + 3 * outputs / ways))


def shard_bytes(tree: Any) -> int:
  """Return the bytes of a described tree on one device."""
  return sum(
    math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
    for leaf in jax.tree.leaves(tree)
  )


def _networks(experiment: Experiment, params: Any) -> dict[str, Any]:
  """Group the parameters of a tokenizer's own parts under one name."""
  if experiment.kind in ('generator', 'diffusion'):
    return dict(params)
  opponents = {'discriminator'} & set(params)
  own = {name: tree for name, tree in params.items() if name not in opponents}
  return {'tokenizer': own} | {name: params[name] for name in opponents}


def to_text(plan: Plan) -> str:
  """Return the lines that a user reads."""
  parameters = ', '.join(
    f'{name} {count / 1e6:,.1f}M' for name, count in plan.parameters.items()
  )
  memory = ', '.join(
    f'{name} {size / 2**30:.2f}' for name, size in plan.memory.items()
  )
  arithmetic = ', '.join(
    f'{name} {value / 1e12:,.4g}' for name, value in plan.flops.items()
  )
  limit = chips_lib.chip(plan.chip).memory / 2**30
  total = sum(plan.memory.values()) / 2**30
  return '\n'.join(
    [
      f'parameters        {parameters}',
      f'batch             {plan.clips} clips, {plan.images} images; '
      f'{plan.rows} rows, {plan.tokens:,} tokens',
      f'TFLOP per step    {arithmetic}',
      f'GiB per chip      {memory}: {total:.2f} of {limit:.2f} (estimate)',
      f'duration          {plan.seconds:.4g} s per step, {plan.days:.3g} days '
      f'on {plan.num_chips} {plan.chip} at {plan.mfu:.0%} MFU',
      f'data needed       {plan.rates["clips"]:,.1f} clips/s, '
      f'{plan.rates["images"]:,.1f} images/s, '
      f'{plan.rates["bytes"] / 1e6:,.1f} MB/s',
    ]
  )
