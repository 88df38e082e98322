"""Sets become films with scenes, or an HDF5 file, with an exact account."""

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from phenaki_jax.data import build, cache, examples, manifest, schema
from phenaki_jax.data import config as config_lib
from phenaki_jax.data.sources import stories as stories_source
from phenaki_jax.data.story_sets.convert import Form, convert, evenly
from phenaki_jax.data.story_sets.didemo import Didemo
from phenaki_jax.data.story_sets.exchange import Exchange
from phenaki_jax.data.story_sets.pororo import Pororo
from phenaki_jax.data.story_sets.story import Account

FORM = Form(size=32, frames=5)


@pytest.fixture(scope='module')
def films(releases, tmp_path_factory):
  out = tmp_path_factory.mktemp('films') / 'pororo'
  return out, convert(Pororo(releases.pororo.folder), out, form=FORM)


def test_films_have_the_scenes_and_colours_of_the_set(releases, films):
  out, account = films
  assert account.kept == {'train': 2, 'val': 3, 'test': 2}
  expected = list(Pororo(releases.pororo.folder).stories(Account()))
  expected = [story for story in expected if story.split == 'val']
  source = stories_source.Stories(out / 'val')
  records = list(source)
  assert [r.key for r in records] == [
    f'{story.id}/{scene:03d}' for story in expected for scene in range(5)
  ]
  captions = [text for story in expected for text in story.captions]
  assert [record.caption for record in records] == captions
  request = schema.ExampleRequest(size=(32, 32), frames=5, fps=8.0)
  reader = source.reader
  known = [dataclasses.replace(r, info=reader.examine(r)) for r in records]
  shown = [reader.example(record, request).pixels for record in known]
  clips = [frames for story in expected for frames in story.scenes()]
  for pixels, clip in zip(shown, clips, strict=True):
    large = evenly(clip, 5).repeat(2, 1).repeat(2, 2).astype(int)
    assert np.abs(pixels - large).mean() < 8
    # Red is much more than blue everywhere.
    assert (pixels[..., 0].astype(int) - pixels[..., 2] > 20).mean() > 0.98


def test_lines_name_the_characters_of_each_scene(releases, films):
  out, _ = films
  lines = (out / 'train/stories.jsonl').read_text().splitlines()
  stories = list(Pororo(releases.pororo.folder).stories(Account()))
  for line, story in zip(lines, stories, strict=False):
    found = json.loads(line)
    assert found['story_id'] == story.id
    assert [scene['characters'] for scene in found['scenes']] == [
      [Pororo.characters[row.index(1)]] for row in story.labels
    ]


def test_films_train_with_the_scene_before_as_context(films, tmp_path):
  out, _ = films
  folder = tmp_path / 'manifest'
  build.build([lambda _: stories_source.Stories(out / 'train')], folder)
  config = config_lib.DataConfig(
    sources=(config_lib.SourceConfig(layout='manifest', path=str(folder)),),
    size=(32, 32),
    frames=7,
    context_frames=3,
    continuation_share=1.0,
    heldout_share=0.0,
    image_share=0.0,
  )
  request = schema.ExampleRequest(size=(32, 32), frames=7, fps=8.0, tubelet=2)
  content = manifest.Manifest(folder)
  found = examples.ManifestExamples(
    config, request, schema.CLIP, content, cache.FrameCache(0)
  )
  # The first scene of each story has none before it.
  contexts = sorted(found[i].context_frames for i in range(found.epoch))
  assert contexts == [0, 0, *[3] * 8]


def test_the_account_and_the_sheet_are_beside_the_films(films):
  out, account = films
  report = json.loads((out / 'report.json').read_text())
  assert report == {'set': 'pororo', 'splits': account.to_dict()}
  assert (out / 'dropped.jsonl').read_text() == ''
  with Image.open(out / 'sheet.png') as sheet:
    # Two stories of each split, five frames of 128 pixels in a row.
    assert sheet.width > 5 * 128 and sheet.height > 6 * 128


def test_an_hdf5_file_keeps_frames_and_counts_what_it_drops(releases, tmp_path):
  made = releases.didemo
  broken = made.folder.parent / made.content['test'][0]['desc_to_frame'][0][1]
  data = broken.read_bytes()
  out = tmp_path / 'didemo.h5'
  try:
    broken.write_bytes(b'x')
    account = convert(Didemo(made.folder), out, form=Form())
  finally:
    broken.write_bytes(data)
  assert account.kept == {'train': 2, 'val': 1}
  assert account.left_out == {
    ('train', 'too_few_scenes'): 1,
    ('val', 'missing_image'): 1,
    ('test', 'not_an_image'): 1,
  }
  lines = (tmp_path / 'didemo.dropped.jsonl').read_text().splitlines()
  assert [json.loads(line) for line in lines] == account.dropped
  assert (tmp_path / 'didemo.sheet.png').is_file()
  file = Exchange(out)
  found = list(file.stories(Account()))
  assert [len(story.captions) for story in found] == [3, 3, 3]
  assert found[0].scenes()[0].shape == (1, 12, 20, 3)
  # A second conversion keeps the account of the colours.
  small = tmp_path / 'small.h5'
  convert(file, small, form=Form(size=8))
  file.close()
  report = json.loads((tmp_path / 'small.report.json').read_text())
  assert report['colour'] == 'RGB'
  file = Exchange(small)
  (first, *_) = file.stories(Account())
  assert first.scenes()[0].shape == (1, 8, 8, 3)
  file.close()


def test_frames_are_taken_evenly():
  frames = np.arange(3, dtype=np.uint8).reshape(3, 1, 1, 1).repeat(3, 3)
  assert evenly(frames, 7)[:, 0, 0, 0].tolist() == [0, 0, 0, 1, 1, 2, 2]
  assert evenly(frames, 2)[:, 0, 0, 0].tolist() == [0, 1]


def test_wrong_outputs_are_refused(releases, tmp_path):
  stories = Pororo(releases.pororo.folder)
  (tmp_path / 'x').write_text('x')
  with pytest.raises(ValueError, match='is not empty; name a new folder'):
    convert(stories, tmp_path, form=FORM)
  with pytest.raises(ValueError, match='needs an even one'):
    convert(stories, tmp_path / 'new', form=Form(size=31))

  class Empty:
    name, characters = 'empty', ()

    def stories(self, account):
      account.drop('train', 'a', 'missing_image')
      return iter(())

  with pytest.raises(ValueError, match='no story can be used: .*missing_image'):
    convert(Empty(), tmp_path / 'new', form=FORM)
  assert not (tmp_path / 'new').exists()
