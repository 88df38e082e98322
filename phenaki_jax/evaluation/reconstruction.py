"""Similarity of decoded frames to the originals: PSNR and SSIM.

Both are computed for each frame of uint8 RGB and then averaged, without padding
frames. PSNR is also reported by position in the clip, because the first frame
has tokens of its own, while later frames share theirs.
"""

import collections
import dataclasses
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from phenaki_jax.tokenizer.losses import frame_mask

_LOG = logging.getLogger(__name__)

MAX_PSNR = 100.0
"""The PSNR of equal frames, in dB; infinity would make every mean infinite."""

# Wang et al. 2004, section III-C.
_WINDOW = 11
_SIGMA = 1.5
_C1 = (0.01 * 255) ** 2
_C2 = (0.03 * 255) ** 2


def psnr(
  a: UInt8[Array, '*B H W 3'], b: UInt8[Array, '*B H W 3']
) -> Float[Array, '*B']:
  """Compute the peak signal-to-noise ratio of each frame, in dB, 0 to 100."""
  error = jnp.mean(jnp.square(_float(a) - _float(b)), axis=(-3, -2, -1))
  least = 255.0**2 / 10 ** (MAX_PSNR / 10)
  return 10 * jnp.log10(255.0**2 / jnp.maximum(error, least))


def ssim(
  a: UInt8[Array, '*B H W 3'], b: UInt8[Array, '*B H W 3']
) -> Float[Array, '*B']:
  """Compute the structural similarity of each frame, in [-1, 1].

  It is the mean over pixels and colours of equation 13 of Wang et al. 2004,
  with their Gaussian window of 11 pixels, where that lies inside the frame.

  Raises:
    ValueError: the frames are smaller than the window.
  """
  if min(a.shape[-3:-1]) < _WINDOW:
    raise ValueError(
      f'SSIM needs frames of at least {_WINDOW}x{_WINDOW} pixels, not '
      f'{a.shape[-3]}x{a.shape[-2]}'
    )
  x, y = _float(a), _float(b)
  mean_x, mean_y = _smooth(x), _smooth(y)
  var_x = _smooth(x * x) - mean_x**2
  var_y = _smooth(y * y) - mean_y**2
  cov = _smooth(x * y) - mean_x * mean_y
  similarity = ((2 * mean_x * mean_y + _C1) * (2 * cov + _C2)) / (
    (mean_x**2 + mean_y**2 + _C1) * (var_x + var_y + _C2)
  )
  return jnp.mean(similarity, axis=(-3, -2, -1))


@dataclasses.dataclass(kw_only=True, eq=False)
class ReconstructionEvaluator:
  """Compares held-out clips with their reconstructions by the tokenizer.

  Attributes:
    predict: maps (state, pixels uint8 [B, T, H, W, 3], num_frames int32 [B]) to
      decoded pixels of the same type and shape.
    clips: the `clips` parts of batches; every run iterates over them again, so
      that its results are comparable.
    every: steps between two evaluations; 0 never evaluates in training.
    num_shown: number of clips in the video, from the first batch.
  """

  predict: Callable[[Any, Array, Array], Array]
  clips: Iterable[Mapping[str, np.ndarray]]
  every: int
  num_shown: int = 4
  _is_warned: bool = dataclasses.field(default=False, init=False)

  def run(
    self, step: int, state: Any
  ) -> Iterator[tuple[str, float | np.ndarray]]:
    """Yield means over all frames and a video.

    These are `psnr`, `psnr_frame_00` and so on by position, `ssim` if the
    frames are large enough, and a video `reconstruction` with the originals
    above the decoded clips.

    Raises:
      ValueError: there are no clips.
    """
    # Sums and counts weight all frames equally, also in a small last batch.
    sums: dict[str, Any] = collections.defaultdict(lambda: np.zeros(2))

    def add(name: str, values: Any, mask: np.ndarray) -> None:
      kept = np.asarray(values, np.float64)[mask]
      sums[name] += (kept.sum(), kept.size)

    video: np.ndarray | None = None
    for clip in self.clips:
      pixels = jnp.asarray(clip['pixels'])
      num_frames = jnp.asarray(clip['num_frames'])
      decoded = self.predict(state, pixels, num_frames)
      if video is None:
        video = _side_by_side(pixels, decoded, self.num_shown)
      mask = np.asarray(frame_mask(num_frames, pixels.shape[1]))
      for name, values in compare(pixels, decoded).items():
        add(name, values, mask)
        for t in range(mask.shape[1] if name == 'psnr' else 0):
          add(f'psnr_frame_{t:02d}', values[:, t], mask[:, t])
    if video is None:
      raise ValueError('there are no clips to reconstruct')
    if 'ssim' not in sums and not self._is_warned:
      self._is_warned = True
      _LOG.warning(
        'SSIM is left out: its window needs frames of at least %dx%d pixels',
        _WINDOW,
        _WINDOW,
      )
    for name, (total, count) in sorted(sums.items()):
      if count:
        yield name, float(total / count)
    yield 'reconstruction', video


def _float(pixels: UInt8[Array, '*B']) -> Float[Array, '*B']:
  return pixels.astype(jnp.float32)


def _smooth(x: Float[Array, '*B H W C']) -> Float[Array, '*B rows columns C']:
  """Average with the Gaussian window, first over rows and then over columns."""
  offset = np.arange(_WINDOW) - _WINDOW // 2
  weights = np.exp(-(offset**2) / (2 * _SIGMA**2))
  weights /= weights.sum()
  for axis in (-3, -2):
    size = x.shape[axis] - _WINDOW + 1
    shifted = (
      float(weight) * jax.lax.slice_in_dim(x, i, i + size, axis=axis)
      for i, weight in enumerate(weights)
    )
    x = sum(shifted, start=jnp.zeros((), x.dtype))
  return x


@jax.jit
def compare(
  a: UInt8[Array, '*B H W 3'], b: UInt8[Array, '*B H W 3']
) -> dict[str, Float[Array, '*B']]:
  """Compute `psnr` of each frame, and `ssim` if the frames are large enough."""
  values = {'psnr': psnr(a, b)}
  if min(a.shape[-3:-1]) >= _WINDOW:
    values['ssim'] = ssim(a, b)
  return values


def _side_by_side(original: Any, decoded: Any, count: int) -> np.ndarray:
  """Return a video, uint8 [T, 2H, count*W, 3]."""
  rows = [
    np.concatenate(list(np.asarray(clips)[:count]), axis=2)
    for clips in (original, decoded)
  ]
  return np.concatenate(rows, axis=1)
