"""Cut a video into patches, and put patches together again.

The first frame is cut into patches of one frame, so that an image is a
one-frame video. The following frames are cut into tubelets, which are patches
of several frames (Phenaki, section 2.1). The two functions are exact inverses.
"""

from jaxtyping import Array, Float


def patchify(
  pixels: Float[Array, 'B T H W C'], tubelet: int, patch: tuple[int, int]
) -> Float[Array, 'B t h w P']:
  """Cut a video into patches of `tubelet` frames.

  Args:
    pixels: T = t * tubelet frames; t may be 0.
    tubelet: frames of a patch; 1 for the first frame.
    patch: height and width of a patch in pixels; they divide H and W.

  Returns:
    Patches of P = tubelet * patch height * patch width * C values.
  """
  batch, frames, height, width, channels = pixels.shape
  t, h, w = frames // tubelet, height // patch[0], width // patch[1]
  x = pixels.reshape(batch, t, tubelet, h, patch[0], w, patch[1], channels)
  x = x.transpose(0, 1, 3, 5, 2, 4, 6, 7)
  return x.reshape(batch, t, h, w, tubelet * patch[0] * patch[1] * channels)


def unpatchify(
  patches: Float[Array, 'B t h w P'], tubelet: int, patch: tuple[int, int]
) -> Float[Array, 'B T H W C']:
  """Undo `patchify`, with the same `tubelet` and `patch`."""
  batch, t, h, w, size = patches.shape
  channels = size // (tubelet * patch[0] * patch[1])
  x = patches.reshape(batch, t, h, w, tubelet, *patch, channels)
  x = x.transpose(0, 1, 4, 2, 5, 3, 6, 7)
  return x.reshape(batch, t * tubelet, h * patch[0], w * patch[1], channels)
