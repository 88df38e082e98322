"""The shape of a C-ViViT tokenizer, and the named sizes."""

import dataclasses
import math
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from phenaki_jax.config import validated
from phenaki_jax.errors import UserError
from phenaki_jax.nn.config import TransformerConfig


@validated
class TokenizerConfig(TransformerConfig):
  """The shape of a C-ViViT; see also `TransformerConfig`.

  Attributes:
    patch: height and width of a patch in pixels.
    tubelet: frames per latent frame after the first frame.
    first_frame: how the first frame is encoded and decoded. 'apart': by its
      own layers, as in the paper. 'repeated': as a tubelet of copies of that
      frame, by the layers of all other tubelets, so that an image has the
      same tokens as a still clip, and tokens that only images train can be
      used throughout a clip.
    spatial_layers: blocks inside a latent frame, in encoder and decoder each.
    temporal_layers: causal blocks over time, in encoder and decoder each.
    encoder_spatial_layers: spatial blocks of the encoder, if they differ from
      the decoder's. With 0 a token depends only on its own patch and not on
      its position, so identical patches get identical tokens. With more, small
      tokenizers hide parts of an object in the tokens of the background,
      which a generator can then hardly predict.
    temporal_window: latent frames, its own included, to which a latent frame
      attends over time; None: all earlier ones. With a window, clips of any
      length are encoded and decoded in constant memory (see `streaming`).
    quantizer: 'fsq', 'vq' or 'lfq'.
    fsq_levels: number of values of each FSQ dimension; even or odd.
    vq_codes: number of VQ codes.
    vq_dim: width in which VQ codes are looked up.
    lfq_bits: number of bits of LFQ's ids, which are 2**bits.
    lfq_entropy: weight of LFQ's entropy terms.
    commitment: weight of the commitment term of VQ and LFQ (Phenaki: 0.25).
  """

  patch: tuple[PositiveInt, PositiveInt] = (8, 8)
  tubelet: PositiveInt = 2
  first_frame: Literal['apart', 'repeated'] = 'apart'
  spatial_layers: NonNegativeInt = 4
  temporal_layers: NonNegativeInt = 4
  encoder_spatial_layers: NonNegativeInt | None = None
  temporal_window: PositiveInt | None = None
  quantizer: Literal['fsq', 'vq', 'lfq'] = 'fsq'
  fsq_levels: tuple[Annotated[int, Field(ge=2)], ...] = (8, 8, 5, 5)
  vq_codes: PositiveInt = 8192
  vq_dim: PositiveInt = 32
  lfq_bits: Annotated[int, Field(ge=1, le=18)] = 13
  lfq_entropy: NonNegativeFloat = 0.1
  commitment: NonNegativeFloat = 0.25

  @property
  def codebook_size(self) -> int:
    """Return the number of token ids."""
    if self.quantizer == 'fsq':
      return math.prod(self.fsq_levels)
    if self.quantizer == 'lfq':
      return 2**self.lfq_bits
    return self.vq_codes

  @property
  def latent_width(self) -> int:
    """Return the number of channels of continuous latents."""
    widths = {
      'fsq': len(self.fsq_levels),
      'vq': self.vq_dim,
      'lfq': self.lfq_bits,
    }
    return widths[self.quantizer]

  @property
  def code_levels(self) -> tuple[int, ...]:
    """Return the number of values of each FSQ digit; empty with VQ."""
    return self.fsq_levels if self.quantizer == 'fsq' else ()

  @property
  def latent_frames_of_image(self) -> int:
    """Return the latent frames that an image becomes in training.

    If the first frame is repeated, a still clip has the tokens of its image.
    Two latent frames let later latent frames learn from images as well; without
    temporal layers the second would only repeat the first.
    """
    return 2 if self.first_frame == 'repeated' and self.temporal_layers else 1

  def per_frame(self) -> 'TokenizerConfig':
    """Return the per-frame ViT-VQGAN of the same width and depth.

    It is the baseline of Phenaki's table 3: every frame is cut into patches and
    has tokens of its own, and no layer sees two frames.
    """
    return dataclasses.replace(
      self,
      tubelet=1,
      first_frame='repeated',
      encoder_spatial_layers=None
      if self.encoder_spatial_layers is None
      else self.encoder_spatial_layers + self.temporal_layers,
      spatial_layers=self.spatial_layers + self.temporal_layers,
      temporal_layers=0,
      temporal_window=None,
    )

  def grid(self, frames: int, size: tuple[int, int]) -> tuple[int, int, int]:
    """Compute the token grid of a clip.

    Args:
      frames: 1 + k * tubelet frames.
      size: height and width in pixels, multiples of the patch.

    Returns:
      The numbers of latent frames, rows and columns.

    Raises:
      UserError: the clip is not a whole number of tubelets or patches.
    """
    if frames < 1 or (frames - 1) % self.tubelet:
      below = 1 + max(0, frames - 1) // self.tubelet * self.tubelet
      raise UserError(
        f'{frames} frames are not one frame and a whole number of tubelets of '
        f'{self.tubelet} frames; use {below} or {below + self.tubelet} frames'
      )
    for name, length, patch in zip(
      ('height', 'width'), size, self.patch, strict=True
    ):
      if length < patch or length % patch:
        raise UserError(
          f'a {name} of {length} pixels is not a multiple of the patch '
          f'({patch}); use {max(1, round(length / patch)) * patch}'
        )
    return (
      1 + (frames - 1) // self.tubelet,
      size[0] // self.patch[0],
      size[1] // self.patch[1],
    )


# Named sizes: `tiny` trains in minutes on two cores, and `paper` is the
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
  'paper': {'width': 512, 'num_heads': 8, 'mlp_dim': 2048, 'quantizer': 'vq'},
}
