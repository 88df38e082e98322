"""The shape of the masked transformer, and the named sizes."""

import math
from typing import Any, Literal

from pydantic import NonNegativeInt, PositiveInt

from phenaki_jax.config import Rate, validated
from phenaki_jax.errors import UserError
from phenaki_jax.nn.config import PortsConfig, TransformerConfig

Schedule = Literal['cosine', 'linear', 'square', 'cubic', 'quartic', 'sqrt']


@validated
class GeneratorConfig(TransformerConfig):
  """The shape of a masked transformer; see also `TransformerConfig`.

  Attributes:
    codebook_size: number of token ids; taken from the tokenizer.
    code_levels: number of values of each digit of a token id; taken from a
      tokenizer with FSQ, and empty for ids without digits.
    grid: token grid (latent frames, rows, columns) of a training clip.
    num_layers: number of blocks.
    positions: 'rotary' (with smooth absolute features and distances; it
      extends to other grids) or 'learned' (a table for `grid`, as in MaskGIT).
    attention: 'full' (all tokens to all, as in the paper) or 'factorized'
      (within each latent frame, then over time at each place; cheaper for long
      clips and large frames).
    text_width: width of the given vectors of a frozen text encoder (paper:
      4096, T5-XXL), which keys and values are computed from; 0 for a model
      without text. None: the text encoder is trained with the model.
    dropout: rate of the attention weights, the embedded tokens and the output
      of each branch of the blocks, in training alone (paper: 0.1 for video
      prediction). The critic has none.
    critic: 'self' (a layer on the model's own features) or 'token' (a
      transformer of its own, Token-Critic, arXiv 2209.04439), which tells real
      tokens from drawn ones and can order the decoding; 'none' for none.
    critic_layers: number of blocks of the critic 'token'.
    prompt: number of trained vectors before the vectors of every text, for
      prompt tuning (StoryDALL-E: 32); 0 for none. A critic 'token' has none.
    ports: what it reads beside tokens and text. A critic 'token' has none.
  """

  codebook_size: PositiveInt = 8192
  code_levels: tuple[int, ...] = ()
  grid: tuple[PositiveInt, PositiveInt, PositiveInt] = (6, 16, 16)
  num_layers: PositiveInt = 8
  positions: Literal['rotary', 'learned'] = 'rotary'
  attention: Literal['full', 'factorized'] = 'full'
  text_width: NonNegativeInt | None = None
  dropout: Rate = 0.0
  critic: Literal['none', 'self', 'token'] = 'none'
  critic_layers: PositiveInt = 2
  prompt: NonNegativeInt = 0
  ports: PortsConfig = PortsConfig()

  def __post_init__(self) -> None:
    """Check the rules that span several fields."""
    super().__post_init__()
    if self.code_levels and math.prod(self.code_levels) != self.codebook_size:
      raise UserError(
        f'code_levels {self.code_levels} make {math.prod(self.code_levels)} '
        f'codes, but codebook_size is {self.codebook_size}; leave both out, so '
        'that they are taken from the tokenizer'
      )
    if self.prompt and self.text_width == 0:
      raise UserError(
        f'generator.prompt is {self.prompt}, but a model without text has no '
        'vectors that these could stand before; set it to 0'
      )
    if self.ports.story and self.text_width == 0:
      raise UserError(
        'generator.ports.story is True, but a model without text reads no '
        'captions; set it to False'
      )
    every = self.ports.memory_every
    if self.ports.memory and every > (1 if self.scan else self.num_layers):
      raise UserError(
        f'ports.memory_every is {every}, but '
        + (
          'scanned blocks are equal; set it to 1, or scan=False'
          if self.scan
          else f'there are {self.num_layers} blocks; set it to at most that'
        )
      )


# Named sizes. `paper_1p8b` made the paper's videos, `paper_0p9b` is its smaller
# text-to-video model, and `paper_prediction` its model of video prediction
# (Phenaki, appendix A.2). One clip of 1,536 tokens through the blocks of
# `paper_1p8b` keeps about 30 GB of activations, so that the backward pass
# recomputes all but the matrix products (docs/pods.md).
_PAPER: dict[str, Any] = {
  'positions': 'learned',
  'scan': True,
  'remat': 'matmuls',
  'dtype': 'bfloat16',
}
SIZES: dict[str, dict[str, Any]] = {
  'tiny': {'width': 128, 'num_layers': 4, 'num_heads': 4, 'mlp_dim': 512},
  'base': {'width': 768, 'num_layers': 12, 'num_heads': 12, 'mlp_dim': 3072},
  'paper_0p9b': {
    'width': 1536,
    'num_layers': 20,
    'num_heads': 24,
    'mlp_dim': 6144,
    'text_width': 4096,
    **_PAPER,
  },
  'paper_1p8b': {
    'width': 2048,
    'num_layers': 24,
    'num_heads': 32,
    'mlp_dim': 8192,
    'text_width': 4096,
    **_PAPER,
  },
  'paper_prediction': {
    'width': 768,
    'num_layers': 24,
    'num_heads': 16,
    'mlp_dim': 3072,
    'text_width': 0,
    'dropout': 0.1,
    **_PAPER,
  },
}
