"""The shape of the reader, and the sheets that it learns from."""

from pydantic import PositiveInt

from phenaki_jax.config import validated


@validated
class ReaderConfig:
  """The shape of the reader.

  Attributes:
    sheets: folder of the sheets, for training.
    side: side of the frames that the network sees in pixels, a multiple of 8;
      other frames are resized.
    widths: channels at a half, a quarter and an eighth of `side`.
    depth: residual convolutions at an eighth of `side`; one less at a quarter.
    features: width of what is known of one frame.
  """

  sheets: str = ''
  side: PositiveInt = 64
  widths: tuple[PositiveInt, PositiveInt, PositiveInt] = (32, 48, 96)
  depth: PositiveInt = 2
  features: PositiveInt = 160
