"""The checks of every unit of a sweep before the first one starts."""

import contextlib
import dataclasses
import subprocess
import sys

import jax
import numpy as np
from etils import epath

from phenaki_jax.data.config import DataConfig
from phenaki_jax.data.pipeline import Pipeline
from phenaki_jax.errors import UserError
from phenaki_jax.export.bundle import is_bundle
from phenaki_jax.runs import worlds
from phenaki_jax.runs.ablate_sweep import Sweep
from phenaki_jax.runs.ablate_unit import Unit
from phenaki_jax.runs.networks import open_features
from phenaki_jax.runs.request import Request
from phenaki_jax.runs.validation import check_tokenizer_dir, validate
from phenaki_jax.training import checkpoint_files


def check_sweep(sweep: Sweep, *, num_devices: int) -> None:
  """Check that every unit can be trained and evaluated.

  Args:
    sweep: with resolved configs.
    num_devices: devices of the process that trains a unit.

  Raises:
    UserError: a batch cannot be composed, data or a tokenizer are missing, or
      an evaluation is not possible; the message names the unit.
  """
  opened: set[tuple[DataConfig, int]] = set()
  for unit in sweep.units:
    try:
      _check_unit(unit, num_devices, opened)
    except UserError as error:
      raise UserError(f'unit {unit.label}: {error}') from error
  # Last, because it takes seconds.
  if any(unit.evaluation.get('frechet') for unit in sweep.units):
    open_features('open_nsfw')


def count_devices() -> int:
  """Return the number of devices that a process of a unit has.

  Unless JAX is set to use CPUs, another process counts them, and this one then
  uses CPUs alone: a process that opens an accelerator keeps it from the units.

  Raises:
    UserError: JAX finds no device.
  """
  if jax.config.values['jax_platforms'] == 'cpu':
    return jax.device_count()
  count = count_elsewhere()
  jax.config.update('jax_platforms', 'cpu')
  return count


def count_elsewhere() -> int:
  """Return the number of devices that another process finds."""
  code = 'import jax; print(jax.device_count())'
  done = subprocess.run(
    [sys.executable, '-c', code], capture_output=True, text=True, check=False
  )
  if done.returncode:
    reason = (done.stderr.strip().splitlines() or ['no output'])[-1]
    raise UserError(f'JAX finds no device: {reason}')
  return int(done.stdout.split()[-1])


def _check_unit(
  unit: Unit, num_devices: int, opened: set[tuple[DataConfig, int]]
) -> None:
  """Check a unit; `opened` are the data that were opened for others."""
  experiment = unit.experiment
  check_tokenizer_dir(experiment)
  tokenizer = epath.Path(experiment.tokenizer_dir)
  folder = tokenizer / checkpoint_files.FOLDER
  is_run = folder.is_dir() and checkpoint_files.finished(folder)
  if not is_run and not is_bundle(tokenizer):
    raise UserError(
      f'tokenizer_dir={experiment.tokenizer_dir} has no checkpoint yet; train '
      'the tokenizer first, with `phenaki train`'
    )
  validate(experiment, num_devices=num_devices)
  made, share = unit.composition, experiment.data.image_share
  if 0 < share < 1 and not (made.num_images and made.num_clips):
    raise UserError(
      f'data.image_share={share:g} of data.batch_size='
      f'{experiment.data.batch_size} is {made.num_clips} clips and '
      f'{made.num_images} images; use a larger batch, or a share of 0 or 1'
    )
  data = dataclasses.replace(experiment.data, token_cache='', num_threads=0)
  request = Request(**unit.evaluation)
  parts = [data]
  if request.frechet or request.reconstructions:
    parts.append(data.heldout())
  tubelet = experiment.tokenizer.tubelet
  for part in parts:
    if (part, tubelet) not in opened:
      _open(part, tubelet)
      opened.add((part, tubelet))
  if request.tells_stories:
    _check_world(unit, request)


def _open(data: DataConfig, tubelet: int) -> None:
  """Open data: all of its manifests exist and have examples."""
  with contextlib.closing(
    Pipeline(
      data,
      lambda caption: np.ones(1, np.int32),
      tubelet=tubelet,
      text_length=1,
    )
  ):
    pass


def _check_world(unit: Unit, request: Request) -> None:
  """Check that the world of the prompts can be opened."""
  sources = unit.experiment.data.sources
  layouts = (s.subset for s in sources if s.layout == 'storyworld')
  subset = request.subset or next(layouts, '')
  name = request.world or ('storyworld' if subset else '')
  if not name:
    raise UserError(
      'the data are no StoryWorld; name the world of the prompts with '
      f"'evaluate.world': one of {', '.join(worlds.NAMES)}"
    )
  world = worlds.open_world(
    name, subset=subset, reader=request.reader, fps=unit.experiment.data.fps
  )
  if request.image_only and not world.image_only:
    raise UserError(
      f'this part of {world.name} has no image-only concepts; use another '
      'subset, or leave evaluate.image_only out'
    )
