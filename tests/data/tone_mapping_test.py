import numpy as np
import pytest

from phenaki_jax.data import schema, tone_mapping

PQ, HLG = tone_mapping.PQ, tone_mapping.HLG
TO_BT2020 = np.array(
  [
    [0.627404, 0.329283, 0.043313],
    [0.069097, 0.919540, 0.011362],
    [0.016391, 0.088013, 0.895595],
  ]
)  # From BT.709; ITU-R BT.2087.


def light(srgb):
  """Return the linear light of sRGB values, 0 to 255; white is 1."""
  value = np.asarray(srgb) / 255
  return np.where(
    value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4
  )


def encoded(linear, transfer):
  """Return the levels of light in cd/m2; see ITU-R BT.2100 and `zscale`."""
  if transfer == PQ:
    power = (linear / 10_000) ** 0.1593017578125
    value = (0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)
    value = value**78.84375
  else:
    scene = (linear / 1000) ** (1 / 1.2)
    high = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9))
    value = np.where(scene <= 1 / 12, np.sqrt(3 * scene), high + 0.55991073)
  return np.round(np.clip(value, 0, 1) * 65535).astype(np.uint16)


@pytest.mark.parametrize('transfer', [PQ, HLG])
def test_srgb_at_203_nits_is_restored(transfer):
  rng = np.random.default_rng(0)
  srgb = rng.integers(8, 256, (40, 40, 3))
  levels = encoded(203 * light(srgb) @ TO_BT2020.T, transfer)
  found = tone_mapping.to_sdr(levels, transfer=transfer, primaries=9)
  assert found.dtype == np.uint8
  np.testing.assert_allclose(found.astype(int), srgb, atol=2)


def test_primaries_are_converted():
  grey = np.full((2, 2, 3), 20_000, np.uint16)
  for primaries in (1, 2, 9, 12):
    found = tone_mapping.to_sdr(grey, transfer=PQ, primaries=primaries)
    assert np.ptp(found.astype(int)) <= 1
  green = np.zeros((1, 1, 3), np.uint16)
  green[..., 1] = 30_000
  by_primaries = {
    primaries: int(
      tone_mapping.to_sdr(green, transfer=PQ, primaries=primaries)[0, 0, 1]
    )
    for primaries in (1, 9, 12)
  }
  assert by_primaries[1] < by_primaries[12] < by_primaries[9]
  with pytest.raises(schema.DecodeError, match='hdr_not_supported'):
    tone_mapping.to_sdr(grey, transfer=PQ, primaries=10)


@pytest.mark.parametrize('transfer', [PQ, HLG])
def test_highlights_are_compressed_in_order(transfer):
  nits = np.linspace(1, 990, 200)
  levels = encoded(np.repeat(nits[None, :, None], 3, axis=2), transfer)
  found = tone_mapping.to_sdr(levels, transfer=transfer, primaries=9)[0, :, 0]
  steps = np.diff(found.astype(int))
  assert (steps >= 0).all() and found[-1] == 255
  assert 200 < found[np.searchsorted(nits, 203)] < 250
  dark = nits < 150
  expected = np.clip(light(np.arange(256))[found[dark]], 0, 1) * 203
  np.testing.assert_allclose(expected, nits[dark], rtol=0.06, atol=0.1)


def test_extreme_levels_are_finite():
  levels = np.array([[[0, 0, 0], [65535, 0, 0], [65535] * 3]], np.uint16)
  for transfer in (PQ, HLG):
    found = tone_mapping.to_sdr(levels, transfer=transfer, primaries=9)
    assert found[0, 0].max() == 0 and found[0, 2].min() >= 250


def test_an_overshooting_colour_does_not_darken_the_frame():
  rng = np.random.default_rng(0)
  srgb = rng.integers(8, 256, (40, 40, 3))
  linear = 203 * light(srgb) @ TO_BT2020.T
  linear[0] = np.array([900.0, 0, 0]) @ TO_BT2020.T
  levels = encoded(linear, PQ)
  found = tone_mapping.to_sdr(levels, transfer=PQ, primaries=9)
  assert found[0, :, 0].min() >= 250
  np.testing.assert_allclose(found[1:].astype(int), srgb[1:], atol=2)
