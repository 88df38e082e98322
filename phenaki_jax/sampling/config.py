"""Settings of sampling."""

from typing import Literal

from pydantic import NonNegativeFloat, PositiveInt

from phenaki_jax.config import validated
from phenaki_jax.masked_transformer.config import Schedule

Order = Literal['confidence', 'gumbel', 'random', 'halton', 'critic', 'revise']
GuidanceSchedule = Literal['constant', 'linear', 'cosine']


@validated
class DecodeConfig:
  """The settings that are compiled into a decoding loop.

  Attributes:
    steps: decoding steps, one forward pass each (paper: 12 to 48). There are
      never more than unknown tokens.
    schedule: share of tokens still hidden as a function of progress.
    order: which tokens are kept first.
      'confidence': the most likely ones, with noise that fades out (MaskGIT).
        It keeps plain background first, which can lose small objects.
      'gumbel': as 'confidence', but with the same noise in all steps, so that
        a token is kept with a probability that grows with its own.
      'random': any.
      'halton': tokens far from each other in time and space (see
        `sampling.halton`), from a random start.
      'critic': those that the model's critic takes for real; it may take back
        tokens of earlier steps, and costs a second forward pass.
      'revise': as 'confidence' for a draft of all tokens, of which the least
        likely are then hidden again and decoded anew.
  """

  steps: PositiveInt = 18
  schedule: Schedule = 'cosine'
  order: Order = 'confidence'


@validated
class SamplingSettings(DecodeConfig):
  """How clips are sampled; `DecodeConfig` has the settings of the decoding.

  Attributes:
    guidance: guidance scale, 0 for none, which halves the time.
    guidance_schedule: how the scale grows over the decoding steps.
    negative: text that the guidance moves away from; empty for no text.
    time_guidance: temporal guidance, 1 for none. It makes three forward passes
      of one, for a generator whose layers over time were sometimes off in
      training (see `guidance.guide`).
    temperature: temperature of each token's distribution, 0 for the most
      likely token.
    choice_temperature: noise on the order in which tokens are kept.
  """

  guidance: NonNegativeFloat = 3.0
  guidance_schedule: GuidanceSchedule = 'constant'
  negative: str = ''
  time_guidance: NonNegativeFloat = 1.0
  temperature: NonNegativeFloat = 1.0
  choice_temperature: NonNegativeFloat = 4.5
