"""Clips come with earlier scenes of their own story."""

import json

import numpy as np
import pytest

from phenaki_jax.data import build, config, pipeline
from phenaki_jax.data import history as history_lib
from phenaki_jax.data.sources import layouts
from phenaki_jax.data.sources.folder import Folder
from phenaki_jax.errors import UserError

SLOTS = 3


def _pipeline(source, history=SLOTS, **fields):
  fields = {'frames': 3, 'context_frames': 1, 'num_threads': 0, **fields}
  return pipeline.Pipeline(
    config.DataConfig(sources=(source,), size=(16, 16), **fields),
    lambda caption: np.array([sum(map(ord, caption)), 1], np.int32),
    tubelet=2,
    text_length=2,
    history=history,
  )


def test_scenes_of_storyworld_come_with_the_scenes_before():
  world = config.SourceConfig(layout='storyworld')
  own = _pipeline(world, batch_size=24, image_share=0.25)
  batch = own.batch(0)
  assert 'history_text' not in batch['images']
  clips, examples = batch['clips'], own.examples(0)['clips']
  counts = clips['history_count']
  np.testing.assert_array_equal(counts > 0, clips['context_frames'] > 0)
  assert {0, 1, SLOTS} <= set(counts.tolist())
  for row, example in enumerate(examples):
    assert len(example.history) == counts[row]
    for slot, scene in enumerate(example.history):
      frame = clips['history_pixels'][row, slot]
      np.testing.assert_array_equal(frame, scene.frame)
      number = sum(map(ord, scene.caption))
      assert clips['history_text'][row, slot].tolist() == [number, 1]
    assert not clips['history_pixels'][row, counts[row] :].any()
    assert not clips['history_text'][row, counts[row] :].any()
  captions = list(own.captions(100))
  assert any('is back' in caption for caption in captions)
  # A cache of text must hold those of the earlier scenes, too.
  read = [x for clip in examples for x in (clip.caption, *clip.history)]
  assert {getattr(x, 'caption', x) for x in read} <= set(captions)
  # Without a history, the examples are what they were.
  plain = _pipeline(world, 0, batch_size=24, image_share=0.25)
  assert not any('history' in name for name in plain.batch(0)['clips'])
  assert plain.fingerprint != own.fingerprint
  assert not any('is back' in caption for caption in plain.captions(100))


def test_scenes_of_films_come_with_the_scenes_before(good_clips, tmp_path):
  (tmp_path / 'film.mp4').write_bytes(good_clips[5])
  (tmp_path / 'other.mp4').write_bytes(good_clips[3])
  lines = [
    {
      'story_id': name,
      'video': f'{name}.mp4',
      'scenes': [
        {'prompt': f'{name} {a}', 'start_frame': a, 'end_frame': a + 3}
        for a in (0, 3, 6)
      ],
    }
    for name in ('film', 'other')
  ]
  text = ''.join(json.dumps(line) + '\n' for line in lines)
  (tmp_path / 'stories.jsonl').write_text(text)
  out = tmp_path / 'manifest'
  build.build([layouts.opener('stories', str(tmp_path))], out)
  fields = {'image_share': 0.0, 'continuation_share': 0.5, 'heldout_share': 0.0}
  source = config.SourceConfig(layout='manifest', path=str(out))
  own = _pipeline(source, batch_size=6, **fields)
  examples = own.examples(0)['clips']
  firsts = {}
  for example in examples:
    name, start = example.caption.split()
    assert [scene.caption for scene in example.history] == [
      f'{name} {earlier}' for earlier in range(0, int(start), 3)
    ]
    for scene in example.history:
      # The first frame of a scene is the same for all that see it.
      known = firsts.setdefault(scene.caption, scene.frame)
      np.testing.assert_array_equal(scene.frame, known)
  assert len(firsts) == 4
  assert {e.caption for x in examples for e in x.history} <= set(
    own.captions(6)
  )
  assert sorted(set(own.captions(1))) == sorted(
    {examples[0].caption, *(e.caption for e in examples[0].history)}
  )
  film = firsts['film 0'].astype(int)
  assert np.abs(film - firsts['other 0']).mean() > 1


def test_data_without_films_is_refused(good_clips, tmp_path):
  (tmp_path / 'a.mp4').write_bytes(good_clips[3])
  out = tmp_path / 'manifest'
  build.build([lambda _: Folder(tmp_path, caption='a clip')], out)
  source = config.SourceConfig(layout='manifest', path=str(out))
  fields = {'batch_size': 1, 'image_share': 0.0, 'heldout_share': 0.0}
  with pytest.raises(UserError, match='has no films of several scenes'):
    _pipeline(source, **fields)


def test_a_count_above_the_slots_is_refused():
  arrays = {
    'history_count': np.array([0, 4], np.int32),
    'history_text': np.zeros((2, 3, 5), np.int32),
  }
  with pytest.raises(ValueError, match='must be 0 to 3'):
    history_lib.check(arrays)
