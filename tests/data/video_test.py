import contextlib
import io
import pathlib
import random
from fractions import Fraction

import av
import numpy as np
import pytest
from av.stream import Disposition

from phenaki_jax.data import display, schema, video

SIZE = (16, 16)
CASES = pathlib.Path(__file__).parent / 'cases'


def shown(frames):
  """Return the mean grey of each frame."""
  return frames.reshape(len(frames), -1).mean(axis=1)


@pytest.mark.parametrize(
  'tubelet, duration, frames, valid, last_start',
  [
    (2, 1.5, 9, 9, 0.5),  # 12 frames fit, 9 are requested
    (2, 0.9, 9, 7, 0.15),  # 8 fit; 7 is the largest 1 + 2k
    (2, 0.25, 9, 1, 0.25),
    (2, 0.01, 9, 1, 0.01),
    (2, 10.0, 1, 1, 10.0),
    (1, 0.9, 9, 8, 0.025),
    (3, 0.9, 10, 7, 0.15),
    (4, 0.9, 9, 5, 0.4),
  ],
)
def test_window_fills_what_fits(tubelet, duration, frames, valid, last_start):
  for position in (0.0, 0.5, 0.999):
    times = video.window(
      duration=duration,
      frames=frames,
      fps=8.0,
      tubelet=tubelet,
      position=position,
    )
    assert len(times) == valid
    assert times[0] == pytest.approx(position * last_start)
    assert times[-1] < duration
    np.testing.assert_allclose(np.diff(times), 1 / 8)


def test_frames_are_chosen_by_time_when_the_rate_varies(media):
  times_ms = [0, 40, 80, 500, 540, 1000, 1010, 1500]
  greys = [20, 45, 70, 95, 120, 145, 170, 195]
  data = media.video(
    media.levels(greys), times_ms=times_ms, fps=25, container='matroska'
  )
  wanted = np.array([0.0, 0.039, 0.3, 0.5, 0.99, 1.005, 1.4, 1.5])
  frames = video.sample(data, wanted, size=SIZE)
  expected = [20, 20, 70, 95, 120, 145, 170, 195]
  np.testing.assert_allclose(shown(frames), expected, atol=3)


@pytest.mark.parametrize('container', ['mp4', 'matroska'])
def test_times_count_from_the_first_frame(media, container):
  greys = [20, 60, 100, 140, 180]
  times_ms = [3000 + 125 * i for i in range(5)]
  data = media.video(
    media.levels(greys), times_ms=times_ms, container=container
  )
  with av.open(io.BytesIO(data)) as file:
    assert file.streams.video[0].start_time != 0
  frames = video.sample(data, np.arange(5) / 8, size=SIZE)
  np.testing.assert_allclose(shown(frames), greys, atol=3)
  info = video.examine(data)
  assert info.num_frames == 5
  assert info.duration == pytest.approx(0.625, abs=0.05)


def test_a_lower_rate_keeps_the_last_frame_at_or_before(media):
  data = media.video(media.levels(range(0, 240, 10)), fps=24)
  frames = video.sample(data, np.arange(8) / 8, size=SIZE)
  np.testing.assert_allclose(shown(frames), np.arange(8) * 30, atol=3)


@pytest.mark.parametrize('start', [0.0, 1.3, 2.5, 4.99])
@pytest.mark.parametrize('container', ['mp4', 'matroska'])
@pytest.mark.parametrize('between_key_frames', [5, 250])
def test_seeking_finds_what_full_decoding_finds(
  media, start, container, between_key_frames
):
  data = media.video(
    media.levels(range(0, 240, 6)),
    fps=8,
    container=container,
    options={'g': str(between_key_frames)},
  )
  times = start + np.arange(5) / 8
  whole = video.decode(data, size=SIZE)
  np.testing.assert_array_equal(
    video.sample(data, times, size=SIZE), whole.at(times)
  )


def test_only_the_needed_part_is_decoded(media, monkeypatch):
  data = media.video(media.levels(range(0, 240, 2)), fps=8)
  monkeypatch.setattr(video, 'MAX_FRAMES', 30)
  video.sample(data, np.arange(9) / 8, size=SIZE)
  video.sample(data, 12 + np.arange(9) / 8, size=SIZE)
  with pytest.raises(schema.DecodeError, match='too_many_frames'):
    video.decode(data, size=SIZE)


@pytest.mark.parametrize(
  'container, codec',
  [
    ('mp4', 'libx264'),
    ('mov', 'libx264'),
    ('matroska', 'libx264'),
    ('webm', 'libvpx-vp9'),
    ('avi', 'mpeg4'),
    ('gif', 'gif'),
  ],
)
def test_every_container_gives_rgb_over_the_full_range(media, container, codec):
  pixels = np.zeros((32, 64, 3), np.uint8)
  pixels[:, :16] = (255, 0, 0)
  pixels[:, 16:32] = (0, 0, 255)
  pixels[:, 48:] = 255
  data = media.video([pixels] * 4, container=container, codec=codec)
  frames = video.sample(data, np.zeros(1), size=(32, 64))
  assert frames.dtype == np.uint8 and frames.shape == (1, 32, 64, 3)
  middle = frames[0, 16, [8, 24, 40, 56]].astype(int)
  expected = [(255, 0, 0), (0, 0, 255), (0, 0, 0), (255, 255, 255)]
  np.testing.assert_allclose(middle, expected, atol=24)


def reason_of(data):
  with pytest.raises(schema.DecodeError) as caught:
    video.examine(data)
  return caught.value.reason


def test_other_files_are_distinguished_from_damaged_videos(good_clips):
  good = good_clips[0]
  assert reason_of(b'') == 'empty_file'
  assert reason_of(b'<html>404 not found</html>') == 'not_a_video'
  assert reason_of(b'#EXTM3U\n#EXTINF:9,\nhttp://x/a.ts\n') == 'not_a_video'
  assert reason_of(good[: len(good) * 2 // 3]) == 'truncated_file'
  assert reason_of(good[:40]) == 'truncated_file'
  at = good.index(b'mdat') + 2000
  damaged = good[:at] + bytes(200) + good[at + 200 :]
  assert reason_of(damaged) == 'broken_file'


def remuxed(*sources, container='mp4', dispositions=()):
  """Put the video of several files into one file."""
  target = io.BytesIO()
  with contextlib.ExitStack() as stack:
    files = [stack.enter_context(av.open(io.BytesIO(s))) for s in sources]
    output = stack.enter_context(av.open(target, 'w', format=container))
    streams = []
    for i, file in enumerate(files):
      streams.append(output.add_stream_from_template(file.streams.video[0]))
      if dispositions:
        streams[i].disposition = dispositions[i]
    for file, stream in zip(files, streams, strict=True):
      for packet in file.demux(video=0):
        if packet.dts is not None:
          packet.stream = stream
          output.mux(packet)
  return target.getvalue()


def test_the_default_stream_is_the_one_that_is_shown(media):
  small = media.video([media.picture(level) for level in range(0, 240, 20)])
  large = media.video(media.levels(range(0, 240, 30), 96, 128))
  one, default = 0, int(Disposition.default)
  for order, flags, size in (
    ((small, large), (one, default), (128, 96)),
    ((small, large), (default, one), (64, 48)),
    ((small, large), (default, default), (128, 96)),
    ((large, small), (default, default), (128, 96)),
  ):
    data = remuxed(*order, dispositions=flags, container='matroska')
    info = video.examine(data)
    assert (info.width, info.height) == size
    assert video.decode(data, size=SIZE).frames.shape[0] == info.num_frames


def test_a_cover_picture_is_not_the_film(media):
  data = (CASES / 'cover_first.mp4').read_bytes()
  with av.open(io.BytesIO(data)) as file:
    assert file.streams.video[0].codec.name == 'mjpeg'
  info = video.examine(data)
  assert (info.width, info.height, info.num_frames) == (64, 48, 48)
  frames = video.sample(data, np.arange(0, 6, 1 / 8), size=(48, 64))
  expected = [media.picture(16 + i * 220 / 47) for i in range(48)]
  assert np.abs(frames.astype(int) - expected).mean() < 3
  cover = media.video(
    [media.noise(0, 96, 96)], codec='mjpeg', pix_fmt='yuvj420p'
  )
  attached = int(Disposition.attached_pic)
  assert reason_of(remuxed(cover, dispositions=(attached,))) == 'not_a_video'


@pytest.mark.parametrize('position', [0.0, 0.3, 0.7, 0.999])
@pytest.mark.parametrize('fps', [4.0, 8.0, 25.0])
def test_of_equal_timestamps_the_first_frame_is_shown(media, position, fps):
  single = media.video(
    media.levels(range(0, 240, 10)), codec='mjpeg', pix_fmt='yuvj420p'
  )
  target = io.BytesIO()
  with (
    av.open(io.BytesIO(single)) as file,
    av.open(target, 'w', format='matroska') as output,
  ):
    stream = output.add_stream_from_template(file.streams.video[0])
    for i, packet in enumerate(file.demux(video=0)):
      if packet.dts is not None:
        packet.pts = packet.dts = i // 2 * 250
        packet.duration = 250
        packet.time_base, packet.stream = Fraction(1, 1000), stream
        output.mux(packet)
  data = target.getvalue()
  info, whole = video.examine(data), video.decode(data, size=SIZE)
  assert info.num_frames == len(whole.frames) == 12
  np.testing.assert_allclose(shown(whole.frames), range(0, 240, 20), atol=3)
  times = video.window(
    duration=info.duration, frames=9, fps=fps, tubelet=2, position=position
  )
  np.testing.assert_array_equal(
    video.sample(data, times, size=SIZE), whole.at(times)
  )


def test_a_long_video_is_not_decoded_to_its_end(media, monkeypatch):
  data = media.video(media.levels([90] * 60))  # 7.5 seconds
  monkeypatch.setattr(video, 'MAX_FRAMES', 30)
  assert reason_of(data) == 'too_many_frames'
  info = video.examine(data, max_duration=3.0)
  assert info.duration == pytest.approx(7.5) and info.num_frames == 1
  with pytest.raises(schema.DecodeError, match='too_many_frames'):
    video.examine(data, max_duration=7.6)
  live = media.video(media.levels([90] * 60), container='matroska', live=True)
  info = video.examine(live, max_duration=3.0)
  assert 3.0 < info.duration < 3.5 and info.num_frames < 30


def test_sound_alone_is_not_a_video():
  target = io.BytesIO()
  with av.open(target, 'w', format='mp4') as file:
    stream = file.add_stream('aac', rate=44100)
    sound = np.zeros((1, 1024), np.float32)
    frame = av.AudioFrame.from_ndarray(sound, format='fltp', layout='mono')
    frame.sample_rate = 44100
    file.mux(stream.encode(frame))
    file.mux(stream.encode())
  assert reason_of(target.getvalue()) == 'not_a_video'


def test_one_frame_is_a_video_of_one_frame(media):
  data = media.video(media.levels([90]))
  assert video.examine(data).num_frames == 1
  frames = video.sample(data, np.zeros(1), size=SIZE)
  np.testing.assert_allclose(shown(frames), [90], atol=3)


def test_limits_hold_before_anything_is_decoded(media, monkeypatch):
  data = media.video(media.levels(range(0, 240, 10)))
  monkeypatch.setattr(display, 'MAX_PIXELS', 32 * 31)
  assert reason_of(data) == 'too_many_pixels'
  monkeypatch.setattr(video, 'MAX_BYTES', 100)
  assert reason_of(data) == 'too_large'


def test_damage_of_any_kind_ends_in_a_reason(good_clips):
  rng = random.Random(0)
  outcomes = []
  for i in range(150):
    data = bytearray(good_clips[i % len(good_clips)])
    at = rng.randrange(len(data))
    if i % 5 == 0:
      data[at] ^= 1 << rng.randrange(8)
    elif i % 5 == 1:
      del data[at:]
    elif i % 5 == 2:
      data[at : at + 64] = bytes(64)
    elif i % 5 == 3:
      data[at : at + 200] = rng.randbytes(200)
    else:
      data[at:at] = good_clips[(i + 1) % len(good_clips)][:500]
    try:
      video.examine(bytes(data))
      outcomes.append('')
    except schema.DecodeError as error:
      outcomes.append(error.reason)
  assert outcomes.count('truncated_file') >= 30
  assert outcomes.count('broken_file') >= 30
