import csv
import io
import json
import tarfile

import av
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from phenaki_jax import storyworld
from phenaki_jax.layouts import webvid
from phenaki_jax.storyworld import grammar


def test_webvid_round_trip(tmp_path):
  path = storyworld.write_webvid(
    tmp_path, 3, seed=1, subset='easy', size=64, frames=16
  )
  assert path == tmp_path / 'results_10M_train.csv'
  with open(path, newline='', encoding='utf-8') as file:
    rows = list(csv.DictReader(file))
  assert tuple(rows[0]) == webvid.COLUMNS
  for index, row in enumerate(rows):
    clip = storyworld.training_clip(1, index, 'easy', frames=16, size=64)
    assert row['name'] == clip.caption
    assert row['duration'] == 'PT00H00M02S'
    assert row['page_dir'] == '000000_000499'
    video = tmp_path / 'videos' / row['page_dir'] / f'{row["videoid"]}.mp4'
    with av.open(str(video)) as container:
      assert container.streams.video[0].average_rate == 8
      frames = np.stack(
        [
          frame.to_ndarray(format='rgb24')
          for frame in container.decode(video=0)
        ]
      )
    assert frames.shape == clip.frames.shape
    assert np.abs(frames - clip.frames.astype(int)).mean() < 8
    reading = storyworld.read_clip(frames, subset='easy')
    for fact in ('shape', 'colour', 'motion', 'place'):
      assert reading[fact] == getattr(clip.facts, fact)


def test_webvid_with_odd_sides_raises(tmp_path):
  with pytest.raises(ValueError, match='even'):
    storyworld.write_webvid(tmp_path, 1, seed=0, subset='easy', size=33)


def test_img2dataset_round_trip(tmp_path):
  paths = storyworld.write_img2dataset(
    tmp_path, 7, seed=1, subset='full', size=64, shard_size=4
  )
  assert [path.name for path in paths] == ['00000.tar', '00001.tar']
  index = 0
  for path in paths:
    table = pq.read_table(path.with_suffix('.parquet')).to_pylist()
    stats = json.loads(
      (tmp_path / f'{path.stem}_stats.json').read_text(encoding='utf-8')
    )
    assert stats['successes'] == len(table)
    with tarfile.open(path) as tar:
      assert len(tar.getnames()) == 3 * len(table)
      for row in table:
        image = storyworld.training_image(1, index, 'full', size=64)
        index += 1
        parts = {
          end: tar.extractfile(f'{row["key"]}.{end}').read()
          for end in ('jpg', 'txt', 'json')
        }
        assert json.loads(parts['json']) == row
        assert parts['txt'].decode() == row['caption'] == image.caption
        assert (row['width'], row['height']) == (64, 64)
        assert row['punsafe'] < 0.5 and row['pwatermark'] < 0.5
        frame = np.array(Image.open(io.BytesIO(parts['jpg'])))
        assert np.abs(frame - image.frame.astype(int)).mean() < 8
        assert grammar.parse(row['caption'])['shape'] == image.facts.shape
  assert index == 7


def test_invalid_shard_size_raises(tmp_path):
  with pytest.raises(ValueError, match='shard_size'):
    storyworld.write_img2dataset(
      tmp_path, 1, seed=0, subset='easy', size=32, shard_size=0
    )
