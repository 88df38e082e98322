"""Reconstructions are compared whole, in the box and by their facts."""

import numpy as np
import pytest

from phenaki_jax import storyworld
from phenaki_jax.evaluation.fidelity import psnr_inside, report_fidelity
from phenaki_jax.evaluation.storyworld import StoryWorld

WORLD = StoryWorld(subset=storyworld.subset_named('easy'))


def _batches():
  clips = [
    storyworld.training_clip(3, index, 'easy', frames=5, size=32).frames
    for index in range(4)
  ]
  clips[1] = np.concatenate([clips[1][:3], clips[1][2:3], clips[1][2:3]])
  yield {'pixels': np.stack(clips[:2]), 'num_frames': np.array([5, 3])}
  yield {'pixels': np.stack(clips[2:]), 'num_frames': np.array([5, 5])}


def _expected(copy):
  """Compute the PSNR of each frame that is no padding, by position."""
  found = [[], [], [], [], []]
  for batch in _batches():
    for clip, count in zip(batch['pixels'], batch['num_frames'], strict=True):
      for place, frame in enumerate(clip[:count]):
        error = ((frame.astype(float) - copy(frame)) ** 2).mean()
        found[place].append(10 * np.log10(255**2 / error))
  return found


def test_equal_clips_are_perfect():
  done = []
  report = report_fidelity(
    lambda pixels: pixels, _batches(), world=WORLD, on_done=done.append
  )
  assert done == [2, 2] and report.clips == 4
  assert set(report.means) == {
    *('psnr', 'psnr_first', 'psnr_later', 'psnr_box', 'ssim')
  }
  assert report.means['psnr_box'] == report.means['psnr'] == 100
  assert report.facts['place'].asked == 4
  assert report.facts.total.accuracy == 1
  assert len(report.samples) == 4
  assert [len(original) for original, _ in report.samples] == [5, 3, 5, 5]


def test_means_leave_out_padding_and_part_first_frames():
  def darker(pixels):
    pixels = pixels.copy()
    # The first frame of a clip is decoded exactly half as well.
    pixels[:, 0] = pixels[:, 0] // 2
    pixels[:, 1:] = pixels[:, 1:] - pixels[:, 1:] // 4
    return pixels

  report = report_fidelity(darker, _batches(), world=None)
  first = _expected(lambda frame: (frame // 2).astype(float))[0]
  later = _expected(lambda frame: (frame - frame // 4).astype(float))[1:]
  assert report.means['psnr_first'] == pytest.approx(np.mean(first), abs=1e-3)
  flat = [value for place in later for value in place]
  assert report.means['psnr_later'] == pytest.approx(np.mean(flat), abs=1e-3)
  assert report.positions[2] == pytest.approx(np.mean(later[1]), abs=1e-3)
  assert len(report.positions) == 5
  assert not report.facts and 'psnr_box' not in report.means


def test_lost_object_lowers_the_box_and_its_facts():
  def empty(pixels):
    # The corner of the clips shows the place alone.
    return np.broadcast_to(
      np.median(pixels, axis=(2, 3), keepdims=True), pixels.shape
    ).astype(np.uint8)

  report = report_fidelity(empty, _batches(), world=WORLD)
  assert report.means['psnr_box'] < report.means['psnr']
  assert report.facts['shape'].accuracy < 0.5


def test_only_the_box_counts():
  rng = np.random.default_rng(0)
  frames = rng.integers(0, 256, (3, 8, 8, 3)).astype(np.uint8)
  box = np.zeros((3, 8, 8), bool)
  box[:2, 2:5, 3:6] = True
  other = frames.copy()
  other[:, 0] = 255 - other[:, 0]
  assert psnr_inside(frames, other, box) == [100, 100]
  other[0, 2:5, 3:6] = frames[0, 2:5, 3:6] ^ 8
  inside, exact = psnr_inside(frames, other, box)
  assert inside == pytest.approx(20 * np.log10(255 / 8)) and exact == 100
