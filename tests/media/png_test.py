import io

import numpy as np
from PIL import Image

from phenaki_jax.media.png import encode_png, write_png
from phenaki_jax.media.provenance import read_provenance

IMAGE = np.random.default_rng(0).integers(0, 256, (7, 5, 3), np.uint8)


def test_written_image_has_the_same_pixels(tmp_path):
  write_png(tmp_path / 'a.png', IMAGE, provenance={'seed': 7})
  with Image.open(tmp_path / 'a.png') as picture:
    np.testing.assert_array_equal(np.asarray(picture), IMAGE)
  assert read_provenance(tmp_path / 'a.png')['seed'] == 7


def test_encoded_image_has_no_comment_unless_asked():
  with Image.open(io.BytesIO(encode_png(IMAGE))) as picture:
    np.testing.assert_array_equal(np.asarray(picture), IMAGE)
    assert 'comment' not in picture.info
