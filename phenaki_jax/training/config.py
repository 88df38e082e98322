"""The length of a training run, its optimizer, and its checkpoints."""

from typing import Literal

from pydantic import (
  NonNegativeFloat,
  NonNegativeInt,
  PositiveFloat,
  PositiveInt,
)

from phenaki_jax.config import Rate, Share, validated
from phenaki_jax.errors import UserError


@validated
class TrainConfig:
  """The length of a run, and how often it logs, saves and evaluates.

  Attributes:
    steps: total number of optimizer steps, including those before a resume.
    log_every: steps between records of the metrics, each the average of these
      steps.
    checkpoint_every: steps between checkpoints; the last step is always saved.
    keep_checkpoints: number of newest checkpoints to keep.
    evaluate_every: steps between evaluations.
    uneven_shards: what to do with a dimension that its mesh axes do not
      divide: 'raise' an error, or 'replicate' it.
    accumulate: number of micro-batches of a step, computed one after the other.
      More of them need less memory. Gradients and losses are those of the whole
      batch; dropout and the draws of a critic differ.
    canonical: compute every micro-batch on one device, and add gradients in a
      fixed order, so that a run has the same bits on every number of devices
      that divides `accumulate`, a power of two. Each device holds the whole
      state and batch, and gradients of each micro-batch that it computes.
  """

  steps: PositiveInt = 1000
  log_every: PositiveInt = 10
  checkpoint_every: PositiveInt = 500
  keep_checkpoints: PositiveInt = 2
  evaluate_every: PositiveInt = 500
  uneven_shards: Literal['raise', 'replicate'] = 'raise'
  accumulate: PositiveInt = 1
  canonical: bool = False

  def groups(self, ways: int) -> int:
    """Return into how many equal groups the examples of a batch are divided.

    Args:
      ways: among how many devices a batch is divided.
    """
    return self.accumulate if self.canonical else self.accumulate * ways

  def __post_init__(self) -> None:
    """Check that the order of sums is that of a binary tree."""
    if self.canonical and self.accumulate.bit_count() != 1:
      raise UserError(
        f'train.canonical adds gradients in pairs, but train.accumulate is '
        f'{self.accumulate}; set it to a power of two, such as 8'
      )


@validated
class WandbConfig:
  """Where Weights & Biases keeps a run, beside the run directory.

  Attributes:
    project: its project; empty to send nothing.
    group: the group of runs that it is shown in; a sweep sets its name.
    name: the name of the run; empty for one that W&B makes up.
  """

  project: str = ''
  group: str = ''
  name: str = ''


@validated
class OptimConfig:
  """The optimizer, its schedule and the averaged copy of the parameters.

  Attributes:
    optimizer: 'adamw' (the paper's), or 'muon', which orthogonalises the
      updates of the hidden matrices and uses AdamW for all other parameters;
      short runs of the small sizes reach a much lower loss with it.
    learning_rate: peak learning rate, reached after the warm-up; with 'muon',
      that of the hidden matrices.
    adam_learning_rate: with 'muon', the peak rate of all other parameters.
    warmup_steps: steps over which the rate rises linearly from near zero.
    decay: 'cosine' down to `end_factor` of the peak rate, or 'constant'.
    decay_steps: the step at which the cosine ends (paper: 4M for a generator
      that is trained for 1M steps); 0 for `train.steps`. If it is set, training
      for more steps does not change the rates of the schedule.
    end_factor: the final rate as a share of the peak rate.
    b1: decay of the mean of the gradients.
    b2: decay of the mean of the squared gradients.
    weight_decay: decoupled decay of matrices; norms, biases, embeddings and
      codebooks are not decayed.
    clip_norm: largest allowed norm of the whole gradient.
    opponent_learning_rate: peak learning rate of a discriminator; 0: that of
      the model.
    opponent_b1: `b1` of a discriminator; None: that of the model.
    ema_decay: decay of the averaged parameters; 0 disables averaging.
  """

  optimizer: Literal['adamw', 'muon'] = 'adamw'
  learning_rate: PositiveFloat = 1e-3
  adam_learning_rate: PositiveFloat = 2e-3
  warmup_steps: NonNegativeInt = 100
  decay: Literal['cosine', 'constant'] = 'cosine'
  decay_steps: NonNegativeInt = 0
  end_factor: Share = 0.1
  b1: Rate = 0.9
  b2: Rate = 0.99
  weight_decay: NonNegativeFloat = 1e-4
  clip_norm: PositiveFloat = 1.0
  opponent_learning_rate: NonNegativeFloat = 0.0
  opponent_b1: Rate | None = None
  ema_decay: Rate = 0.999

  def __post_init__(self) -> None:
    """Check that the cosine ends after the warm-up."""
    if 0 < self.decay_steps <= self.warmup_steps:
      raise UserError(
        f'decay_steps is {self.decay_steps}; it must be more than '
        f'warmup_steps={self.warmup_steps}, or 0 for the length of the run'
      )
