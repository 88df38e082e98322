"""How the training examples of a generator are made and weighed."""

from typing import Literal

from pydantic import NonNegativeFloat, PositiveInt

from phenaki_jax.config import Share, validated
from phenaki_jax.errors import UserError
from phenaki_jax.masked_transformer.schedules import Schedule


@validated
class GeneratorTaskConfig:
  """How the generator's training examples are made.

  Attributes:
    text_dropout: share of the captions replaced by the empty caption, for
      guidance (paper: 0.1).
    prediction_share: share of the clips without context frames for which a
      prefix is known instead (see `masked_transformer.tasks`).
    prediction_frames: frames of that prefix, 1 + k * tubelet (paper: 5).
    interpolation_share: share for which the first and the last latent frame
      are known.
    inpainting_share: share for which all but a box is known.
    outpainting_share: share for which a box is known.
    reencoded_context: share of the clips with context frames whose context
      has the tokens that the sampler sees: those of the context frames after
      the tokenizer encoded and decoded them.
    context_noise: largest share of the context tokens of a clip that are
      replaced by other ids in training (see `training.context_noise`); every
      clip draws its own share.
    schedule: distribution of the share of hidden tokens.
    balance: what has equal weight in the loss. 'tokens': every hidden token, as
      in the paper; an image has few of them, so that at the paper's sizes 20%
      of images are 4% of the loss. 'examples': every clip and image.
    critic_weight: weight of the critic's loss, for a generator with a critic.
    trained: 'all', or 'critic' alone, which `start_from` adds to a trained
      generator.
  """

  text_dropout: Share = 0.1
  prediction_share: Share = 0.1
  prediction_frames: PositiveInt = 5
  interpolation_share: Share = 0.0
  inpainting_share: Share = 0.0
  outpainting_share: Share = 0.0
  reencoded_context: Share = 0.0
  context_noise: Share = 0.0
  schedule: Schedule = 'cosine'
  balance: Literal['tokens', 'examples'] = 'tokens'
  critic_weight: NonNegativeFloat = 1.0
  trained: Literal['all', 'critic'] = 'all'

  def __post_init__(self) -> None:
    """Check that the shares of the tasks leave none below zero."""
    total = sum(self.task_shares.values())
    if total > 1 + 1e-6:
      raise UserError(
        f'the shares of the tasks ({", ".join(self.task_shares)}) add up to '
        f'{total:g}; they must be at most 1, and the rest is generation'
      )

  @property
  def task_shares(self) -> dict[str, float]:
    """Return the share of the clips of each task but generation."""
    names = ('prediction', 'interpolation', 'inpainting', 'outpainting')
    return {name: getattr(self, f'{name}_share') for name in names}
