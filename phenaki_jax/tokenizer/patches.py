"""Cut a video into patches: the first frame apart, then tubelets.

The first frame is cut into flat patches, so that an image is a one-frame
video; every later pair of frames is cut into tubelets (Phenaki, section
2.1). Cutting and joining are exact inverses.
"""

from jaxtyping import Array, Float


def cut(
  pixels: Float[Array, 'B T H W C'], tubelet: int, patch: tuple[int, int]
) -> Float[Array, 'B t h w P']:
  """Cut frames into pieces of `tubelet` frames and patches of pixels.

  Args:
    pixels: T = t * tubelet frames.
    tubelet: frames in a piece; 1 for the first frame.
    patch: height and width of a piece in pixels.

  Returns:
    Pieces of P = tubelet * patch height * patch width * C values.
  """
  batch, frames, height, width, channels = pixels.shape
  t, h, w = frames // tubelet, height // patch[0], width // patch[1]
  pieces = pixels.reshape(batch, t, tubelet, h, patch[0], w, patch[1], channels)
  pieces = pieces.transpose(0, 1, 3, 5, 2, 4, 6, 7)
  return pieces.reshape(batch, t, h, w, -1)


def join(
  pieces: Float[Array, 'B t h w P'], tubelet: int, patch: tuple[int, int]
) -> Float[Array, 'B T H W C']:
  """Undo `cut`."""
  batch, t, h, w, size = pieces.shape
  channels = size // (tubelet * patch[0] * patch[1])
  pixels = pieces.reshape(batch, t, h, w, tubelet, *patch, channels)
  pixels = pixels.transpose(0, 1, 4, 2, 5, 3, 6, 7)
  return pixels.reshape(
    batch, t * tubelet, h * patch[0], w * patch[1], channels
  )
