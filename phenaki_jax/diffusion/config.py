"""The shape of the space-time U-Net, and what it is trained to denoise."""

from typing import Literal

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt

from phenaki_jax.config import Share, validated
from phenaki_jax.diffusion.noise import NoiseProcess
from phenaki_jax.diffusion.schedule import Schedule
from phenaki_jax.diffusion.targets import Target
from phenaki_jax.errors import UserError
from phenaki_jax.nn.config import PortsConfig


@validated
class UNetConfig:
  """The shape of a space-time U-Net.

  Attributes:
    widths: channels of each stage, from fine to coarse; each stage has half the
      rows and columns of the one before.
    blocks: residual blocks of a stage, on the way down and on the way up each.
    attention: number of the coarsest stages that have attention.
    head_dim: width of an attention head, which divides the widths there.
    mlp_ratio: hidden width of the MLP after each attention, as a multiple of
      the width; 0 for none.
    patch: side of the squares of pixels that are one position of the first
      stage.
    condition_width: width of the vector of the noise level and the scalars.
    reads_text: whether blocks with attention attend to texts.
    prompt: number of trained vectors before the vectors of every text; see
      `GeneratorConfig`.
    ports: what is read beside the values, their canvas and texts: pixels with
      depth, images, further scalars. Blocks with attention read the memory.
    remat: what the backward pass recomputes: 'none' nothing, 'matmuls' all but
      the matrix products (convolutions within frames are none), 'full' all of
      each block.
    dtype: dtype of the computation; parameters are always float32.
  """

  widths: tuple[PositiveInt, ...] = (32, 64, 128)
  blocks: PositiveInt = 1
  attention: NonNegativeInt = 1
  head_dim: PositiveInt = 32
  mlp_ratio: NonNegativeInt = 0
  patch: PositiveInt = 1
  condition_width: PositiveInt = 128
  reads_text: bool = True
  prompt: NonNegativeInt = 0
  ports: PortsConfig = PortsConfig()
  remat: Literal['none', 'matmuls', 'full'] = 'none'
  dtype: Literal['float32', 'bfloat16'] = 'float32'

  def __post_init__(self) -> None:
    """Check that the heads divide the widths."""
    for width in self.widths[max(0, len(self.widths) - self.attention) :]:
      if width % self.head_dim:
        raise UserError(
          f'diffusion.widths has {width}, which diffusion.head_dim '
          f'{self.head_dim} does not divide; change one of them'
        )
    if self.ports.memory and not self.attention:
      raise UserError(
        f'diffusion.ports.memory is {self.ports.memory}, which blocks with '
        'attention read, but diffusion.attention is 0; set it to at least 1'
      )
    if self.prompt and not self.reads_text:
      raise UserError(
        f'diffusion.prompt is {self.prompt}, but diffusion.reads_text is '
        'False, so that there are no texts that these vectors could stand '
        'before; set it to 0'
      )
    if self.ports.story and not self.reads_text:
      raise UserError(
        'diffusion.ports.story is True, but diffusion.reads_text is False, so '
        'that no captions are read; set one of them to the other value'
      )

  @property
  def divisor(self) -> int:
    """Return what divides the rows and columns of a clip."""
    return self.patch * 2 ** (len(self.widths) - 1)


@validated
class DiffusionConfig(UNetConfig):
  """A diffusion model; see also `UNetConfig`.

  Attributes:
    values: what is denoised. 'pixels': frames. 'latents': what the quantizer of
      a trained tokenizer rounds. 'residual': the difference between frames and
      their enlarged small copies, for super-resolution.
    channels: of the values; 3, but that of the quantizer for latents.
    scale: the values are divided by it, so that their deviation is near 1.
    schedule: how noise grows with the level.
    target: what the network predicts.
    shared_noise: whether all frames of a clip have the same noise.
    start_share: share of the training examples that are noise alone, for a
      model that samples in one step; the others have all levels.
    enlarge: of 'residual': the sides of frames are this multiple of those of
      their small copies.
    degradation: of 'residual': in training, up to this deviation of noise is
      added to the small copies, and its share is the scalar 'degradation'
      (noise augmentation, Ho et al., arXiv 2106.15282, section 4).
  """

  values: Literal['pixels', 'latents', 'residual'] = 'pixels'
  channels: PositiveInt = 3
  scale: PositiveFloat = 1.0
  schedule: Schedule = 'cosine'
  target: Target = 'velocity'
  shared_noise: bool = False
  start_share: Share = 0.0
  enlarge: PositiveInt = 2
  degradation: Share = 0.0

  @property
  def scalars(self) -> tuple[str, ...]:
    """Return the names of the scalars that are read beside the level."""
    return ('degradation',) if self.degradation else ()

  @property
  def canvas_channels(self) -> int:
    """Return the number of channels of the canvas; see `conditions`."""
    return self.channels + 1 if self.values == 'latents' else 6

  @property
  def image_width(self) -> int:
    """Return the width of the vectors of an image in the memory."""
    return self.channels * self.divisor**2

  @property
  def process(self) -> NoiseProcess:
    """Return the process that the model undoes."""
    return NoiseProcess(
      schedule=self.schedule,
      target=self.target,
      shared=self.shared_noise,
      start_share=self.start_share,
      limit=1.0 / self.scale if self.values == 'pixels' else None,
    )
