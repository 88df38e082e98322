"""Assemble a training run from its experiment.

`assemble` opens what a run needs: the vocabulary, the frozen tokenizer and the
task. `assemble_abstract` describes the same run by shapes, dtypes and shardings
alone. It reads no data, checkpoint or vocabulary and allocates no array, so it
works for models that do not fit on this machine.
"""

import dataclasses
import functools
from typing import Any

import jax
import optax
from etils import epath
from jax.sharding import AbstractMesh, Mesh

from phenaki_jax import config as config_lib
from phenaki_jax import rng, sharding
from phenaki_jax.data.buckets import Buckets
from phenaki_jax.data.character_frames import CharacterFrames
from phenaki_jax.data.config import DataConfig
from phenaki_jax.data.pipeline import Pipeline
from phenaki_jax.data.spec import batch_spec, composition
from phenaki_jax.data.sprites import Sprites
from phenaki_jax.data.token_cache import TokenCache
from phenaki_jax.errors import UserError
from phenaki_jax.perceptual.weights import (
  depth_network,
  image_network,
  video_network,
)
from phenaki_jax.runs import diffusion
from phenaki_jax.runs.experiment import Experiment
from phenaki_jax.runs.frozen_text import load_text
from phenaki_jax.runs.model import Model
from phenaki_jax.runs.new_words import new_words
from phenaki_jax.runs.pipelines import (
  has_depth,
  history_slots,
  open_pipeline,
  text_length,
  vector_width,
)
from phenaki_jax.runs.retrofit import grown
from phenaki_jax.runs.starting import (
  is_started,
  starting_model,
  teacher_of,
  tokenizer_params,
  vocabulary_of,
  words_after,
)
from phenaki_jax.runs.validation import check_tokenizer_dir, validate
from phenaki_jax.text.config import TextConfig
from phenaki_jax.text.vocab import SentencePieceVocabulary
from phenaki_jax.text.words import Words
from phenaki_jax.training import step
from phenaki_jax.training.character_task import CharacterTask
from phenaki_jax.training.checkpoint_manifest import digest_tree
from phenaki_jax.training.diffusion_task import DiffusionTask
from phenaki_jax.training.distillation_task import DistillationTask
from phenaki_jax.training.generator_task import GeneratorTask
from phenaki_jax.training.optim import make_optimizer
from phenaki_jax.training.reader_task import ReaderTask
from phenaki_jax.training.rows import Layout
from phenaki_jax.training.state import (
  Task,
  TrainState,
  abstract_frozen,
  abstract_state,
  boxed_params,
)
from phenaki_jax.training.structure_task import StructureTask
from phenaki_jax.training.tokenizer_task import TokenizerTask


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
  """A training run, real or abstract.

  The properties describe the arguments of the training step by trees of
  `jax.ShapeDtypeStruct` with shardings, for a real run as for an abstract one.

  Attributes:
    experiment: the configuration of the run.
    mesh: the devices.
    task: the model and its losses. The task of an abstract run has no frozen
      arrays; those of a real run are placed on the mesh by the training loop.
  """

  experiment: Experiment
  mesh: Any
  task: Any
  vocabulary: SentencePieceVocabulary | None = None
  words: Words | None = None

  @functools.cached_property
  def _params(self) -> Any:
    return boxed_params(self.task)

  @functools.cached_property
  def optimizer(self) -> optax.GradientTransformation:
    """Return the optimizer with its learning rate schedule."""
    return make_optimizer(
      self.experiment.optim,
      steps=self.experiment.train.steps,
      params=self._params,
      opponents=self.task.opponents,
      unoptimized=(*self.task.fixed, *self.task.statistics),
    )

  @functools.cached_property
  def state(self) -> TrainState:
    """Describe the parameters, their average and the optimizer state."""
    uneven = self.experiment.train.uneven_shards
    return abstract_state(
      self.task,
      self.optimizer,
      self.mesh,
      params=self._params,
      uneven=uneven,
    )

  @functools.cached_property
  def frozen(self) -> Any:
    """Describe the arrays that the loss reads and training never changes."""
    uneven = self.experiment.train.uneven_shards
    return abstract_frozen(self.task, self.mesh, uneven=uneven)

  @property
  def batch(self) -> dict[str, dict[str, jax.ShapeDtypeStruct]]:
    """Describe the global batch."""
    experiment = self.experiment
    is_cached = self._uses_cache(experiment.data)
    spec = batch_spec(
      experiment.data,
      tubelet=experiment.tokenizer.tubelet,
      text_length=text_length(experiment),
      grid=encoded_grid(experiment) if is_cached else None,
      reencoded=is_cached and self.task.uses_reencoded,
      text_width=vector_width(experiment),
      multiple=_multiple(experiment, self.mesh),
      depth=has_depth(experiment),
      history=history_slots(experiment),
    )
    place = sharding.batch_sharding(self.mesh)
    return jax.tree.map(
      lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place),
      spec,
    )

  def lower(self) -> jax.stages.Lowered:
    """Lower the training step; `.compile()` compiles it without any array."""
    config = self.experiment.train
    one_step = step.make_step(
      self.task,
      self.optimizer,
      ema_decay=self.experiment.optim.ema_decay,
      micro_batches=config.accumulate,
      canonical=config.canonical,
    )
    compiled: Any = step.compile_step(
      one_step, self.state, canonical=config.canonical
    )
    with jax.set_mesh(self.mesh):
      return compiled.lower(
        self.state, self.batch, rng.described(), self.frozen
      )

  def open_pipeline(self, data: DataConfig) -> Any:
    """Open data and read it as this run does.

    Training data with a cache of tokens are read from it, held-out data never.

    Returns:
      A `Loader`: for a reader `Sprites` or `CharacterFrames`, for training data
      of several shapes `Buckets`, otherwise a `Pipeline`.

    Raises:
      UserError: the data cannot be read, or has no examples, or the cache is
        of another tokenizer or other data.
    """
    if self.experiment.kind == 'reader':
      process = {
        'process_index': jax.process_index(),
        'process_count': jax.process_count(),
      }
      given = self.experiment.characters
      if given.stories:
        return CharacterFrames(data, given.stories, given.names, **process)
      return Sprites(data, self.experiment.reader.sheets, **process)
    multiple = _multiple(self.experiment, self.mesh)
    if not self._uses_cache(data):
      opener = functools.partial(
        open_pipeline,
        self.experiment,
        vocabulary=self.vocabulary,
        multiple=multiple,
      )
      # Evaluations have one shape.
      has_buckets = data.buckets and data.split == 'train'
      return Buckets(data, opener) if has_buckets else opener(data)
    cache = TokenCache(data.token_cache)
    reencoded = self.task.uses_reencoded
    if reencoded and not cache.has_reencoded:
      raise UserError(
        f'task.reencoded_context is {self.experiment.task.reencoded_context}, '
        f'but the cache of tokens in {data.token_cache} was built with 0; '
        'build it again with `phenaki encode --tokens`, or set '
        'task.reencoded_context=0'
      )
    pipeline = open_pipeline(
      self.experiment,
      data,
      self.vocabulary,
      cache=cache,
      reencoded=reencoded,
      multiple=multiple,
    )
    cache.info.check(data.token_cache, self.cache_settings(pipeline))
    return pipeline

  def cache_settings(self, pipeline: Pipeline) -> dict[str, Any]:
    """Return all that determines the tokens of training examples."""
    return {
      'data': pipeline.content,
      'tokenizer': config_lib.to_dict(self.experiment.tokenizer),
      'tokenizer_params': self._frozen_digest,
    }

  @functools.cached_property
  def _frozen_digest(self) -> str:
    return digest_tree(self.task.tokenizer_params)

  def _uses_cache(self, data: DataConfig) -> bool:
    if not data.token_cache or data.split != 'train':
      return False
    if self.experiment.kind != 'generator':
      raise UserError(
        f'data.token_cache is {data.token_cache}, but a '
        f'{self.experiment.kind} trains on pixels; leave data.token_cache empty'
      )
    return True


def assemble(
  experiment: Experiment, *, workdir: epath.PathLike, mesh: Mesh
) -> Run:
  """Assemble a run that can train.

  Args:
    experiment: a resolved experiment.
    workdir: the run directory. The vocabulary is read from it, or learned from
      the captions if the run has no checkpoint yet; nothing is written.
    mesh: from `sharding.make_mesh`.

  Raises:
    UserError: the parts of the experiment contradict each other, the data
      cannot be read, or the tokenizer is missing or has another shape.
  """
  check_tokenizer_dir(experiment)
  if experiment.generator.text_width and not experiment.text.is_frozen:
    raise UserError(
      f'generator.text_width is {experiment.generator.text_width}, which takes '
      'vectors of a frozen text encoder: --set text.source=DIR, a cache of '
      '`phenaki encode --text`, or text.encoder and text.vocabulary; or leave '
      'text_width out to train the text encoder with the model'
    )
  validate(experiment, num_devices=mesh.size, process_count=jax.process_count())
  if not (experiment.uses_tokenizer or experiment.reads_text):
    task: Task = _task(experiment, read=True)
    return Run(experiment=experiment, mesh=mesh, task=task)
  params, text_params = None, None
  if experiment.uses_tokenizer:
    params = tokenizer_params(experiment)
  if experiment.reads_text and experiment.text.encodes_in_step:
    text_params, digest = load_text(experiment.text)
    text = dataclasses.replace(experiment.text, digest=digest)
    experiment = dataclasses.replace(experiment, text=text)
  workdir = epath.Path(workdir)
  if experiment.kind == 'diffusion':
    task = _diffusion(experiment, params, text_params, read=True)
    model = diffusion.starting_model(experiment, workdir, params)
    vocabulary, words = None, None
    if model is not None:
      sampler: Any = model.sampler
      found = new_words(experiment, model, sampler.params)
      vocabulary = found.vocabulary
      words = words_after(model.words, experiment)
      task = dataclasses.replace(
        task, given=grown(task, found.params, experiment.start_from)
      )
    elif experiment.reads_text:
      vocabulary, words = vocabulary_of(experiment, workdir)
    return Run(
      experiment=experiment,
      mesh=mesh,
      task=task,
      vocabulary=vocabulary,
      words=words,
    )
  teacher = teacher_of(experiment, params)
  taught = {}
  if teacher is not None:
    taught['teacher_params'] = _networks(teacher, experiment)
    digest = digest_tree(taught['teacher_params'])
    distillation = dataclasses.replace(experiment.distillation, digest=digest)
    experiment = dataclasses.replace(experiment, distillation=distillation)
  start = starting_model(experiment, workdir, params)
  if start is None and not is_started(workdir):
    start = teacher
  if start is None:
    vocabulary, words = vocabulary_of(experiment, workdir)
    given = {}
  else:
    found = new_words(experiment, start, start.sampler.generator_params)
    vocabulary, given = found.vocabulary, found.params
    words = start.words  # The data of a student are those of its teacher.
    if start is not teacher:
      words = words_after(words, experiment)
    theirs, ours = start.sampler.models.generator, experiment.generator
    if (theirs.critic, theirs.critic_layers) != (
      ours.critic,
      ours.critic_layers,
    ):
      given.pop('critic', None)  # the critic of this run is another network
  task = _generator(experiment, params, mesh)
  return Run(
    experiment=experiment,
    mesh=mesh,
    task=dataclasses.replace(
      task,
      given=grown(task, given, experiment.start_from),
      text_params=text_params,
      **taught,
    ),
    vocabulary=vocabulary,
    words=words,
  )


def assemble_encoder(experiment: Experiment, *, mesh: Mesh) -> Run:
  """Assemble a generator's run without a vocabulary, to encode its data.

  Raises:
    UserError: as `assemble`, or the experiment is not of a generator.
  """
  if experiment.kind != 'generator':
    raise UserError(
      f'the config is of a {experiment.kind}; name the config of a generator, '
      'whose training examples are encoded'
    )
  check_tokenizer_dir(experiment)
  validate(experiment, num_devices=mesh.size, process_count=jax.process_count())
  experiment.task.check(experiment.generator, is_cached=True)
  params = tokenizer_params(experiment)
  # A frozen text encoder is not needed.
  text = TextConfig(max_length=experiment.text.max_length)
  experiment = dataclasses.replace(experiment, text=text)
  return Run(
    experiment=experiment, mesh=mesh, task=_generator(experiment, params, mesh)
  )


def assemble_abstract(
  experiment: Experiment, *, mesh: Mesh | AbstractMesh
) -> Run:
  """Describe a run by shapes, without reading a file or allocating an array.

  Args:
    experiment: a resolved experiment; a generator may leave `tokenizer_dir`
      empty.
    mesh: from `sharding.make_mesh`, of described devices or abstract.

  Raises:
    UserError: the parts of the experiment contradict each other.
  """
  validate(experiment, num_devices=mesh.size)
  if experiment.kind == 'generator':
    task: Task = _generator(experiment, None, mesh)
  else:
    task = _task(experiment, read=False)
  return Run(experiment=experiment, mesh=mesh, task=task)


def _task(experiment: Experiment, *, read: bool) -> Task:
  """Return the task of a model that is given no arrays of other models.

  Args:
    experiment: of anything but a generator.
    read: read the weights of perceptual networks.

  Raises:
    UserError: a perceptual term has no weights.
  """
  if experiment.kind == 'reader':
    if experiment.characters.stories:
      return CharacterTask(
        config=experiment.reader, characters=experiment.characters
      )
    return ReaderTask(config=experiment.reader)
  if experiment.kind == 'diffusion':
    return _diffusion(experiment, None, None, read=read)
  losses = experiment.losses
  return TokenizerTask(
    config=experiment.tokenizer,
    weights=losses,
    image_network=image_network(losses.networks, read=read)
    if losses.image_perceptual
    else None,
    video_network=video_network(losses.networks, read=read)
    if losses.video_perceptual
    else None,
  )


def _diffusion(
  experiment: Experiment,
  tokenizer_params: Any,
  text_params: Any,
  *,
  read: bool,
) -> DiffusionTask:
  weights = experiment.task.depth_weights
  return DiffusionTask(
    config=experiment.diffusion,
    text=experiment.text,
    tokenizer=experiment.tokenizer,
    training=experiment.task,
    tokenizer_params=tokenizer_params,
    text_params=text_params,
    depth_network=depth_network(weights, field='task.depth_weights', read=read)
    if weights
    else None,
    fps=experiment.data.fps,
  )


def _generator(
  experiment: Experiment, tokenizer_params: Any, mesh: Mesh | AbstractMesh
) -> GeneratorTask:
  made = composition(experiment.data, tubelet=experiment.tokenizer.tubelet)
  fields: dict[str, Any] = {
    'config': experiment.generator,
    'text': experiment.text,
    'tokenizer': experiment.tokenizer,
    'tokenizer_params': tokenizer_params,
    'training': experiment.task,
    'fps': experiment.data.fps,
    'layout': Layout(
      num_clips=made.num_clips,
      num_images=made.num_images,
      length=experiment.generator.grid[0],
      groups=_groups(experiment, mesh),
    ),
    'is_padded': not experiment.data.buckets,
  }
  if experiment.distillation.teacher:
    return DistillationTask(
      **fields,
      distillation=experiment.distillation,
      schedule=experiment.sampling.schedule,
    )
  if path := experiment.task.depth_weights:
    network = depth_network(
      path, field='task.depth_weights', read=tokenizer_params is not None
    )
    return StructureTask(**fields, depth_network=network)
  return GeneratorTask(**fields)


def encoded_grid(experiment: Experiment) -> tuple[int, int, int]:
  """Return the token grid of a clip of the data."""
  data = experiment.data
  return experiment.tokenizer.grid(data.frames, data.size)


def _networks(teacher: Model, experiment: Experiment) -> Any:
  """Return the parameters of a teacher that a student has too."""
  apart = {'critic', *(['text'] if experiment.text.is_frozen else [])}
  params = teacher.sampler.generator_params
  return {name: tree for name, tree in params.items() if name not in apart}


def _multiple(experiment: Experiment, mesh: Mesh | AbstractMesh) -> int:
  """Return what each part of a batch is padded to a multiple of.

  A generator's rows are even, and its clips and images need not be.
  """
  return _groups(experiment, mesh) if experiment.kind == 'generator' else 1


def _groups(experiment: Experiment, mesh: Mesh | AbstractMesh) -> int:
  """Return into how many equal groups of rows a batch is divided."""
  return experiment.train.groups(sharding.batch_ways(mesh))
