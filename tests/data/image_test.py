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


def png_chunk(name, data):
  body = name + data
  return (
    struct.pack('>I', len(data)) + body + struct.pack('>I', zlib.crc32(body))
  )


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


def exif(orientation, *entries, order='<', kind=3):
  """Return EXIF data with an orientation of a type, and further entries."""
  value = struct.pack(order + 'HI'[kind == 4], orientation).ljust(4, b'\0')
  entries = sorted([(0x0112, kind, 1, value), *entries])
  return b''.join(
    [
      b'Exif\0\0' + (b'II*\0' if order == '<' else b'MM\0*'),
      struct.pack(order + 'IH', 8, len(entries)),
      *(struct.pack(order + 'HHI', *entry[:3]) + entry[3] for entry in entries),
      bytes(4),
    ]
  )


TURNS = {
  1: lambda a: a,
  2: lambda a: a[:, ::-1],
  3: lambda a: np.rot90(a, 2),
  4: lambda a: a[::-1],
  5: lambda a: a.transpose(1, 0, 2),
  6: lambda a: np.rot90(a, -1),
  7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
  8: lambda a: np.rot90(a, 1),
}
# Entries (tag, type, count, value) that Pillow warns about or cannot write.
BAD_ENTRIES = [
  (0x011A, 2, 4, b'abc\0'),  # a resolution as text
  (0x00FE, 1, 1, b'\1\0\0\0'),
  (0x011A, 5, 1, b'\xff\xff\xff\xff'),  # beyond the end
  (0x8769, 4, 1, b'\xff\xff\xff\x7f'),
  (0x010F, 2, 2**31, b'\0\0\1\0'),
  (0x0128, 13, 5, bytes(4)),
  (0x8825, 2, 3, b'ab\0\0'),
  (0x9999, 0, 0, bytes(4)),  # no type
  (0x0111, 12, 7, b'\x10\0\0\0'),
  (0x011A, 5, 0, bytes(4)),  # an empty resolution
]


@pytest.mark.parametrize('orientation', TURNS)
@pytest.mark.parametrize('kind', ['JPEG', 'PNG', 'WEBP'])
@pytest.mark.parametrize('order', ['<', '>'])
def test_the_orientation_is_applied_whatever_else_the_exif_holds(
  media, orientation, kind, order
):
  expected = TURNS[orientation](media.picture().astype(int))
  options = {'WEBP': {'lossless': True}, 'JPEG': {'quality': 95}}.get(kind, {})
  for entries in ([], *([entry] for entry in BAD_ENTRIES), BAD_ENTRIES):
    for width in (3, 4):
      data = exif(orientation, *entries, order=order, kind=width)
      data = media.image(media.picture(), kind, exif=data, **options)
      found = np.asarray(image.decode(data)).astype(int)
      assert found.shape == expected.shape
      assert np.abs(found - expected).mean() < 3


def test_no_exif_costs_a_picture(media):
  rng = random.Random(0)
  for _ in range(200):
    entries = rng.sample(BAD_ENTRIES, rng.randrange(4))
    data = bytearray(exif(rng.randrange(10), *entries, order=rng.choice('<>')))
    for _ in range(rng.randrange(8)):
      data[rng.randrange(6, len(data))] = rng.randrange(256)
    del data[rng.randrange(6, 2 * len(data)) :]
    picture = image.decode(
      media.image(media.picture(), 'JPEG', exif=bytes(data))
    )
    assert sorted(picture.size) == [48, 64]


@pytest.mark.parametrize(
  'options', [{}, {'progressive': True}, {'restart_marker_rows': 1}], ids=str
)
@pytest.mark.parametrize('is_noise', [False, True])
def test_only_the_end_mark_of_a_jpeg_may_be_missing(media, options, is_noise):
  pixels = media.noise(0, 24, 24) if is_noise else media.picture(128, 24, 32)
  data = media.image(pixels, 'JPEG', **options)
  expected = np.asarray(image.decode(data)).astype(int)
  for cut in (1, 2):
    np.testing.assert_array_equal(image.decode(data[:-cut]), expected)
    np.testing.assert_array_equal(
      image.decode(data[:-cut] + bytes(20)), expected
    )
  for end in range(1, len(data) - 3):
    try:
      found = np.asarray(image.decode(data[:end]))
    except schema.DecodeError as error:
      assert error.reason in ('corrupt_jpeg', 'not_an_image')
    else:  # Bits of the last block that no pixel needs.
      assert np.abs(found - expected).mean() < 0.5


@pytest.mark.parametrize('chunk', [b'tEXt', b'zTXt', b'iTXt', b'iCCP'])
def test_huge_texts_in_a_png_are_not_read(media, chunk):
  data = media.image(media.picture(), 'PNG')
  text = zlib.compress(b'x' * 2**22)
  body = {
    b'tEXt': b'k\0' + b'x' * 2**22,
    b'zTXt': b'k\0\0' + text,
    b'iTXt': b'k\0\1\0\0\0' + text,
    b'iCCP': b'k\0\0' + text,
  }[chunk]
  at = data.index(b'IDAT') - 4
  data = data[:at] + png_chunk(chunk, body) * 20 + data[at:]
  np.testing.assert_array_equal(image.decode(data), media.picture())


@pytest.mark.parametrize(
  'mark, body',
  [
    (0xED, b'Photoshop 3.0\x008BIM\3\xed'),
    (0xE2, b'MPF\0MM\0*\0\0\0\x08\0\1\xb0\1\0\4\0\0\0\1\0\0\0\2'),
    (0xE0, b'JFIF\0'),
    (0xEE, b'Adobe'),
    (0xE2, b'ICC_PROFILE\0'),
    (0xFE, b''),
  ],
)
def test_no_metadata_costs_a_jpeg(media, mark, body):
  data = media.image(media.picture(), 'JPEG')
  segment = struct.pack('>BBH', 0xFF, mark, len(body) + 2) + body
  found = image.decode(data[:2] + b'\xff' + segment + data[2:])
  np.testing.assert_array_equal(found, image.decode(data))


@pytest.mark.parametrize('mode', ['CMYK', 'L', 'RGB'])
def test_the_colours_of_a_jpeg_are_kept(media, mode):
  picture = Image.fromarray(media.picture()).convert(mode)
  for options in ({}, {'keep_rgb': True} if mode == 'RGB' else {}):
    target = io.BytesIO()
    picture.save(target, 'JPEG', quality=95, **options)
    with Image.open(target) as opened:
      expected = np.asarray(opened.convert('RGB'))
    np.testing.assert_array_equal(image.decode(target.getvalue()), expected)


@pytest.mark.parametrize('chunk', [b'pHYs', b'tIME', b'gAMA', b'fcTL', b'cHRM'])
def test_no_metadata_costs_a_png(media, chunk):
  data = media.image(media.picture(), 'PNG')
  at = data.index(b'IDAT') - 4
  for bad in (png_chunk(chunk, b'\1'), png_chunk(chunk, b'\1')[:-1] + b'?'):
    found = image.decode(data[:at] + bad + data[at:])
    np.testing.assert_array_equal(found, media.picture())


@pytest.mark.parametrize(
  'head, reason',
  [
    (b'\0\0\0\x1cftypavif', 'avif_not_supported'),
    (b'\0\0\0\x18ftypheic', 'heif_not_supported'),
    (b'II*\0', 'tiff_not_supported'),
    (b'\xff\x0a', 'jxl_not_supported'),
    (b'\0\0\0\x0cjP  ', 'jp2_not_supported'),
    (b'8BPS', 'psd_not_supported'),
  ],
)
def test_other_formats_are_named(head, reason):
  assert reason_of(head + bytes(100)) == reason


def test_other_files_are_distinguished_from_damaged_images(media):
  good = media.image(media.noise(0), 'JPEG')
  assert reason_of(b'') == 'empty_file'
  assert reason_of(b'<html>404</html>') == 'not_an_image'
  assert reason_of(good[: len(good) // 2]) == 'corrupt_jpeg'
  png = media.image(media.noise(0), 'PNG')
  assert reason_of(png[:-200]) == 'corrupt_png'


def test_a_decompression_bomb_is_rejected_by_its_header():
  header = struct.pack('>IIBBBBB', 65535, 65535, 8, 2, 0, 0, 0)
  data = b'\x89PNG\r\n\x1a\n' + png_chunk(b'IHDR', header)
  data += png_chunk(b'IDAT', zlib.compress(b'\0' * 1000)) + png_chunk(
    b'IEND', b''
  )
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
