"""Blur, compression, noise and scale, as decoded or generated frames have."""

import io
import random

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageFilter

from phenaki_jax.types import VideoU8

# The sides to which frames are reduced, in pixels.
_SIDES = (48, 64)
_FILTERS = (
  *(Image.Resampling.BOX, Image.Resampling.BILINEAR),
  Image.Resampling.LANCZOS,
)
_CLEAN_SHARE = 0.25


def resize(
  frames: VideoU8, side: int
) -> UInt8[np.ndarray, 'T {side} {side} 3']:
  """Resize frames to `side` x `side` pixels; frames of that size are kept."""
  if frames.shape[1:3] == (side, side):
    return frames
  size = (side, side)
  return np.stack(
    [
      np.asarray(Image.fromarray(f).resize(size, Image.Resampling.BILINEAR))
      for f in frames
    ]
  )


def blur(frames: VideoU8, radius: float) -> VideoU8:
  """Apply a Gaussian blur; `radius` is its standard deviation in pixels."""
  kernel = ImageFilter.GaussianBlur(radius)
  pictures = [Image.fromarray(frame) for frame in frames]
  return np.stack([np.asarray(one.filter(kernel)) for one in pictures])


def compress(frames: VideoU8, quality: int) -> VideoU8:
  """Encode each frame as JPEG of a quality from 1 to 95, and decode it."""
  decoded = []
  for frame in frames:
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, 'JPEG', quality=quality)
    decoded.append(np.asarray(Image.open(buffer)))
  return np.stack(decoded)


def degrade(
  frames: VideoU8, rng: random.Random, *, side: int
) -> UInt8[np.ndarray, 'T {side} {side} 3']:
  """Reduce the size of frames and degrade them at random.

  The frames are cropped by up to a twentieth at a position between pixels,
  reduced to 48 or 64 pixels, blurred, compressed, made noisy, and resized to
  `side`. The settings are the same for all frames; the noise is not. A quarter
  of the clips are only cropped and reduced.

  Args:
    frames: square frames.
    rng: draws the settings.
    side: side of the result in pixels.
  """
  full = frames.shape[1]
  crop = full * rng.uniform(0.95, 1.0)
  left, top = (rng.uniform(0, full - crop) for _ in range(2))
  box = (left, top, left + crop, top + crop)
  small, kernel = rng.choice(_SIDES), rng.choice(_FILTERS)
  frames = np.stack(
    [
      np.asarray(Image.fromarray(f).resize((small, small), kernel, box=box))
      for f in frames
    ]
  )
  if rng.random() >= _CLEAN_SHARE:
    if rng.random() < 0.5:
      frames = blur(frames, rng.uniform(0.2, 1.1) * small / 64)
    if rng.random() < 0.5:
      frames = compress(frames, rng.randint(35, 95))
    if rng.random() < 0.5:
      noise = np.random.default_rng(rng.getrandbits(64))
      deviation = rng.uniform(1.0, 8.0)
      noisy = frames + noise.normal(0.0, deviation, frames.shape)
      frames = noisy.round().clip(0, 255).astype(np.uint8)
  return resize(frames, side)
