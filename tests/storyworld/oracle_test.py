import collections
import io

import av
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from phenaki_jax import storyworld
from phenaki_jax.storyworld import backdrop
from phenaki_jax.storyworld import facts as facts_lib
from phenaki_jax.storyworld import scene as scene_lib

FRAMES = 9


def _clean(frames, size):
  return frames


def _jpeg(frames, size):
  result = []
  for frame in frames:
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, 'JPEG', quality=75)
    result.append(np.array(Image.open(buffer)))
  return np.stack(result)


def _h264(frames, size):
  buffer = io.BytesIO()
  with av.open(buffer, 'w', format='mp4') as container:
    stream = container.add_stream('libx264', rate=8, options={'crf': '23'})
    stream.height, stream.width = frames.shape[1:3]
    stream.pix_fmt = 'yuv420p'
    for frame in frames:
      picture = av.VideoFrame.from_ndarray(frame, format='rgb24')
      container.mux(stream.encode(picture))
    container.mux(stream.encode())
  buffer.seek(0)
  with av.open(buffer) as container:
    return np.stack(
      [frame.to_ndarray(format='rgb24') for frame in container.decode(video=0)]
    )


def _blurred(frames, sigma):
  soft = ndimage.gaussian_filter(
    frames.astype(np.float32), (0, sigma, sigma, 0)
  )
  return np.clip(soft + 0.5, 0, 255).astype(np.uint8)


def _blur(frames, size):
  return _blurred(frames, 0.5 if size <= 32 else 0.7)


DEGRADATIONS = {'clean': _clean, 'jpeg': _jpeg, 'h264': _h264, 'blur': _blur}


def _mistakes(subset, size, degradation, count, *, image=False):
  """Return, by fact, the share of `count` examples in which it is misread."""
  wrong = collections.Counter()
  asked = collections.Counter()
  for index in range(count):
    if image:
      example = storyworld.training_image(
        7, index, subset, size=size, split='all'
      )
      frames = example.frame[None]
    else:
      example = storyworld.training_clip(
        7, index, subset, frames=FRAMES, size=size, split='all'
      )
      frames = example.frames
    reading = storyworld.read_clip(
      DEGRADATIONS[degradation](frames, size), subset=subset
    )
    for fact, value in example.facts.visible().items():
      asked[fact] += 1
      wrong[fact] += reading[fact] != value
    there = 1 + (example.facts.second is not None)
    # Frames are counted, as in the scores.
    asked['objects'] += reading.objects.size
    wrong['objects'] += int((reading.objects != there).sum())
  return {fact: wrong[fact] / asked[fact] for fact in asked}


def _assert_read(mistakes):
  assert mistakes.keys() >= {'shape', 'colour', 'size', 'place', 'style'}
  assert max(mistakes.values()) <= 0.01, mistakes


@pytest.mark.parametrize('degradation', DEGRADATIONS)
@pytest.mark.parametrize('size', [32, 64])
def test_reads_easy_clips(size, degradation):
  _assert_read(_mistakes('easy', size, degradation, 8))


@pytest.mark.parametrize('subset', ['medium', 'full'])
def test_reads_medium_and_full_clips(subset):
  _assert_read(_mistakes(subset, 64, 'clean', 10))


@pytest.mark.parametrize('subset', ['easy', 'full'])
def test_reads_images_with_image_only_values(subset):
  _assert_read(_mistakes(subset, 64, 'clean', 20, image=True))


@pytest.mark.slow
@pytest.mark.parametrize('degradation', DEGRADATIONS)
@pytest.mark.parametrize(
  'subset, size, count',
  [
    ('easy', 32, 300),
    ('easy', 64, 300),
    ('medium', 64, 200),
    ('full', 64, 200),
    ('full', 128, 40),
  ],
)
def test_reads_many_clips(subset, size, count, degradation):
  _assert_read(_mistakes(subset, size, degradation, count))


@pytest.mark.slow
@pytest.mark.parametrize('subset', storyworld.SUBSETS)
def test_reads_many_images(subset):
  _assert_read(_mistakes(subset, 64, 'clean', 300, image=True))


def test_reads_other_frame_rates_and_rectangles():
  scene = storyworld.Scene(
    facts=storyworld.Facts(
      shape='star', colour='cyan', motion='left', place='road'
    ),
    x=0.1,
    y=0.9,
  )
  frames = storyworld.render_clip(scene, 24, (48, 96), fps=24)
  reading = storyworld.read_clip(frames, subset='full', fps=24)
  assert reading.values == scene.facts.as_dict()


@pytest.mark.parametrize('motion', facts_lib.MOTIONS)
def test_reads_positions_and_motions(motion):
  scene = storyworld.Scene(
    facts=storyworld.Facts(
      shape='heart',
      colour='red',
      motion=motion,
      place='sea',
      size={'shrink': 'small'}.get(motion, 'big'),
    ),
    x=0.95,
    y=0.05,
  )
  frames = storyworld.render_clip(scene, 12, 64)
  reading = storyworld.read_clip(frames, subset='full')
  assert reading['motion'] == motion
  track = scene_lib.track(scene, 0, 12)
  for read, true in ((reading.x, track.x), (reading.y, track.y)):
    off = (read - true + 0.5) % 1 - 0.5
    assert np.abs(off).max() < 0.03
  np.testing.assert_allclose(reading.radius, track.radius, rtol=0.12)


def test_one_frame_has_no_motion():
  scene = storyworld.Scene(
    facts=storyworld.Facts(shape='cross', colour='green', place='snow')
  )
  reading = storyworld.read_clip(
    storyworld.render_clip(scene, 1, 64), subset='full'
  )
  assert reading['motion'] is None
  assert reading['shape'] == 'cross'


def test_empty_place_has_no_object():
  place = backdrop.backdrop('brick', 64, 64)
  frames = np.repeat(place[None].astype(np.uint8), 4, 0)
  reading = storyworld.read_clip(frames, subset='full')
  assert reading['place'] == 'brick'
  others = {f: v for f, v in reading.values.items() if f != 'place'}
  assert set(others.values()) == {None}
  assert np.isnan(reading.x).all()
  assert not reading.objects.any()


def test_a_ghost_is_counted_and_a_speck_is_not():
  facts = storyworld.Facts(shape='circle', colour='red', motion='still')
  scene = storyworld.Scene(facts=facts, x=0.25, y=0.25)
  frames = storyworld.render_clip(scene, 3, 64)
  ghost = np.roll(frames, 32, (1, 2))[1]
  # Half transparent.
  frames[1, 33:, 33:] = frames[1, 33:, 33:] // 2 + ghost[33:, 33:] // 2
  frames[2, 50:53, 50:53] = (255, 255, 255)
  reading = storyworld.read_clip(frames, subset='easy')
  assert reading.objects.tolist() == [1, 2, 1]


def _noise(frames, rng):
  noisy = frames + rng.normal(0, 90, frames.shape)
  return np.clip(noisy, 0, 255).astype(np.uint8)


def _shuffle(frames, rng):
  return frames[rng.permutation(len(frames))]


def _smear(frames, rng):
  return _blurred(frames, frames.shape[1] / 10)


DAMAGE = {'noise': _noise, 'shuffle': _shuffle, 'smear': _smear}


def _mean_score(damage):
  rng = np.random.default_rng(3)
  scores = []
  for index in range(12):
    clip = storyworld.training_clip(11, index, 'medium', frames=FRAMES, size=64)
    frames = clip.frames if damage is None else damage(clip.frames, rng)
    reading = storyworld.read_clip(frames, subset='medium')
    for fact, value in clip.facts.visible().items():
      scores.append(reading[fact] == value)
  return float(np.mean(scores))


def test_undamaged_clips_have_perfect_scores():
  assert _mean_score(None) == 1


@pytest.mark.parametrize(
  'damage, most',
  [
    ('noise', 0.7),
    ('shuffle', 0.95),
    ('smear', 0.8),
  ],
)
def test_damage_lowers_the_score(damage, most):
  assert _mean_score(DAMAGE[damage]) <= most


def test_shuffled_frames_lose_the_motion():
  scene = storyworld.Scene(
    facts=storyworld.Facts(shape='square', colour='red', motion='right')
  )
  frames = storyworld.render_clip(scene, 11, 64)
  shuffled = frames[[4, 9, 0, 7, 2, 10, 5, 1, 8, 3, 6]]
  assert storyworld.read_clip(frames, subset='easy')['motion'] == 'right'
  assert storyworld.read_clip(shuffled, subset='easy')['motion'] != 'right'


def test_half_a_circle_is_not_read_as_a_big_circle():
  facts = storyworld.Facts(shape='circle', colour='red', motion='still')
  scene = storyworld.Scene(facts=facts)
  frames = storyworld.render_clip(scene, 6, 64)
  empty = storyworld.render_clip(storyworld.Scene(facts=facts, x=0.0), 6, 64)
  frames[:, :, 32:48] = empty[:, :, 32:48]
  reading = storyworld.read_clip(frames, subset='full')
  assert reading['shape'] != 'circle' or reading['size'] != 'big'


def test_invalid_arguments_raise():
  with pytest.raises(ValueError, match='uint8'):
    storyworld.read_clip(np.zeros((2, 32, 32, 3), np.float32), subset='easy')
  with pytest.raises(ValueError, match='unknown subset'):
    storyworld.read_clip(np.zeros((2, 32, 32, 3), np.uint8), subset='hard')
