"""A folder of images and clips with captions beside them."""

import numpy as np
import pytest
from PIL import Image

from phenaki_jax.data import build, manifest, schema
from phenaki_jax.data.filters import FilterConfig
from phenaki_jax.data.sources.folder import Folder
from phenaki_jax.errors import UserError


@pytest.fixture
def folder(tmp_path):
  for number, name in enumerate(('b.png', 'a.PNG', 'c.gif')):
    pixels = np.full((16, 20, 3), 50 * number, np.uint8)
    Image.fromarray(pixels).save(tmp_path / name)
  (tmp_path / 'a.txt').write_text(' a zog on grass\n')
  (tmp_path / 'notes.md').write_text('no image')
  return tmp_path


def test_own_captions_come_before_that_of_all(folder):
  source = Folder(folder, caption='a zog')
  assert [(r.path, r.kind, r.caption) for r in source] == [
    ('a.PNG', schema.IMAGE, 'a zog on grass'),
    ('b.png', schema.IMAGE, 'a zog'),
    ('c.gif', schema.IMAGE, 'a zog'),
  ]
  assert (len(source), source.own) == (3, 1)
  assert source.notes() == {'with_own_caption': 1}


def test_one_file_is_read_alone(folder):
  (record,) = Folder(folder, caption='x', name='b.png')
  assert record.path == 'b.png'


def test_manifest_opens_the_files_again(folder, tmp_path):
  out = tmp_path / 'manifest'
  limits = FilterConfig(max_unsafe=None, max_watermark=None, min_side=1)
  build.build([lambda _: Folder(folder, caption='a zog')], out, filters=limits)
  content = manifest.Manifest(out)
  record, reader = next(content.records())
  example = reader.example(
    record, schema.ExampleRequest(size=(16, 16), frames=1, fps=8.0)
  )
  assert example.pixels.shape == (16, 16, 3)
  assert (example.pixels == 50).all()
  assert len(content) == 3


def test_files_without_caption_and_other_folders_are_refused(folder):
  with pytest.raises(UserError, match=r'b\.png has no caption; write it to b'):
    Folder(folder)
  with pytest.raises(UserError, match='notes.md is no image or clip'):
    Folder(folder, caption='x', name='notes.md')
  with pytest.raises(UserError, match='there is no folder'):
    Folder(folder / 'nowhere', caption='x')
  (folder / 'b.txt').write_bytes(b'\xff\xfe\xff')
  with pytest.raises(UserError, match=r'b\.txt is no caption'):
    Folder(folder, caption='x')
