"""Super-resolution with a trained model: of films, and measured."""

import dataclasses
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from pydantic import PositiveInt

from phenaki_jax import progress, rng
from phenaki_jax.config import Seed, Share, validated
from phenaki_jax.diffusion.config import DiffusionConfig
from phenaki_jax.diffusion.enlargement import enlarge, reduce
from phenaki_jax.errors import UserError
from phenaki_jax.evaluation.measure import Measure
from phenaki_jax.evaluation.reconstruction import psnr
from phenaki_jax.evaluation.report import Report
from phenaki_jax.pixels import normalise, to_uint8
from phenaki_jax.runs import experiment as experiment_lib
from phenaki_jax.runs.diffusion import Trained, is_diffusion, read_trained
from phenaki_jax.runs.edit import write_edit
from phenaki_jax.runs.edit_options import edit_paths
from phenaki_jax.runs.footage import read_own_rate
from phenaki_jax.runs.pipelines import open_pipeline
from phenaki_jax.sampling.enlarger import Enlarger, enlarge_clips

_STEPS = 1


@validated
class Enlargement:
  """What to enlarge; see `phenaki edit --help`.

  Attributes:
    inputs: path of an image, a clip or an .npy of frames.
    fps: frames per second of the input. None: those of the clip, and of an .npy
      those of the training data.
    seed: 0 to 2**32 - 1.
    steps: number of DDIM steps.
    degradation: see `Enlarger`.
  """

  inputs: tuple[str, ...]
  fps: float | None = None
  seed: Seed = 0
  steps: PositiveInt = _STEPS
  degradation: Share = 0.0


def is_enlarger(folder: epath.PathLike | None) -> bool:
  """Return whether a folder is the run or the bundle of super-resolution."""
  if folder is None or not is_diffusion(folder):
    return False
  return experiment_lib.read(folder).diffusion.values == 'residual'


def _enlarger(trained: Trained) -> Enlarger:
  return Enlarger(
    config=trained.experiment.diffusion,
    params=trained.params,
    clip_frames=trained.experiment.data.frames,
  )


def enlarge_film(
  folder: epath.PathLike | None,
  request: Enlargement,
  out: str | os.PathLike[str],
  **origin: Any,
) -> list[pathlib.Path]:
  """Enlarge an image or a clip, and write the film and its frames.

  Args:
    folder: run directory or bundle of super-resolution.
    request: what to enlarge.
    out: the film, which ends in .mp4.
    **origin: see `write_edit`.

  Raises:
    UserError: the model is of another kind, or the input does not fit it.
  """
  paths = edit_paths(out, *request.inputs)
  if folder is None or not is_enlarger(folder):
    raise UserError(
      f'--model is {folder}; enlarge needs the --workdir of a run of '
      'configs/diffusion/super_resolution.py, or its bundle'
    )
  if len(request.inputs) > 1:
    raise UserError(f'enlarge takes one input, not {len(request.inputs)}')
  trained = read_trained(folder)
  # The network has no size of its own, and no frame rate.
  given = read_own_rate(
    request.inputs[0], size=None, fps=trained.experiment.data.fps
  )
  made = _enlarger(trained)(
    given.frames,
    seed=request.seed,
    steps=request.steps,
    degradation=request.degradation,
  )
  provenance = {
    'model': {'name': trained.name, 'fingerprint': trained.fingerprint},
    'edit': {'action': 'enlarge', **dataclasses.asdict(request)},
  }
  fps = request.fps or given.fps
  write_edit(paths, made, fps=fps, provenance=provenance, **origin)
  return paths


def predict_of(config: DiffusionConfig) -> Callable[[Any, Any, Any], Any]:
  """Return a function that maps (state, pixels, lengths) to pixels.

  It enlarges the small copies of the given frames.
  """

  def predict(state: Any, pixels: Any, lengths: Any) -> Any:
    del lengths
    return enlarge_clips(
      config,
      _STEPS,
      state.ema,
      _small(config.enlarge, pixels),
      jax.random.split(rng.root(0), pixels.shape[0]),
      jnp.float32(0.0),
      is_exact=True,
    )

  return predict


def _small(factor: int, pixels: Any) -> Any:
  return to_uint8(reduce(normalise(jnp.asarray(pixels)), factor))


def steps_of(settings: Mapping[str, Any]) -> int:
  """Return the number of DDIM steps of an evaluation.

  Raises:
    UserError: it is not positive.
  """
  asked = settings.get('steps', _STEPS)
  return Enlargement(inputs=(), steps=asked).steps


def report_enlargement(
  request: Any, folder: epath.PathLike, step: int | None = None
) -> Report:
  """Compare enlarged held-out clips with the originals, and with bicubic ones.

  Args:
    request: a `runs.request.Request`: its reconstructions (32 by default),
      manifest, seed and the steps among its settings are read.
    folder: run directory of super-resolution.
    step: of the checkpoint; None for the newest intact one.

  Returns:
    The PSNR of both in dB, and the mean gain with its standard error over
    clips.
  """
  clips = 32 if request.reconstructions is None else request.reconstructions
  seed, steps = request.seed, steps_of(request.settings)
  trained = read_trained(folder, step=step)
  experiment, make = trained.experiment, _enlarger(trained)
  factor = experiment.diffusion.enlarge
  data = experiment.data.heldout(request.manifest)
  found: dict[str, list[float]] = {'model': [], 'bicubic': []}
  pipeline = open_pipeline(experiment, data, None)
  with progress.bar(total=clips, unit='clip', desc='enlarged') as bar:
    for number in range(clips):
      part = pipeline.batch(number)['clips']
      pixels = part['pixels'][0, : part['num_frames'][0]]
      small = _small(factor, pixels)
      large = to_uint8(enlarge(normalise(small), factor))
      made = make(np.asarray(small), seed=seed, steps=steps)
      for name, frames in (('model', made), ('bicubic', large)):
        values = psnr(jnp.asarray(pixels), jnp.asarray(frames))
        found[name].append(float(values.mean()))
      bar.update(1)
  gains = np.subtract(found['model'], found['bicubic'])
  protocol = {
    'frames': data.frames,
    'size': list(data.size),
    'enlarge': factor,
    'samples': {'generated': clips, 'real': clips},
    'steps': steps,
    'seed': seed,
  }
  error = float(gains.std(ddof=1) / np.sqrt(clips)) if clips > 1 else np.nan
  return Report(
    protocol={'model': trained.name, 'name': 'super-resolution'},
    measures=(
      *(
        Measure(
          name=f'psnr@{name}', value=float(np.mean(values)), protocol=protocol
        )
        for name, values in found.items()
      ),
      Measure(
        name='psnr gain over bicubic',
        value=float(gains.mean()),
        error=error,
        protocol=protocol,
      ),
    ),
  )
