import csv
import json

import av
import numpy as np
import pytest

from phenaki_jax.layouts import webvid


def clips(number, **attributes):
  frames = np.zeros((12, 16, 24, 3), np.uint8)
  for index in range(number):
    yield webvid.Clip(frames=frames, caption=f'clip, {index}', **attributes)


def write(folder, examples, **settings):
  path = webvid.write_webvid(
    folder, examples, fps=8, first_id=7, notice='drawn', **settings
  )
  with open(path, newline='', encoding='utf-8') as file:
    return list(csv.DictReader(file))


def test_facts_are_a_column_where_they_are_known(tmp_path):
  rows = write(tmp_path / 'without', clips(2))
  assert tuple(rows[0]) == webvid.COLUMNS
  assert [row['name'] for row in rows] == ['clip, 0', 'clip, 1']
  assert [row['videoid'] for row in rows] == ['7', '8']
  assert rows[0]['duration'] == 'PT00H00M02S'
  facts = {'kind': 'orc', 'hair': None}
  rows = write(tmp_path / 'with', clips(2, attributes=facts))
  assert tuple(rows[0]) == (*webvid.COLUMNS, 'attributes')
  assert json.loads(rows[1]['attributes']) == facts


@pytest.mark.parametrize('pixel_format', ['yuv420p', 'yuv444p'])
def test_videos_have_the_pixel_format(tmp_path, pixel_format):
  write(tmp_path, clips(1), pixel_format=pixel_format)
  film = tmp_path / 'videos' / '000000_000499' / '7.mp4'
  with av.open(str(film)) as container:
    stream = container.streams.video[0]
    assert (stream.pix_fmt, stream.width) == (pixel_format, 24)
