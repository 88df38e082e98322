"""PSNR and SSIM against plain loops, and the evaluator that uses them."""

import logging
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import signal

from phenaki_jax.evaluation import reconstruction
from phenaki_jax.evaluation.reconstruction import ReconstructionEvaluator
from phenaki_jax.tokenizer.losses import frame_mask

SSIM = jax.jit(reconstruction.ssim)


def noise(seed, *shape):
  return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def smooth_frames(seed, *shape):
  coarse = noise(seed, *shape[:-3], shape[-3] // 4, shape[-2] // 4, 3)
  return coarse.repeat(4, axis=-3).repeat(4, axis=-2)


def damaged(frames, amount, seed=9):
  shift = np.random.default_rng(seed).normal(0, amount, frames.shape)
  return np.clip(frames + shift, 0, 255).astype(np.uint8)


def naive_ssim(a, b):
  """Follow Wang et al. 2004 with a two-dimensional window."""
  offset = np.arange(11) - 5
  line = np.exp(-(offset**2) / (2 * 1.5**2))
  window = np.outer(line, line) / np.outer(line, line).sum()

  def smooth(x):
    return signal.convolve2d(x, window, mode='valid')

  values = []
  for c in range(3):
    x, y = a[..., c].astype(np.float64), b[..., c].astype(np.float64)
    mx, my = smooth(x), smooth(y)
    vx, vy = smooth(x * x) - mx**2, smooth(y * y) - my**2
    cov = smooth(x * y) - mx * my
    c1, c2 = 6.5025, 58.5225
    values.append(
      (2 * mx * my + c1)
      * (2 * cov + c2)
      / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    )
  return np.mean(values)


def test_psnr_follows_its_definition():
  a = noise(0, 2, 3, 8, 12, 3)
  b = damaged(a, 20)
  actual = reconstruction.psnr(jnp.asarray(a), jnp.asarray(b))
  assert actual.shape == (2, 3)
  for i in np.ndindex(2, 3):
    error = np.mean((a[i].astype(float) - b[i]) ** 2)
    expected = 20 * math.log10(255) - 10 * math.log10(error)
    assert actual[i] == pytest.approx(expected, abs=1e-3)


def test_psnr_of_equal_and_opposite_frames():
  black, white = jnp.zeros((4, 4, 3), jnp.uint8), jnp.full((4, 4, 3), 255)
  white = white.astype(jnp.uint8)
  assert reconstruction.psnr(black, black) == pytest.approx(100.0, abs=1e-4)
  assert reconstruction.psnr(black, white) == pytest.approx(0.0, abs=1e-4)


def test_ssim_follows_the_paper():
  a = smooth_frames(1, 2, 24, 16, 3)
  b = damaged(a, 25)
  actual = SSIM(jnp.asarray(a), jnp.asarray(b))
  expected = [naive_ssim(x, y) for x, y in zip(a, b, strict=True)]
  assert 0.05 < expected[0] < 0.95
  np.testing.assert_allclose(actual, expected, atol=2e-4)


def test_ssim_of_equal_frames_is_one_and_of_noise_near_zero():
  a = jnp.asarray(noise(0, 32, 32, 3))
  assert SSIM(a, a) == pytest.approx(1.0, abs=1e-5)
  b = jnp.asarray(noise(1, 32, 32, 3))
  assert abs(SSIM(a, b)) < 0.1


def test_more_damage_lowers_both():
  clean = smooth_frames(0, 32, 32, 3)
  for measure in (reconstruction.psnr, SSIM):
    values = [
      float(measure(jnp.asarray(clean), jnp.asarray(damaged(clean, amount))))
      for amount in (2, 10, 40)
    ]
    assert values == sorted(values, reverse=True)


def test_ssim_of_frames_below_its_window_raises():
  small = jnp.zeros((10, 40, 3), jnp.uint8)
  with pytest.raises(ValueError, match='at least 11x11 pixels, not 10x40'):
    reconstruction.ssim(small, small)


class TestEvaluator:
  def clips(self, size=16):
    return [
      {'pixels': smooth_frames(0, 3, 5, size, size, 3), 'num_frames': count}
      for count in (np.array([5, 3, 1], np.int32),)
    ] + [
      {
        'pixels': smooth_frames(1, 1, 5, size, size, 3),
        'num_frames': np.array([3], np.int32),
      }
    ]

  def predict(self, state, pixels, num_frames):
    """Damage real frames depending on `state`, and padding frames fully."""
    mask = frame_mask(num_frames, pixels.shape[1])
    padded = ~mask[:, :, None, None, None]
    low = pixels // 2
    return jnp.where(padded, 255 - pixels, low + jnp.uint8(state))

  def run(self, state=3, size=16):
    evaluator = ReconstructionEvaluator(
      predict=self.predict, clips=self.clips(size), every=10, num_shown=2
    )
    return dict(evaluator.run(0, state))

  def test_padding_does_not_count_and_frames_have_equal_weight(self):
    values = self.run()
    expected: dict[int, list[float]] = {}
    for clip in self.clips():
      decoded = np.asarray(self.predict(3, *map(jnp.asarray, clip.values())))
      for b, count in enumerate(clip['num_frames']):
        for t in range(count):
          error = np.mean(
            (clip['pixels'][b, t].astype(float) - decoded[b, t]) ** 2
          )
          psnr = 20 * math.log10(255) - 10 * math.log10(error)
          expected.setdefault(t, []).append(psnr)
    for t, per_frame in expected.items():
      assert values[f'psnr_frame_{t:02d}'] == pytest.approx(
        np.mean(per_frame), abs=1e-3
      )
    everything = sum(expected.values(), [])
    assert len(everything) == 5 + 3 + 1 + 3
    assert values['psnr'] == pytest.approx(np.mean(everything), abs=1e-3)

  def test_results_are_comparable_between_runs(self):
    first, second = self.run(), self.run()
    assert list(first) == list(second)
    assert first['psnr'] == second['psnr']
    # Adding a constant to halved pixels restores their mean.
    assert self.run(state=64)['psnr'] > first['psnr'] + 1

  def test_video_shows_originals_above_decoded_clips(self):
    video = self.run()['reconstruction']
    assert video.shape == (5, 32, 32, 3)
    assert video.dtype == np.uint8
    pixels = self.clips()[0]['pixels']
    np.testing.assert_array_equal(video[:, :16, 16:], pixels[1])
    np.testing.assert_array_equal(video[0, 16:, :16], pixels[0, 0] // 2 + 3)

  def test_small_frames_have_no_ssim_and_are_logged_once(self, caplog):
    evaluator = ReconstructionEvaluator(
      predict=self.predict, clips=self.clips(8), every=0
    )
    with caplog.at_level(logging.WARNING):
      for step in range(2):
        assert 'ssim' not in dict(evaluator.run(step, 3))
    assert caplog.text.count('SSIM is left out') == 1

  def test_no_clips_raises(self):
    evaluator = ReconstructionEvaluator(predict=self.predict, clips=[], every=0)
    with pytest.raises(ValueError, match='no clips'):
      list(evaluator.run(0, 3))
