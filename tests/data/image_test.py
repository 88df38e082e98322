import io
import random
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from phenaki_jax.data import image, schema


def reason_of(data):
  with pytest.raises(schema.DecodeError) as caught:
    image.decode(data)
  return caught.value.reason


@pytest.mark.parametrize(
  'kind, options, tolerance',
  [
    ('JPEG', {'quality': 98, 'subsampling': 0}, 6),
    ('PNG', {}, 0),
    ('WEBP', {'lossless': True}, 0),
    ('GIF', {}, 0),
    ('BMP', {}, 0),
  ],
)
def test_every_format_gives_rgb_over_the_full_range(
  media, kind, options, tolerance
):
  pixels = np.zeros((16, 64, 3), np.uint8)
  pixels[:, :16], pixels[:, 16:32] = (255, 0, 0), (0, 0, 255)
  pixels[:, 48:] = 255
  picture = image.decode(media.image(pixels, kind, **options))
  assert picture.mode == 'RGB'
  np.testing.assert_allclose(
    np.asarray(picture).astype(int)[:, 8::16],
    pixels.astype(int)[:, 8::16],
    atol=tolerance,
  )


def test_the_exif_orientation_is_applied(media):
  pixels = np.zeros((10, 20, 3), np.uint8)
  exif = Image.Exif()
  exif[0x0112] = 6  # Turned by 90 degrees.
  picture = image.decode(media.image(pixels, 'JPEG', exif=exif.tobytes()))
  assert picture.size == (10, 20)


def test_other_files_are_distinguished_from_damaged_images(media):
  good = media.image(media.noise(0), 'JPEG')
  assert reason_of(b'') == 'empty_file'
  assert reason_of(b'<html>404</html>') == 'not_an_image'
  assert reason_of(good[: len(good) // 2]) == 'corrupt_jpeg'
  png = media.image(media.noise(0), 'PNG')
  assert reason_of(png[:-200]) == 'corrupt_png'


def test_a_decompression_bomb_is_rejected_by_its_header():
  def chunk(name, data):
    body = name + data
    return (
      struct.pack('>I', len(data)) + body + struct.pack('>I', zlib.crc32(body))
    )

  header = struct.pack('>IIBBBBB', 65535, 65535, 8, 2, 0, 0, 0)
  data = b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header)
  data += chunk(b'IDAT', zlib.compress(b'\0' * 1000)) + chunk(b'IEND', b'')
  assert reason_of(data) in ('too_many_pixels', 'corrupt_png')


def test_images_above_the_pixel_limit_are_rejected(media, monkeypatch):
  data = media.image(media.noise(0, 40, 48))
  monkeypatch.setattr(image, 'MAX_PIXELS', 40 * 48 - 1)
  assert reason_of(data) == 'too_many_pixels'
  monkeypatch.setattr(image, 'MAX_PIXELS', 40 * 48)
  assert image.decode(data).size == (48, 40)


def test_damage_of_any_kind_ends_in_a_reason(media):
  rng = random.Random(0)
  failed = 0
  for i in range(200):
    kind = ('JPEG', 'PNG', 'GIF', 'WEBP', 'BMP')[i % 5]
    data = bytearray(media.image(media.noise(i, 16, 16), kind))
    at = rng.randrange(len(data))
    if i % 3 == 0:
      data[at : at + 8] = rng.randbytes(8)
    elif i % 3 == 1:
      del data[at:]
    else:
      data[at % 60] ^= 1 << rng.randrange(8)
    try:
      assert image.decode(bytes(data)).mode == 'RGB'
    except schema.DecodeError:
      failed += 1
  assert failed > 50


def test_a_gif_gives_its_first_frame():
  frames = [Image.new('RGB', (8, 8), c) for c in ('red', 'blue')]
  target = io.BytesIO()
  frames[0].save(target, 'GIF', save_all=True, append_images=frames[1:])
  assert image.decode(target.getvalue()).getpixel((4, 4)) == (255, 0, 0)
