"""Checks of an experiment before anything is opened."""

import dataclasses

from phenaki_jax.data.spec import composition
from phenaki_jax.errors import UserError
from phenaki_jax.runs.experiment import Experiment
from phenaki_jax.training.distillation_config import DistillationConfig
from phenaki_jax.training.generator_config import GENERATOR_SETTINGS
from phenaki_jax.training.writers import check_wandb


def validate(
  experiment: Experiment, *, num_devices: int, process_count: int = 1
) -> None:
  """Check the rules that span several parts of an experiment.

  Args:
    experiment: a resolved experiment.
    num_devices: number of devices of all processes together.
    process_count: number of processes of the run.

  Raises:
    UserError: parts do not fit together; the message names allowed values.
  """
  data, tokenizer = experiment.data, experiment.tokenizer
  check_wandb(experiment.wandb)
  if experiment.kind != 'reader':
    grid = tokenizer.grid(experiment.clip_frames, data.size)
    tokenizer.grid(data.frames, data.size)  # Checks the number of frames.
  if experiment.kind != 'generator' and data.row_multiple != 1:
    raise UserError(
      f'data.row_multiple is {data.row_multiple}, but only the batch of a '
      'generator is packed into rows; leave it at 1'
    )
  midway = experiment.task.midway_frames
  if midway and (experiment.kind != 'generator' or data.buckets):
    raise UserError(
      f'task.midway_frames is {midway}, but windows are cut out of clips of '
      'one shape, for a generator; leave it out, or data.buckets'
    )
  if experiment.reads_text and not (data.clip_captions or data.image_share):
    raise UserError(
      'data.clip_captions is False and data.image_share is 0, so that no '
      'example has a caption; set data.image_share above 0'
    )
  _check_history(experiment)
  if data.buckets:
    _check_buckets(experiment, num_devices, process_count)
    return
  _check_batch(experiment, num_devices, process_count)
  if experiment.kind == 'reader':
    side = experiment.reader.side
    if data.size != (side, side) or side % 8 or not 0 < data.frames <= 9:
      raise UserError(
        f'data.size is {data.size}, reader.side {side} and data.frames '
        f'{data.frames}; a reader needs equal sides that are multiples of 8, '
        'and at most 9 frames'
      )
    return
  if experiment.kind == 'tokenizer':
    return
  config = experiment.diffusion
  is_diffusion = experiment.kind == 'diffusion'
  if is_diffusion:
    _check_diffusion(experiment)
    if config.values == 'residual':
      return  # Nothing is known of a clip but its small copy.
  if experiment.uses_tokenizer and is_diffusion:
    if any(side % config.divisor for side in grid[1:]):
      raise UserError(
        f'the latents of a frame are {grid[1]} by {grid[2]}, and '
        f'{len(config.widths)} diffusion.widths with diffusion.patch='
        f'{config.patch} need multiples of {config.divisor}; give fewer widths'
      )
  names = (
    ('data.context_frames', data.context_frames),
    ('task.prediction_frames', experiment.task.prediction_frames),
  )
  for name, frames in names:
    if frames >= experiment.clip_frames:
      less = f' less task.midway_frames={midway}' if midway else ''
      raise UserError(
        f'{name} is {frames}, but a clip has data.frames={data.frames}{less}; '
        'the known frames must be fewer, so that some are left to predict'
      )
    if (frames - 1) % tokenizer.tubelet:
      raise UserError(
        f'{name} is {frames}; it must be 1 + k * {tokenizer.tubelet} frames, '
        'so that it ends where a latent frame ends'
      )
  network = experiment.diffusion if is_diffusion else experiment.generator
  experiment.task.check(network, is_cached=bool(data.token_cache))
  _check_distillation(experiment)
  _check_added(experiment)
  if experiment.reads_text and experiment.text.max_length < 2:
    raise UserError(
      f'text.max_length is {experiment.text.max_length}; a caption needs at '
      'least 2 ids, one of them its end'
    )
  if experiment.kind == 'generator':
    assert grid == experiment.generator.grid, 'resolve derives it'


def _check_history(experiment: Experiment) -> None:
  """Check that clips have earlier scenes, whose captions may be read."""
  data = experiment.data
  is_world = all(source.layout == 'storyworld' for source in data.sources)
  for role, share in experiment.task.scene_shares.items():
    if not data.clip_captions:
      raise UserError(
        f'task.{role}_share is {share:g}, but data.clip_captions is False, so '
        'that captions of earlier scenes are not read, by which these are '
        'chosen; leave one of them out'
      )
    if is_world and not data.continuation_share:
      raise UserError(
        f'task.{role}_share is {share:g}, but data.continuation_share is 0, so '
        'that no clip of StoryWorld has an earlier scene; set it above 0'
      )


def _check_added(experiment: Experiment) -> None:
  """Check what is added to a trained model, and trained alone."""
  generator, words = experiment.generator, experiment.text.words
  trained, kind = experiment.task.trained, experiment.kind
  is_diffusion = kind == 'diffusion'
  model = 'diffusion model' if is_diffusion else 'generator'
  network = experiment.diffusion if is_diffusion else generator
  added = {
    'critic': (
      generator.critic != 'none',
      "generator.critic to 'token' or 'self'",
    ),
    'prompt': (network.prompt > 0, f'{kind}.prompt to 32 vectors'),
    'words': (bool(words), 'text.words to the new ones'),
  }
  if is_diffusion:
    added['critic'] = (False, "task.trained to 'words', 'prompt' or 'all'")
  if trained in added and not added[trained][0]:
    raise UserError(
      f'task.trained is {trained!r}, but the {model} has none; set '
      f'{added[trained][1]}'
    )
  if words and generator.text_width == 0:
    raise UserError(
      f'text.words is {", ".join(words)}, but the generator reads no text; '
      'leave text.words out'
    )
  if experiment.start_word and not words:
    raise UserError(
      f'start_word is {experiment.start_word!r}, but there is no new word that '
      'starts from it; set text.words, or leave it out'
    )
  if experiment.start_from or experiment.distillation.teacher:
    return
  if trained in added:
    raise UserError(
      f'task.trained is {trained!r}, which needs a trained {model}: --set '
      'start_from=DIR, its run directory or a bundle'
    )
  if words:
    raise UserError(
      f'text.words is {", ".join(words)}, but words are added to a trained '
      f'{model}: --set start_from=DIR, its run directory or a bundle; a new '
      'one learns the words of its captions'
    )


def _check_distillation(experiment: Experiment) -> None:
  """Check that a student is told nothing that it does not follow."""
  task, critic = experiment.task, experiment.generator.critic
  if not experiment.distillation.teacher:
    if experiment.distillation != DistillationConfig():
      raise UserError(
        'distillation.* is set, but there is no teacher; set '
        'distillation.teacher to a generator (a run directory or a bundle), '
        'or leave distillation.* out'
      )
    return
  if critic != 'none':
    raise UserError(
      f'generator.critic is {critic!r}, but a student learns no critic; leave '
      'it out, and train one for the student'
    )
  if task.depth_weights:
    raise UserError(
      f'task.depth_weights is {task.depth_weights}, but a student follows no '
      'depth; leave it out'
    )
  if task.text_dropout:
    raise UserError(
      f'task.text_dropout is {task.text_dropout}, but a student is sampled '
      'without the empty caption; leave it out, or set it to 0'
    )
  if task.balance != 'tokens':
    raise UserError(
      f'task.balance is {task.balance!r}, but a student weighs every hidden '
      "token alike; leave it out, or set it to 'tokens'"
    )


def _check_diffusion(experiment: Experiment) -> None:
  """Check that every setting of a diffusion model is used."""
  config, task = experiment.diffusion, experiment.task
  enlarges = config.values == 'residual'
  if config.reads_text == enlarges:
    raise UserError(
      f'diffusion.reads_text is {config.reads_text}, but diffusion.values='
      f'{config.values} is made from '
      f'{"small copies" if enlarges else "prompts"} alone; set it to '
      f'{not enlarges}'
    )
  if config.degradation and not enlarges:
    raise UserError(
      f'diffusion.degradation is {config.degradation}, but diffusion.values='
      f'{config.values} has no small copies; leave it at 0'
    )
  if enlarges and any(side % config.enlarge for side in experiment.data.size):
    raise UserError(
      f'data.size is {experiment.data.size}; diffusion.enlarge='
      f'{config.enlarge} must divide both sides'
    )
  ignored = [
    f'task.{field.name}'
    for field in dataclasses.fields(task)
    if (enlarges or field.name in GENERATOR_SETTINGS)
    and getattr(task, field.name) != field.default
  ]
  if enlarges and config.ports.is_used:
    ignored.append('diffusion.ports')
  if enlarges:
    ignored += ['text.words'] if experiment.text.words else []
    ignored += ['start_from'] if experiment.start_from else []
  if ignored:
    raise UserError(
      f'{ignored[0]} has no effect on the diffusion of {config.values}; leave '
      'it out'
    )


def check_tokenizer_dir(experiment: Experiment) -> None:
  """Raise a UserError for a model without the trained tokenizer it needs."""
  if experiment.uses_tokenizer and not experiment.tokenizer_dir:
    raise UserError(
      f'a {experiment.kind} needs a trained tokenizer: --set '
      'tokenizer_dir=DIR, the --workdir of `phenaki train` with a tokenizer '
      'config'
    )


def _check_buckets(
  experiment: Experiment, num_devices: int, process_count: int
) -> None:
  """Check every bucket as a run of its own."""
  generator, tokenizer = experiment.generator, experiment.tokenizer
  if experiment.kind == 'reader':
    raise UserError('a reader has clips of one shape; leave data.buckets out')
  # Evaluations have the batch of the config itself.
  own = dataclasses.replace(experiment.data, buckets=())
  for data in (own, *experiment.data.of_buckets()):
    grid = tokenizer.grid(data.frames, data.size)
    if experiment.kind == 'generator':
      if generator.positions == 'learned' and grid != generator.grid:
        raise UserError(
          'generator.positions=learned has positions of one token grid, but '
          f'data.buckets has {grid} and {generator.grid}; use relative ones'
        )
      over_data, over_fsdp, _ = experiment.mesh.shape(num_devices)
      groups = experiment.train.groups(over_data * over_fsdp)
      made = composition(data, tubelet=tokenizer.tubelet)
      for part, count in made.counts.items():
        if count % groups:
          raise UserError(
            f'a bucket has {count} {part} per step, which cannot be divided '
            f'by {groups}; change its batch_size or data.image_share'
          )
    validate(
      dataclasses.replace(
        experiment,
        data=data,
        generator=dataclasses.replace(generator, grid=grid),
      ),
      num_devices=num_devices,
      process_count=process_count,
    )


def _check_batch(
  experiment: Experiment, num_devices: int, process_count: int
) -> None:
  """Check that the batch divides over devices, micro-batches and processes.

  The parts of a generator's batch are padded, and its rows must divide.
  """
  data = experiment.data
  over_data, over_fsdp, _ = experiment.mesh.shape(num_devices)
  ways = over_data * over_fsdp
  train = experiment.train
  if train.canonical and train.accumulate % ways:
    raise UserError(
      f'train.canonical divides train.accumulate={train.accumulate} '
      f'micro-batches among {ways} devices; set it to a power of two that '
      f'{ways} divides, or use fewer devices'
    )
  groups = train.groups(ways)
  among = f'{ways} devices'
  if train.accumulate > 1:
    among = f'{train.accumulate} micro-batches'
    among += '' if train.canonical else f' of {ways} devices'
  made = composition(data, tubelet=experiment.tokenizer.tubelet)
  if experiment.kind == 'generator':
    rows = made.num_rows(experiment.generator.grid[0])
    if rows % groups:
      raise UserError(
        f'data.batch_size={data.batch_size} with data.image_share='
        f'{data.image_share} is {made.num_clips} clips and {made.num_images} '
        f'images per step, in {rows} rows, which cannot be divided among '
        f'{among}; set data.row_multiple={groups}'
      )
    if ways % process_count:
      raise UserError(
        f'a batch is divided among {ways} devices (mesh axes data and fsdp), '
        f'which {process_count} processes cannot share; make mesh.data * '
        f'mesh.fsdp a multiple of {process_count}'
      )
    return
  for part, count in made.counts.items():
    for divisor, what in (
      (groups, among),
      (process_count, f'{process_count} processes'),
    ):
      if count % divisor:
        raise UserError(
          f'data.batch_size={data.batch_size} with data.image_share='
          f'{data.image_share} is {made.num_clips} clips and '
          f'{made.num_images} images per step; the {count} {part} '
          f'cannot be divided among {what}; make both counts '
          f'multiples of {divisor}'
        )
