"""The shape of the masked transformer, and the named sizes."""

import math
from typing import Any, Literal

from pydantic import PositiveInt

from phenaki_jax.config import validated
from phenaki_jax.errors import UserError
from phenaki_jax.nn.config import TransformerConfig


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
  """

  codebook_size: PositiveInt = 8192
  code_levels: tuple[int, ...] = ()
  grid: tuple[PositiveInt, PositiveInt, PositiveInt] = (6, 16, 16)
  num_layers: PositiveInt = 8
  positions: Literal['rotary', 'learned'] = 'rotary'

  def __post_init__(self) -> None:
    """Check the rules that span several fields."""
    super().__post_init__()
    if self.code_levels and math.prod(self.code_levels) != self.codebook_size:
      raise UserError(
        f'code_levels {self.code_levels} make {math.prod(self.code_levels)} '
        f'codes, but codebook_size is {self.codebook_size}; leave both out, so '
        'that they are taken from the tokenizer'
      )


# Named sizes. `paper_1p8b` made the paper's videos, and `paper_0p9b` is its
# smaller text-to-video model (Phenaki, appendix A.2).
SIZES: dict[str, dict[str, Any]] = {
  'tiny': {'width': 128, 'num_layers': 4, 'num_heads': 4, 'mlp_dim': 512},
  'base': {'width': 768, 'num_layers': 12, 'num_heads': 12, 'mlp_dim': 3072},
  'paper_0p9b': {
    'width': 1536,
    'num_layers': 20,
    'num_heads': 24,
    'mlp_dim': 6144,
    'positions': 'learned',
    'scan': True,
    'dtype': 'bfloat16',
  },
  'paper_1p8b': {
    'width': 2048,
    'num_layers': 24,
    'num_heads': 32,
    'mlp_dim': 8192,
    'positions': 'learned',
    'scan': True,
    'dtype': 'bfloat16',
  },
}
