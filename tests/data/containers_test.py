import io

import numpy as np
import pytest

from phenaki_jax.data import containers, schema, video


def reason_of(data):
  with pytest.raises(schema.DecodeError) as caught:
    containers.check(io.BytesIO(data))
  return caught.value.reason


def whole(media, container, **options):
  codec = {'avi': 'mpeg4', 'webm': 'libvpx-vp9', 'gif': 'gif'}
  frames = [np.roll(media.noise(0, 32, 40), i, axis=1) for i in range(16)]
  return media.video(
    frames,
    container=container,
    codec=codec.get(container, 'libx264'),
    **options,
  )


@pytest.mark.parametrize(
  'container, options',
  [
    ('mp4', {}),
    ('mov', {'sound': True}),
    ('matroska', {}),
    ('matroska', {'sound': True}),
    ('matroska', {'live': True}),
    ('webm', {}),
    ('avi', {}),
    ('avi', {'sound': True}),
    ('gif', {}),
  ],
)
def test_a_cut_is_noticed_and_bytes_after_the_end_are_not(
  media, container, options
):
  data = whole(media, container, **options)
  info = video.examine(data)
  assert info.num_frames == 16
  for share in (0.1, 0.3, 0.5, 0.7, 0.9, 0.97):
    assert reason_of(data[: int(share * len(data))]) == 'truncated_file'
  for after in (bytes(1), bytes(600), b'\n', b'a trailer without boxes' * 20):
    assert video.examine(data + after) == info


def test_a_part_without_frames_may_be_cut_off(media):
  data = whole(media, 'mp4') + (100).to_bytes(4, 'big') + b'free' + bytes(20)
  assert video.examine(data).num_frames == 16
  for name in (b'mdat', b'moof'):
    cut = data[:-28] + (100).to_bytes(4, 'big') + name + bytes(20)
    assert reason_of(cut) == 'truncated_file'


def test_an_mp4_file_without_frames_is_truncated(media):
  data = whole(media, 'mp4')
  at = data.index(b'moov') - 4
  assert reason_of(data[:at]) == 'truncated_file'
  assert reason_of(data[:32] + data[at:]) == 'truncated_file'


@pytest.mark.parametrize(
  'container, codec, reason',
  [
    ('mpegts', 'libx264', 'mpegts_not_supported'),
    ('flv', 'libx264', 'flv_not_supported'),
    ('vob', 'mpeg2video', 'mpegps_not_supported'),
    ('asf', 'msmpeg4', 'asf_not_supported'),
    ('ogg', 'ffv1', 'ogg_not_supported'),
    ('mxf', 'mpeg2video', 'mxf_not_supported'),
  ],
)
def test_other_containers_are_named(media, container, codec, reason):
  if container == 'ogg':  # FFmpeg writes few codecs into it.
    data = b'OggS' + bytes(400)
  else:
    frames = media.levels(range(0, 240, 10))
    data = media.video(frames, fps=25, container=container, codec=codec)
  assert reason_of(data) == reason


def test_transport_streams_with_timestamps_are_named():
  packet = bytes(4) + b'\x47' + bytes(187)
  assert reason_of(packet * 4) == 'mpegts_not_supported'


@pytest.mark.parametrize('brand', [b'avif', b'avis', b'heic', b'mif1'])
def test_images_in_the_mp4_container_are_named(brand):
  head = (24).to_bytes(4, 'big') + b'ftyp' + brand + bytes(4) + b'mif1miaf'
  name = 'avif' if brand.startswith(b'avi') else 'heif'
  assert containers.image_container(head) == name
  assert reason_of(head + bytes(100)) == f'{name}_not_supported'


def test_no_bytes_escape_the_check():
  rng = np.random.default_rng(0)
  heads = (
    b'\0\0\0\x20ftypisom',
    b'\x1aE\xdf\xa3',
    b'RIFF\0\0\0\0AVI ',
    b'GIF89a',
  )
  for i in range(400):
    data = heads[i % 4] + rng.bytes(int(rng.integers(0, 300)))
    try:
      assert containers.check(io.BytesIO(data)) in (
        *('mov', 'matroska', 'avi', 'gif'),
      )
    except schema.DecodeError as error:
      assert error.reason == 'truncated_file'
