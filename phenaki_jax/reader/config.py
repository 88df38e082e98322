"""The shape of the reader, and the drawings or stories it learns from."""

from pydantic import PositiveInt

from phenaki_jax.config import validated
from phenaki_jax.errors import UserError


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


@validated
class CharactersConfig:
  """The labelled stories of which a reader learns the characters.

  Attributes:
    stories: HDF5 file that `phenaki data stories` wrote; empty for a reader of
      the sprite world.
    names: the characters, in the order of the labels in the file.
  """

  stories: str = ''
  names: tuple[str, ...] = ()

  def __post_init__(self) -> None:
    if self.stories and not self.names:
      raise UserError(
        f'characters.stories is {self.stories}, but characters.names is empty; '
        'name the characters in the order of its labels'
      )
