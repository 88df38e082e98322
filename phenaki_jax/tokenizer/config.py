"""The shape of a C-ViViT tokenizer, and the named sizes."""

import dataclasses
import math
from typing import Any

from phenaki_jax.errors import UserError
from phenaki_jax.nn.compute import check_compute


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenizerConfig:
  """Describe a C-ViViT.

  Attributes:
    patch: height and width of a patch in pixels.
    tubelet: frames of one latent step after the first frame.
    first_frame: how the first frame enters and leaves. 'apart': by layers of
      its own, as in the paper. 'repeated': as a tubelet of that frame alone,
      by the layers of all the others, so that an image has the tokens of a
      clip that stands still. What only images show then has tokens that the
      rest of a clip can use.
    width: model width.
    num_heads: attention heads; the head width is width / num_heads.
    mlp_dim: hidden width of the MLPs.
    spatial_layers: blocks inside a frame, on each side.
    temporal_layers: causal blocks over time, on each side.
    encoder_spatial_layers: blocks inside a frame of the encoder, where they
      differ from the decoder's. With 0 a token depends on its own patch
      alone, wherever in the frame that is, so that the same sight has the
      same token: with more, small tokenizers hide parts of an object in the
      tokens of the background, which are then hard for a generator to guess.
    quantizer: 'fsq' or 'vq'.
    fsq_levels: number of values of each FSQ dimension; even or odd, >= 2.
    vq_codes: number of VQ codes.
    vq_dim: width in which VQ codes are looked up.
    commitment: weight of VQ's commitment term (Phenaki: 0.25).
    scan: loop over compiled blocks instead of unrolling them.
    remat: activations kept for the backward pass (see `nn.blocks`).
    dtype: 'float32' or 'bfloat16' for the computation.
  """

  patch: tuple[int, int] = (8, 8)
  tubelet: int = 2
  first_frame: str = 'apart'
  width: int = 512
  num_heads: int = 8
  mlp_dim: int = 2048
  spatial_layers: int = 4
  temporal_layers: int = 4
  encoder_spatial_layers: int | None = None
  quantizer: str = 'fsq'
  fsq_levels: tuple[int, ...] = (8, 8, 5, 5)
  vq_codes: int = 8192
  vq_dim: int = 32
  commitment: float = 0.25
  scan: bool = False
  remat: str = 'none'
  dtype: str = 'float32'

  def __post_init__(self) -> None:
    """Check what no run could work with."""
    check_compute(dtype=self.dtype, remat=self.remat)
    if self.quantizer not in ('fsq', 'vq'):
      raise UserError(
        f"unknown quantizer {self.quantizer!r}; choose 'fsq' or 'vq'"
      )
    if self.first_frame not in ('apart', 'repeated'):
      raise UserError(
        f"unknown first_frame {self.first_frame!r}; choose 'apart' or "
        "'repeated'"
      )
    if self.width % self.num_heads:
      raise UserError(
        f'width {self.width} is no multiple of num_heads {self.num_heads}'
      )
    if any(level < 2 for level in self.fsq_levels):
      raise UserError(
        f'fsq_levels {self.fsq_levels}: each dimension needs 2 or more values'
      )

  @property
  def codebook_size(self) -> int:
    """Return the number of token ids."""
    if self.quantizer == 'fsq':
      return math.prod(self.fsq_levels)
    return self.vq_codes

  @property
  def code_levels(self) -> tuple[int, ...]:
    """Return the number of values of each digit of a token id, if any."""
    return self.fsq_levels if self.quantizer == 'fsq' else ()

  def grid(self, frames: int, size: tuple[int, int]) -> tuple[int, int, int]:
    """Compute the token grid of a clip.

    Args:
      frames: 1 + k * tubelet frames.
      size: height and width in pixels, multiples of the patch.

    Returns:
      Latent steps, rows and columns.

    Raises:
      UserError: the patch or the tubelet does not divide the clip.
    """
    if frames < 1 or (frames - 1) % self.tubelet:
      below = 1 + max(0, frames - 1) // self.tubelet * self.tubelet
      raise UserError(
        f'{frames} frames cannot be cut into one frame and pieces of '
        f'{self.tubelet}; use {below} or {below + self.tubelet} frames.'
      )
    for name, length, patch in zip(
      ('height', 'width'), size, self.patch, strict=True
    ):
      if length < patch or length % patch:
        raise UserError(
          f'a {name} of {length} pixels is no multiple of the patch '
          f'({patch}); use {max(1, round(length / patch)) * patch}.'
        )
    return (
      1 + (frames - 1) // self.tubelet,
      size[0] // self.patch[0],
      size[1] // self.patch[1],
    )


# Named sizes; `tiny` trains in minutes on two cores, `paper` is the
# tokenizer of Phenaki's appendix.
SIZES: dict[str, dict[str, Any]] = {
  'tiny': {
    'width': 128,
    'num_heads': 4,
    'mlp_dim': 512,
    'spatial_layers': 2,
    'temporal_layers': 1,
    'encoder_spatial_layers': 0,
    'first_frame': 'repeated',
    'fsq_levels': (8, 8, 5, 5),
  },
  'base': {'width': 512, 'num_heads': 8, 'mlp_dim': 2048},
  'paper': {
    'width': 512,
    'num_heads': 8,
    'mlp_dim': 2048,
    'quantizer': 'vq',
  },
}
