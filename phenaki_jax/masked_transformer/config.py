"""The shape of the masked transformer, and the named sizes."""

import dataclasses
import math
from typing import Any

from phenaki_jax.errors import UserError
from phenaki_jax.nn.compute import check_compute

POSITIONS = ('rotary', 'learned')


@dataclasses.dataclass(frozen=True, kw_only=True)
class GeneratorConfig:
  """Describe a masked transformer.

  Attributes:
    codebook_size: number of token ids, taken from the tokenizer.
    code_levels: number of values of each digit of a token id, taken from a
      tokenizer with FSQ; empty for ids without digits.
    grid: token grid (latent steps, rows, columns) of a training clip.
    width: model width.
    num_layers: number of blocks.
    num_heads: attention heads; the head width is width / num_heads.
    mlp_dim: hidden width of the MLPs.
    positions: 'rotary' (with smooth absolute features and distances;
      extends to other grids) or 'learned' (a table for `grid`, as in MaskGIT).
    scan: loop over compiled blocks instead of unrolling them.
    remat: activations kept for the backward pass (see `nn.blocks`).
    dtype: 'float32' or 'bfloat16' for the computation.
  """

  codebook_size: int = 8192
  code_levels: tuple[int, ...] = ()
  grid: tuple[int, int, int] = (6, 16, 16)
  width: int = 512
  num_layers: int = 8
  num_heads: int = 8
  mlp_dim: int = 2048
  positions: str = 'rotary'
  scan: bool = False
  remat: str = 'none'
  dtype: str = 'float32'

  def __post_init__(self) -> None:
    """Check what no run could work with."""
    check_compute(dtype=self.dtype, remat=self.remat)
    if self.positions not in POSITIONS:
      raise UserError(
        f'unknown positions {self.positions!r}; choose one of {POSITIONS}'
      )
    if self.width % self.num_heads:
      raise UserError(
        f'width {self.width} is no multiple of num_heads {self.num_heads}'
      )
    if self.code_levels and math.prod(self.code_levels) != self.codebook_size:
      raise UserError(
        f'code_levels {self.code_levels} make {math.prod(self.code_levels)} '
        f'codes, but codebook_size is {self.codebook_size}; leave both to '
        'the tokenizer'
      )


# Named sizes. The paper's two text-to-video models are `paper_1p8b` (the
# one behind its videos) and `paper_0p9b` (Phenaki, appendix A.2).
SIZES: dict[str, dict[str, Any]] = {
  'tiny': {'width': 128, 'num_layers': 4, 'num_heads': 4, 'mlp_dim': 512},
  'small': {'width': 192, 'num_layers': 6, 'num_heads': 6, 'mlp_dim': 768},
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
