"""One unit of a sweep: a training, its evaluation, and their places."""

import dataclasses
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from etils import epath

from phenaki_jax.data import spec
from phenaki_jax.data.mixture import Composition
from phenaki_jax.errors import UserError
from phenaki_jax.files.digests import digest_json
from phenaki_jax.runs.evaluate import SCORES_FILE
from phenaki_jax.runs.experiment import CONFIG_FILE, Experiment, read, saved
from phenaki_jax.training.checkpoint_files import FOLDER as CHECKPOINTS
from phenaki_jax.training.checkpoint_files import finished
from phenaki_jax.training.config import WandbConfig
from phenaki_jax.training.last_evaluation import LastEvaluation

UNITS = 'units'
"""Name of the folder of the units in the folder of a sweep."""

State = Literal['new', 'interrupted', 'trained', 'finished']


@dataclasses.dataclass(frozen=True, kw_only=True)
class Unit:
  """A training of a generator, and its evaluation.

  Attributes:
    name: of its folder; it ends in a digest of all that was set.
    label: what it differs in, for people; units of one label differ in seed.
    seed: `seed` of the training.
    config: the config, as `path.py[:arg]`.
    overrides: of the config, as `a.b=value`.
    evaluation: fields of `request.Request`.
    experiment: the resolved config.
  """

  name: str
  label: str
  seed: int
  config: str
  overrides: tuple[str, ...]
  evaluation: Mapping[str, Any]
  experiment: Experiment

  @property
  def composition(self) -> Composition:
    """Return the numbers of clips and images of a step."""
    return composition(self.experiment)

  @property
  def examples(self) -> int:
    """Return the number of examples of the whole training."""
    return self.experiment.train.steps * sum(self.composition.counts.values())

  @property
  def tokens(self) -> int:
    """Return the number of visual tokens of the whole training."""
    return self.experiment.train.steps * tokens_per_step(self.experiment)

  def run_dir(self, out: epath.PathLike) -> epath.Path:
    """Return the run directory of the training."""
    return epath.Path(out) / UNITS / self.name / 'run'

  def scores_dir(self, out: epath.PathLike) -> epath.Path:
    """Return the folder of the evaluation; another one has another folder."""
    digest = digest_json(dict(self.evaluation))[:6]
    return epath.Path(out) / UNITS / self.name / f'scores-{digest}'

  def state(self, out: epath.PathLike) -> State:
    """Return how far the unit is.

    Raises:
      UserError: the unit was trained with another config of the same name.
    """
    folder = self.run_dir(out)
    if not (folder / CONFIG_FILE).is_file():
      return 'new'
    self._check_same(folder)
    if (self.scores_dir(out) / SCORES_FILE).is_file():
      return 'finished'
    steps = self.experiment.train.steps
    # A kill leaves a checkpoint without a manifest, or a pending evaluation.
    is_saved = steps in finished(folder / CHECKPOINTS)
    is_trained = is_saved and LastEvaluation(folder, step=steps).done() is None
    return 'trained' if is_trained else 'interrupted'

  def train_command(
    self, out: epath.PathLike, *, cache: epath.PathLike | None
  ) -> list[str]:
    """Return the arguments of `phenaki` that train the unit, or resume it.

    Args:
      out: folder of the sweep.
      cache: tokens to train on; None to train on pixels.
    """
    cached = [f'data.token_cache={cache}'] if cache else []
    return [
      *('train', '--config', self.config),
      *('--workdir', str(self.run_dir(out))),
      *as_options([*self.overrides, *cached]),
    ]

  def evaluate_command(self, out: epath.PathLike) -> list[str]:
    """Return the arguments of `phenaki` that evaluate the trained unit."""
    options = []
    for name, value in self.evaluation.items():
      option = f'--{name.replace("_", "-")}'
      if isinstance(value, bool):
        options += [option] if value else []
      else:
        options += [option, str(value)]
    return [
      *('evaluate', '--model', str(self.run_dir(out))),
      *('--out', str(self.scores_dir(out)), *options),
    ]

  def _check_same(self, folder: epath.Path) -> None:
    """Check that the run in the folder has the resolved config."""
    mine, found = (
      dataclasses.replace(
        each,
        data=dataclasses.replace(each.data, token_cache=''),
        text=dataclasses.replace(each.text, digest=''),
        wandb=WandbConfig(),
      )
      for each in (saved(self.experiment, folder), read(folder))
    )
    if mine != found:
      raise UserError(
        f'{folder} was trained with another version of {self.config}; name '
        'another --out, or restore the config'
      )


def composition(experiment: Experiment) -> Composition:
  """Return the numbers of clips and images of a step."""
  return spec.composition(experiment.data, tubelet=experiment.tokenizer.tubelet)


def tokens_per_step(experiment: Experiment) -> int:
  """Return the number of visual tokens of a step of a generator."""
  latent_frames, height, width = experiment.generator.grid
  return composition(experiment).latent_frames(latent_frames) * height * width


def as_options(overrides: Sequence[str]) -> list[str]:
  """Return overrides as arguments of a command."""
  return [part for text in overrides for part in ('--set', text)]


def shell_line(arguments: Sequence[str]) -> str:
  """Return a call of `phenaki` as a line for a shell."""
  return shlex.join(['phenaki', *arguments])


def make_name(label: str, seed: int, settings: Any) -> str:
  """Return a name of a folder for a unit with these settings."""
  slug = re.sub(r'[^\w.]+', '_', label).strip('_') or 'unit'
  return f'{slug}-seed{seed}-{digest_json(settings)[:8]}'
