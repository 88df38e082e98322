"""Open a trained diffusion model, a run or a bundle, and sample from one."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from etils import epath

from phenaki_jax import config as config_lib
from phenaki_jax.errors import UserError
from phenaki_jax.export.bundle import find_model, is_bundle, load_bundle
from phenaki_jax.files.digests import digest_json
from phenaki_jax.runs import experiment as experiment_lib
from phenaki_jax.runs import open as open_lib
from phenaki_jax.runs.experiment import VOCABULARY_FILE, Experiment
from phenaki_jax.runs.frozen_text import load_text
from phenaki_jax.runs.model import Model
from phenaki_jax.runs.starting import (
  differing_settings,
  is_started,
  read_words,
)
from phenaki_jax.runs.trained_tokenizer import read_tokenizer
from phenaki_jax.sampling.diffusion_sampler import (
  DiffusionModels,
  DiffusionSampler,
)
from phenaki_jax.sampling.still_first import StillFirst
from phenaki_jax.stories.story import ModelDefaults
from phenaki_jax.text.config import PLACES
from phenaki_jax.text.vocab import SentencePieceVocabulary
from phenaki_jax.training import checkpoints
from phenaki_jax.training.checkpoint_files import FOLDER as CHECKPOINTS_FOLDER
from phenaki_jax.training.checkpoint_manifest import digest_tree
from phenaki_jax.training.compatibility import FROZEN
from phenaki_jax.training.diffusion_task import DiffusionTask
from phenaki_jax.training.tokenizer_task import TokenizerTask

if TYPE_CHECKING:
  from phenaki_jax.runs.assemble import Run


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trained:
  """A checkpoint of a diffusion run, or its bundle.

  Attributes:
    experiment: of the run.
    name: of the model, for people.
    fingerprint: identifies its parameters and its config.
    params: averaged parameters of the networks; see `Denoiser`.
    identity: fingerprints of what it was trained on; None for a bundle, which
      holds all of it.
    tokenizer_params: of a bundle of latents, those of the tokenizer.
    license: of a bundle that has one.
  """

  experiment: Experiment
  name: str
  fingerprint: str
  params: Any
  identity: Any = None
  tokenizer_params: Any = None
  license: str = ''


def is_diffusion(folder: epath.PathLike | None) -> bool:
  """Return whether a folder is the run or the bundle of a diffusion model."""
  if folder is None:
    return False
  folder = epath.Path(folder)
  if is_bundle(folder):
    text = (folder / experiment_lib.CONFIG_FILE).read_text()
    return config_lib.parse_json(text).get('kind') == 'diffusion'
  if not (folder / CHECKPOINTS_FOLDER).is_dir():
    return False
  return experiment_lib.read(folder).kind == 'diffusion'


def read_trained(folder: epath.PathLike, *, step: int | None = None) -> Trained:
  """Read a bundle, or a checkpoint of a diffusion run.

  Args:
    folder: the bundle or the run directory.
    step: of the checkpoint; None is the newest intact one.

  Raises:
    UserError: the bundle is damaged, or its arrays do not fit its config.
  """
  folder = epath.Path(folder)
  if is_bundle(folder):
    return _read_bundle(folder)
  experiment = experiment_lib.read(folder)
  snapshot = checkpoints.load_params(folder, step=step)
  return Trained(
    experiment=experiment,
    name=f'{experiment.name or folder.name} at step {snapshot.step}',
    fingerprint=digest_json(
      [config_lib.to_dict(experiment.diffusion), digest_tree(snapshot.params)]
    ),
    params=jax.tree.map(jax.numpy.asarray, snapshot.params),
    identity=snapshot.identity,
  )


def bundle_config(experiment: Experiment, name: str) -> dict[str, Any]:
  """Return what the `config.json` of a bundle holds of an experiment."""
  values = config_lib.to_dict(open_lib.without_caches(experiment))
  parts = ('kind', 'data', 'tokenizer', 'text', 'diffusion', 'sampling')
  return {'name': name, **{part: values[part] for part in parts}}


def _read_bundle(folder: epath.Path) -> Trained:
  content = load_bundle(folder)
  experiment = config_lib.build(Experiment, dict(content.config))
  own: Any = dict.fromkeys((*PLACES, 'digest'), '')
  task = DiffusionTask(
    config=experiment.diffusion,
    # A bundle has the parameters of a frozen text encoder like others.
    text=dataclasses.replace(experiment.text, **own)
    if 'text' in content.generator_params
    else experiment.text,
    tokenizer=experiment.tokenizer,
  )
  open_lib.check_arrays(folder, 'model', task, content.generator_params)
  tokenizer = None
  if experiment.uses_tokenizer:
    of_tokenizer = TokenizerTask(config=experiment.tokenizer)
    tokenizer = content.tokenizer_params
    open_lib.check_arrays(folder, 'tokenizer', of_tokenizer, tokenizer)
  return Trained(
    experiment=experiment,
    name=experiment.name or folder.name,
    fingerprint=content.fingerprint,
    params=jax.tree.map(jax.numpy.asarray, content.generator_params),
    tokenizer_params=tokenizer,
    license=content.license,
  )


def load_any(
  path: epath.PathLike | None,
  *,
  tokenizer: epath.PathLike | None = None,
  encoder: epath.PathLike | None = None,
) -> Model:
  """Open a model that tells stories: a generator, or a diffusion model.

  Args:
    path: as for `runs.open.load`, or the run directory or the bundle of a
      diffusion model.
    tokenizer: run directory or bundle of a tokenizer that was moved.
    encoder: checkpoint of a frozen text encoder that was moved.

  Raises:
    UserError: see `runs.open.load`, or the model reads no prompts, or its
      tokenizer has changed since.
  """
  folder = None if path is None else epath.Path(path).expanduser()
  if folder is None or not is_diffusion(folder):
    return open_lib.load(path, tokenizer=tokenizer, encoder=encoder)
  trained = read_trained(folder)
  experiment = trained.experiment
  if not experiment.reads_text:
    raise UserError(
      f'{folder} reads no prompts; it enlarges clips: phenaki edit enlarge '
      f'CLIP --model {folder}'
    )
  frozen, params = {}, dict(trained.params)
  if trained.identity is None and tokenizer is not None:
    raise UserError(
      f'the bundle {folder} holds its own tokenizer; leave --tokenizer out'
    )
  if experiment.uses_tokenizer:
    frozen['tokenizer'] = trained.tokenizer_params
    if trained.identity is not None:
      frozen['tokenizer'] = tokenizer_params(experiment, folder, tokenizer)
  if experiment.text.is_frozen:
    if encoder is not None or 'text' not in params:
      params['text'] = load_text(experiment.text, encoder)[0]
    if experiment.text.encodes_in_step:
      frozen['text'] = params['text']
  is_known = trained.identity is not None
  if is_known and digest_tree(frozen) != trained.identity.get(FROZEN):
    raise UserError(
      f'{folder} was trained with another tokenizer or text encoder than the '
      'one that is there now; restore that of the time, or train it again'
    )
  vocabulary = SentencePieceVocabulary.from_file(folder / VOCABULARY_FILE)
  data = experiment.data
  sampler: Any = DiffusionSampler(
    models=models_of(experiment),
    params=params,
    tokenizer_params=jax.tree.map(jax.numpy.asarray, frozen.get('tokenizer')),
    vocabulary=vocabulary,
    fps=data.fps,
  )
  if not data.clip_captions:
    sampler = StillFirst(sampler=sampler)
  subsets = (s.subset for s in data.sources if s.layout == 'storyworld')
  return Model(
    name=trained.name,
    fingerprint=trained.fingerprint,
    sampler=sampler,
    defaults=ModelDefaults(
      size=data.size,
      fps=data.fps,
      context_frames=data.context_frames,
      clip_frames=data.frames,
      tubelet=experiment.tokenizer.tubelet,
      settings=experiment.sampling,
    ),
    data=data,
    subset=next(subsets, ''),
    words=read_words(folder),
    license=trained.license,
  )


def tokenizer_params(
  experiment: Experiment,
  folder: epath.PathLike,
  moved: epath.PathLike | None = None,
) -> Any:
  """Read the parameters of the tokenizer of a run.

  Args:
    experiment: of the run.
    folder: its run directory.
    moved: where the tokenizer, a run directory or a bundle, is now.
  """
  place = moved or experiment_lib.find_tokenizer(experiment, folder)
  return read_tokenizer(place).params


def models_of(experiment: Experiment) -> DiffusionModels:
  """Return the settings of the networks of a diffusion run."""
  return DiffusionModels(
    diffusion=experiment.diffusion,
    text=experiment.text,
    tokenizer=experiment.tokenizer,
    frames=experiment.data.frames,
  )


def starting_model(
  experiment: Experiment, workdir: epath.Path, tokenizer_params: Any
) -> Model | None:
  """Open the diffusion model that a new run starts from, if it names one.

  Raises:
    UserError: it is another model, or has other networks than the experiment.
  """
  place = experiment.start_from
  if not place or is_started(workdir):
    return None
  folder = find_model(place)
  if not is_diffusion(folder):
    raise UserError(
      f'start_from={place} is no trained diffusion model; name its run '
      'directory or a bundle'
    )
  model = load_any(folder, encoder=experiment.text.encoder or None)
  models: Any = model.sampler.models  # Of a diffusion model.
  differing = differing_settings(
    {'text': models.text, 'diffusion': models.diffusion},
    {'text': experiment.text, 'diffusion': experiment.diffusion},
  )
  if not differing and experiment.uses_tokenizer:
    if digest_tree(model.sampler.tokenizer_params) != (
      digest_tree(tokenizer_params)
    ):
      differing = ['it was trained on the latents of another tokenizer']
  if differing:
    raise UserError(
      f'start_from={place} does not fit this run: {"; ".join(differing)}; give '
      'the settings of that model'
    )
  return model


def sample_of(
  run: 'Run',
) -> Callable[[Any, Sequence[str], Sequence[int]], np.ndarray]:
  """Return a function that maps (state, prompts, seeds) to clips.

  Args:
    run: of a diffusion model.
  """
  experiment, vocabulary = run.experiment, run.vocabulary
  assert vocabulary is not None
  models = models_of(experiment)

  def sample(
    state: Any, prompts: Sequence[str], seeds: Sequence[int]
  ) -> np.ndarray:
    frozen = dict(state.frozen)
    tokenizer = frozen.pop('tokenizer', None)
    sampler: Any = DiffusionSampler(
      models=models,
      params={**state.ema, **frozen},
      tokenizer_params=tokenizer,
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
