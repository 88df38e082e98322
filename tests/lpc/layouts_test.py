import csv
import io
import json
import random
import tarfile

import av
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from phenaki_jax import lpc
from phenaki_jax.data.sources import img2dataset, webvid
from phenaki_jax.lpc import facts as facts_lib
from phenaki_jax.media import provenance


@pytest.fixture(scope='module')
def world(sprite_sheets):
  return lpc.World(sheets=lpc.Sheets(sprite_sheets), seed=5, size=96)


def _frames(path):
  with av.open(str(path)) as container:
    assert container.streams.video[0].average_rate == 8
    return np.stack(
      [frame.to_ndarray(format='rgb24') for frame in container.decode(video=0)]
    )


def _facts(attributes):
  return lpc.Facts(**facts_lib.from_attributes(json.loads(attributes)))


def test_webvid_round_trip(world, tmp_path):
  written = []
  path = lpc.write_webvid(
    tmp_path, 3, world, on_written=lambda: written.append(1)
  )
  assert len(written) == 3
  with open(path, newline='', encoding='utf-8') as file:
    rows = list(csv.DictReader(file))
  rng, source = random.Random('5 webvid'), list(webvid.WebVid(tmp_path))
  for index, row in enumerate(rows):
    clip = lpc.sample_clip(rng, size=96)
    (scene,) = clip.scenes
    assert row['name'] == scene.prompt == source[index].caption
    assert _facts(row['attributes']) == scene.facts
    assert _facts(source[index].columns['attributes']) == scene.facts
    assert 'style_of_picture' not in row['attributes']
    film = tmp_path / source[index].path
    assert 'CC-BY-SA 3.0' in provenance.read_provenance(film)['notice']
    expected = lpc.render_story(clip, world.sheets, size=96)
    assert np.abs(_frames(film) - expected.astype(int)).mean() < 2


def test_img2dataset_round_trip(world, tmp_path):
  (path,) = lpc.write_img2dataset(tmp_path, 4, world)
  table = pq.read_table(path.with_suffix('.parquet')).to_pylist()
  rng, source = (
    random.Random('5 laion'),
    list(img2dataset.Img2Dataset(tmp_path)),
  )
  with tarfile.open(path) as tar:
    for index, row in enumerate(table):
      image = lpc.sample_image(rng, size=96)
      (scene,) = image.scenes
      assert row['caption'] == scene.prompt
      assert _facts(row['attributes']) == scene.facts
      assert _facts(source[index].columns['attributes']) == scene.facts
      assert json.load(tar.extractfile(f'{row["key"]}.json')) == row
      png = io.BytesIO(tar.extractfile(f'{row["key"]}.png').read())
      np.testing.assert_array_equal(
        np.asarray(Image.open(png)),
        lpc.render_image(image, world.sheets, size=96),
      )


def test_stories_round_trip(world, tmp_path):
  path = lpc.write_stories(tmp_path, 2, world)
  records = [json.loads(line) for line in path.read_text().splitlines()]
  rng = random.Random('5 stories')
  for number, record in enumerate(records):
    story = lpc.sample_story(rng, size=96, new_places=0.25)
    assert record['story_id'] == f's{number:05d}'
    assert record['num_frames'] == story.spans[-1][1]
    frames = _frames(tmp_path / record['video'])
    expected = lpc.render_story(story, world.sheets, size=96)
    assert np.abs(frames - expected.astype(int)).mean() < 2
    assert story.scenes[0].prompt.startswith(record['character'])
    persistent = facts_lib.from_attributes(record['attributes'])
    for scene, entry, (start, stop) in zip(
      story.scenes, record['scenes'], story.spans, strict=True
    ):
      act = {name: entry[name] for name in ('action', 'direction', 'place')}
      assert lpc.Facts(**persistent, **act) == scene.facts
      assert entry['prompt'] == scene.prompt
      assert (entry['start_frame'], entry['end_frame']) == (start, stop)


def test_more_clips_begin_with_the_same_clips(world, tmp_path):
  few = lpc.write_webvid(tmp_path / 'few', 1, world)
  more = lpc.write_webvid(tmp_path / 'more', 2, world)
  assert more.read_text().startswith(few.read_text())


def test_small_and_odd_sizes_are_refused(world, tmp_path):
  with pytest.raises(ValueError, match='size is 63, but a character has 64'):
    lpc.World(sheets=world.sheets, size=63)
  odd = lpc.World(sheets=world.sheets, size=65)
  with pytest.raises(ValueError, match='65x65; H.264 needs even sides'):
    lpc.write_stories(tmp_path, 1, odd)


def test_scenes_of_a_return_have_their_own_characters(world, tmp_path):
  path = lpc.write_returns(tmp_path, 1, world)
  (record,) = [json.loads(line) for line in path.read_text().splitlines()]
  story = lpc.sample_return(random.Random('5 returns'), size=96)
  for scene, entry in zip(story.scenes, record['scenes'], strict=True):
    assert entry['prompt'] == scene.prompt
    facts = {
      name: value
      for name, value in entry.items()
      if name not in ('prompt', 'start_frame', 'end_frame')
    }
    assert lpc.Facts(**facts_lib.from_attributes(facts)) == scene.facts
  assert (tmp_path / record['video']).is_file()
