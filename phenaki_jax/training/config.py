"""Say how long to train, how to optimise, and what to keep on the way."""

import dataclasses

from phenaki_jax.errors import UserError

_DECAYS = ('cosine', 'constant')
_OPTIMIZERS = ('adamw', 'muon')


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
  """Set the length of a run and the rhythm of what it leaves behind.

  Attributes:
    steps: updates in all, resumed ones included.
    log_every: steps whose metrics one record averages.
    checkpoint_every: steps between checkpoints; the last step is always saved.
    keep_checkpoints: how many of the newest checkpoints stay on disk.
    evaluate_every: steps between samples; `cli` hands it to the evaluators.
    uneven_shards: 'raise', or 'replicate' dimensions that the mesh does not
      divide.
  """

  steps: int = 1000
  log_every: int = 10
  checkpoint_every: int = 500
  keep_checkpoints: int = 2
  evaluate_every: int = 500
  uneven_shards: str = 'raise'

  def __post_init__(self) -> None:
    """Refuse what cannot be run.

    Raises:
      UserError: naming the field, its value and what is allowed.
    """
    for field in dataclasses.fields(self):
      value = getattr(self, field.name)
      if field.name != 'uneven_shards' and value < 1:
        raise UserError(f'train.{field.name} is {value}; give 1 or more.')
    if self.uneven_shards not in ('raise', 'replicate'):
      raise UserError(
        f'train.uneven_shards is {self.uneven_shards!r}; give '
        "'raise' or 'replicate'."
      )


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimConfig:
  """Set the optimizer, its schedule and the averaged copy of the parameters.

  Attributes:
    optimizer: 'adamw' (the paper's), or 'muon', which orthogonalises the
      updates of the hidden matrices and leaves the rest to AdamW; short runs
      of the small presets go much further with it.
    learning_rate: the highest rate, reached after the warm-up; with 'muon',
      that of the hidden matrices.
    adam_learning_rate: with 'muon', the highest rate of everything else.
    warmup_steps: steps over which the rate rises linearly from near zero.
    decay: 'cosine' down to `end_factor` of the highest rate, or 'constant'.
    end_factor: see `decay`; between 0 and 1.
    b1: decay of the mean of the gradients.
    b2: decay of the mean of their squares.
    weight_decay: decoupled decay of matrices; norms, biases, embeddings and
      codebooks are left out.
    clip_norm: largest allowed norm of the whole gradient.
    ema_decay: decay of the averaged parameters, in [0, 1); 0 is no average.
  """

  optimizer: str = 'adamw'
  learning_rate: float = 1e-3
  adam_learning_rate: float = 2e-3
  warmup_steps: int = 100
  decay: str = 'cosine'
  end_factor: float = 0.1
  b1: float = 0.9
  b2: float = 0.99
  weight_decay: float = 1e-4
  clip_norm: float = 1.0
  ema_decay: float = 0.999

  def __post_init__(self) -> None:
    """Refuse what cannot be run.

    Raises:
      UserError: naming the field, its value and what is allowed.
    """
    if self.optimizer not in _OPTIMIZERS:
      raise UserError(
        f'optim.optimizer is {self.optimizer!r}; give one of '
        f'{", ".join(_OPTIMIZERS)}.'
      )
    if self.decay not in _DECAYS:
      raise UserError(
        f'optim.decay is {self.decay!r}; give one of {", ".join(_DECAYS)}.'
      )
    for name in ('learning_rate', 'adam_learning_rate', 'clip_norm'):
      if not getattr(self, name) > 0:
        raise UserError(
          f'optim.{name} is {getattr(self, name)}; give a number above 0.'
        )
    for name in ('warmup_steps', 'weight_decay'):
      if getattr(self, name) < 0:
        raise UserError(
          f'optim.{name} is {getattr(self, name)}; give 0 or more.'
        )
    for name in ('b1', 'b2', 'ema_decay'):
      if not 0 <= getattr(self, name) < 1:
        raise UserError(
          f'optim.{name} is {getattr(self, name)}; give a number in [0, 1).'
        )
    if not 0 <= self.end_factor <= 1:
      raise UserError(
        f'optim.end_factor is {self.end_factor}; give a number in [0, 1].'
      )
