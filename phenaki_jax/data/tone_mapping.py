"""Conversion of high dynamic range to sRGB.

Frames in PQ or HLG (ITU-R BT.2100) are made linear, so that 1.0 is the
reference white of 203 cd/m2 (ITU-R BT.2408). Up to that level sRGB content is
restored exactly. The highlights of a brighter frame are compressed by the
`mobius` curve of FFmpeg's filter `tonemap`. The system gamma of HLG is applied
to each channel, as FFmpeg's filter `zscale` does by default, and not to the
luminance.
"""

import functools

import numpy as np
from jaxtyping import Float, UInt8, UInt16

from phenaki_jax.data import schema

# Numbers of ITU-T H.273.
PQ, HLG = 16, 18
_UNSPECIFIED, _BT709, _BT2020, _DISPLAY_P3 = 2, 1, 9, 12

_WHITE = 203.0  # cd/m2
_HLG_PEAK, _HLG_GAMMA = 1000.0, 1.2  # cd/m2, and the gamma of that peak
_LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)  # of BT.709
_KNEE = 0.75  # Lower values are not compressed.

# From linear primaries to those of sRGB.
_TO_SRGB = {
  _BT2020: (
    (1.660491, -0.587641, -0.072850),
    (-0.124550, 1.132900, -0.008349),
    (-0.018151, -0.100579, 1.118730),
  ),
  _DISPLAY_P3: (
    (1.224940, -0.224940, 0.0),
    (-0.042057, 1.042057, 0.0),
    (-0.019638, -0.078636, 1.098274),
  ),
  _BT709: np.eye(3),
}
_TO_SRGB[_UNSPECIFIED] = _TO_SRGB[_BT2020]


def to_sdr(
  pixels: UInt16[np.ndarray, 'H W 3'], *, transfer: int, primaries: int
) -> UInt8[np.ndarray, 'H W 3']:
  """Convert RGB with a PQ or HLG transfer function to sRGB.

  Args:
    pixels: 0 to 65535.
    transfer: PQ or HLG.
    primaries: number of ITU-T H.273; if unspecified, those of BT.2020.

  Raises:
    schema.DecodeError: 'hdr_not_supported', for other primaries.
  """
  if primaries not in _TO_SRGB:
    raise schema.DecodeError('hdr_not_supported', f'primaries {primaries}')
  linear = _linear(transfer)[pixels]
  linear = linear @ np.asarray(_TO_SRGB[primaries], np.float32).T
  linear = _compressed(np.maximum(linear, 0.0))
  return _srgb()[np.round(np.minimum(linear, 1.0) * 65535).astype(np.uint16)]


def _compressed(linear: Float[np.ndarray, 'H W 3']) -> np.ndarray:
  """Compress the highlights of a frame, and keep the hue.

  The peak is that of the luminance: subsampled colours overshoot at edges,
  which must not darken the frame.
  """
  brightest = linear.max(axis=-1, keepdims=True)
  peak = float((linear @ _LUMINANCE).max(initial=0.0))
  if peak <= 1.0:
    return linear
  a = -(_KNEE**2) * (peak - 1) / (_KNEE**2 - 2 * _KNEE + peak)
  b = (_KNEE**2 - 2 * _KNEE * peak + peak) / max(peak - 1, 1e-6)
  scale = (b * b + 2 * b * _KNEE + _KNEE**2) / (b - a)
  high = np.maximum(brightest, _KNEE)
  mapped = scale * (high + a) / (high + b)
  return np.where(brightest > _KNEE, linear * (mapped / high), linear)


@functools.cache
def _linear(transfer: int) -> Float[np.ndarray, '65536']:
  """Return the light of each level; 1.0 is white."""
  levels = np.arange(65536) / 65535
  if transfer == PQ:
    root = levels ** (32 / 2523)
    light = np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)
    light = 10_000 / _WHITE * light ** (16384 / 2610)
  else:
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    high = (np.exp((levels - c) / a) + b) / 12
    scene = np.where(levels <= 0.5, levels**2 / 3, high)
    light = _HLG_PEAK / _WHITE * scene**_HLG_GAMMA
  return light.astype(np.float32)


@functools.cache
def _srgb() -> UInt8[np.ndarray, '65536']:
  """Return the sRGB value of each level of light."""
  light = np.arange(65536) / 65535
  high = 1.055 * light ** (1 / 2.4) - 0.055
  encoded = np.where(light <= 0.0031308, 12.92 * light, high)
  return np.round(encoded * 255).astype(np.uint8)
