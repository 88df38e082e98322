"""What an evaluation measures: a story model, or a tokenizer alone."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
from etils import epath

import phenaki_jax
from phenaki_jax.data.config import DataConfig
from phenaki_jax.data.pipeline import Pipeline
from phenaki_jax.runs import experiment as experiment_lib
from phenaki_jax.runs import open as models
from phenaki_jax.runs.evaluators import reconstructor
from phenaki_jax.runs.model import Model
from phenaki_jax.text.words import Words
from phenaki_jax.tokenizer.config import TokenizerConfig
from phenaki_jax.training import checkpoints
from phenaki_jax.training.checkpoint_files import FOLDER as CHECKPOINTS_FOLDER
from phenaki_jax.training.checkpoint_manifest import digest_tree

_NUM_CAPTIONS = 2_000  # captions that name the world of a tokenizer


@dataclasses.dataclass(frozen=True, kw_only=True)
class Subject:
  """A trained model and its data.

  Attributes:
    name: where it came from, for people.
    fingerprint: identifies its arrays.
    tokenizer, params: config and parameters of the tokenizer.
    data: the training data.
    model: the story model; None for a tokenizer alone.
  """

  name: str
  fingerprint: str
  tokenizer: TokenizerConfig
  params: Any
  data: DataConfig
  model: Model | None = None

  @property
  def subset(self) -> str:
    """Return the part of StoryWorld among the data; empty without it."""
    layouts = (s.subset for s in self.data.sources if s.layout == 'storyworld')
    return next(layouts, '')

  def clip_protocol(self, manifest: str) -> dict[str, Any]:
    """Return what measures of clips depend on, beside the network.

    Args:
      manifest: see `heldout_clips`.
    """
    return {
      'model': self.fingerprint,
      'frames': self.data.frames,
      'size': list(self.data.size),
      'fps': self.data.fps,
      'real': manifest or 'held-out training data',
      'phenaki_jax': phenaki_jax.__version__,
    }

  @functools.cached_property
  def words(self) -> Words | None:
    """Return the words of the captions; None if they are not known."""
    if self.model is not None:
      return self.model.words
    return Words.count(self._open(self.data).captions(_NUM_CAPTIONS))

  @functools.cached_property
  def reconstruct(self) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function that maps clips to decoded clips."""
    params = jax.tree.map(jax.numpy.asarray, self.params)
    return lambda pixels: np.asarray(_decoded(self.tokenizer, params, pixels))

  def heldout_clips(
    self, number: int, *, manifest: str, batch_size: int
  ) -> Iterator[Mapping[str, np.ndarray]]:
    """Open the held-out clips, and return an iterator over batches of them.

    Args:
      number: of clips.
      manifest: folder of another manifest; empty for the training data. All
        of its clips are held out if the training held out no share of its own.
      batch_size: most clips of a batch.

    Raises:
      UserError: the data cannot be read, or has no held-out clips.
    """
    data = dataclasses.replace(
      self.data.heldout(manifest), batch_size=min(number, batch_size)
    )
    pipeline = self._open(data)

    def batches() -> Iterator[Mapping[str, np.ndarray]]:
      for step, start in enumerate(range(0, number, data.batch_size)):
        clips = pipeline.batch(step)['clips']
        yield {name: rows[: number - start] for name, rows in clips.items()}

    return batches()

  def _open(self, data: DataConfig) -> Pipeline:
    return Pipeline(
      data,
      lambda caption: np.ones(1, np.int32),
      tubelet=self.tokenizer.tubelet,
      text_length=1,
    )


@functools.partial(jax.jit, static_argnames='config')
def _decoded(config: TokenizerConfig, params: Any, pixels: Any) -> Any:
  return reconstructor(config)(params, pixels)


def open_subject(
  path: epath.PathLike | None,
  *,
  tokenizer: epath.PathLike | None = None,
  encoder: epath.PathLike | None = None,
  step: int | None = None,
) -> Subject:
  """Open a story model (see `runs.open.load`), or the run of a tokenizer.

  `step` is that of a checkpoint of the run; None takes the newest intact one.

  Raises:
    UserError: there is no such model, or it is damaged.
    CheckpointError: the run has no checkpoint yet.
  """
  folder = None if path is None else epath.Path(path).expanduser()
  if folder is not None and _is_tokenizer(folder):
    experiment = experiment_lib.read(folder)
    snapshot = checkpoints.load_params(folder, step=step)
    name = experiment.name or folder.name
    return Subject(
      name=f'{name} at step {snapshot.step}',
      fingerprint=digest_tree(snapshot.params),
      tokenizer=experiment.tokenizer,
      params=snapshot.params,
      data=experiment.data,
    )
  model = models.load(path, tokenizer=tokenizer, encoder=encoder, step=step)
  return Subject(
    name=model.name,
    fingerprint=model.fingerprint,
    tokenizer=model.sampler.models.tokenizer,
    params=model.sampler.tokenizer_params,
    data=model.data,
    model=model,
  )


def _is_tokenizer(folder: epath.Path) -> bool:
  """Return whether a folder is the run directory of a tokenizer."""
  is_run = (folder / CHECKPOINTS_FOLDER).is_dir()
  return is_run and experiment_lib.read(folder).kind == 'tokenizer'
