"""Scenes of films become clips with the frames before them as context."""

import json
import math

import numpy as np
import pytest

from phenaki_jax.data import build, cache, check, examples, manifest, schema
from phenaki_jax.data import config as config_lib
from phenaki_jax.data.sources import stories
from phenaki_jax.errors import UserError

FPS = 8
# Scenes of a film of 40 frames; the fourth is shorter than a latent frame.
SPANS = ((0, 12), (12, 27), (27, 30), (30, 31), (31, 40))
REQUEST = schema.ExampleRequest(size=(16, 16), frames=9, fps=8.0, tubelet=2)


def line(number, spans=SPANS, **changes):
  """Return the line of a film."""
  scenes = [
    {'prompt': f'film {number} scene {i}', 'start_frame': a, 'end_frame': b}
    for i, (a, b) in enumerate(spans)
  ]
  film = {
    'story_id': f's{number}',
    'video': f'videos/{number}.mp4',
    'fps': FPS,
    'scenes': scenes,
  }
  return json.dumps(film | changes)


@pytest.fixture(scope='module')
def folder(media, tmp_path_factory):
  """Write 6 films whose frame i has the level 6 i."""
  folder = tmp_path_factory.mktemp('stories')
  (folder / 'videos').mkdir()
  for number in range(6):
    # The last pixels make every film a file of its own.
    frames = media.levels([6 * i for i in range(40)])
    for frame in frames:
      frame[-4:, -4:] = 40 * number
    media.write_video(folder / 'videos' / f'{number}.mp4', frames, fps=FPS)
  lines = [line(number) for number in range(6)]
  (folder / 'stories.jsonl').write_text('\n'.join(lines) + '\n\n')
  return folder


@pytest.fixture(scope='module')
def built(folder, tmp_path_factory):
  out = tmp_path_factory.mktemp('built') / 'm'
  (report,) = build.build([lambda indices: stories.Stories(folder)], out)
  return report, manifest.Manifest(out)


def numbers(example):
  """Return the frames of the film that an example shows, from their levels."""
  levels = example.pixels[: example.num_frames, 2:6, 2:6].mean((1, 2, 3))
  return np.round(levels / 6).astype(int).tolist()


def dataset(content, *, cache_bytes=0, request=REQUEST, **fields):
  source = config_lib.SourceConfig(layout='manifest', path=str(content.folder))
  fields = {'heldout_share': 0.0, 'context_frames': 5} | fields
  config = config_lib.DataConfig(sources=(source,), **fields)
  return examples.MixedExamples(
    config, request, 'clip', [content], cache.FrameCache(cache_bytes)
  )


def scene_of(example):
  return int(example.caption.split()[-1])


def test_every_scene_is_a_record_that_knows_its_frames(built):
  report, content = built
  # Scenes of one frame are too short to be clips.
  assert (report.records, report.kept) == (30, 24)
  assert report.filtered == {'too_short': 6}
  spans = [span for span in SPANS if span != (30, 31)]
  found = [content[row] for row in range(24)]
  for place, record in enumerate(found):
    number, scene = divmod(place, 4)
    assert (record.start_frame, record.end_frame) == spans[scene]
    assert record.path == f'videos/{number}.mp4'
    assert record.caption.startswith(f'film {number} scene ')
    assert record.info.num_frames == 40
    assert record.info.duration == pytest.approx(5.0)
  assert len({record.key for record in found}) == 24
  assert not list(check.find_problems(content))


def test_clips_stay_within_their_scene(built):
  clips = dataset(built[1], continuation_share=0.0)
  starts = set()
  for i in range(200):
    example = clips[i]
    first, end = SPANS[scene_of(example)]
    shown = numbers(example)
    assert example.context_frames == 0
    assert example.num_frames == min(9, 1 + (end - first - 1) // 2 * 2)
    assert first <= shown[0] and shown[-1] < end
    assert shown == list(range(shown[0], shown[0] + len(shown)))
    starts.add(shown[0])
  assert len(starts) > 8


@pytest.mark.parametrize('position', [0.0, 0.5, 1 - 1e-9])
def test_the_last_start_shows_no_frame_of_the_next_scene(built, position):
  content = built[1]
  request = schema.ExampleRequest(
    size=(16, 16), frames=9, fps=8.0, tubelet=2, position=position
  )
  example = content.reader(0).example(content[0], request)
  first = {0.0: 0, 0.5: 1, 1 - 1e-9: 3}[position]
  assert numbers(example) == list(range(first, first + 9))


def test_continuations_start_with_the_frames_before_their_scene(built):
  clips = dataset(built[1], continuation_share=1.0)
  seen = set()
  for i in range(48):
    example = clips[i]
    scene = scene_of(example)
    first, end = SPANS[scene]
    seen.add(scene)
    if scene == 0:
      assert example.context_frames == 0 and numbers(example)[0] >= 0
      continue
    assert example.context_frames == 5
    own = min(4, (end - first) // 2 * 2)
    assert numbers(example) == list(range(first - 5, first + own))
  assert seen == {0, 1, 2, 4}


def test_a_share_is_continued_and_depends_on_seed_and_index_alone(built):
  content = built[1]
  one, same = (dataset(content, continuation_share=0.5) for _ in range(2))
  kept = dataset(content, continuation_share=0.5, cache_bytes=10**8)
  other = dataset(content, continuation_share=0.5, seed=1)
  contexts, others, later = [], [], 0
  for i in range(80):
    example = one[i]
    for again in (same[i], kept[i]):
      np.testing.assert_array_equal(again.pixels, example.pixels)
      assert again.context_frames == example.context_frames
    contexts.append(example.context_frames)
    others.append(other[i].context_frames)
    later += scene_of(example) > 0
  assert set(contexts) == {0, 5}
  assert 0.35 < contexts.count(5) / later < 0.65
  assert others != contexts


def test_context_frames_have_the_rate_of_the_clip(built):
  """At 4 frames per second, 5 context frames are 10 frames of the film."""
  request = schema.ExampleRequest(size=(16, 16), frames=9, fps=4.0, tubelet=2)
  clips = dataset(built[1], continuation_share=1.0, request=request)
  for i in range(24):
    example = clips[i]
    scene = scene_of(example)
    # Scene 2 lasts 3 frames, which are too few for two frames at this rate.
    assert example.context_frames == (5 if scene in (1, 4) else 0)
    if example.context_frames:
      first = SPANS[scene][0]
      assert numbers(example)[:6] == list(range(first - 10, first + 1, 2))


def test_all_scenes_of_a_film_are_in_one_split(built):
  content = built[1]
  films = [
    {
      content[int(row)].path
      for row in content.rows('clip', split=split, heldout_share=0.5)
    }
    for split in ('train', 'heldout')
  ]
  assert films[0] and films[1] and not films[0] & films[1]


@pytest.mark.parametrize('context_frames', [4, 9])
def test_a_context_that_does_not_fit_is_an_error(built, context_frames):
  with pytest.raises(UserError, match='context_frames is .* 1 \\+ k \\* 2'):
    dataset(
      built[1], frames=17, context_frames=context_frames, continuation_share=0.5
    )
  dataset(
    built[1], frames=17, context_frames=context_frames, continuation_share=0.0
  )


@pytest.mark.parametrize(
  ('text', 'reason', 'detail'),
  [
    ('{', 'malformed_row', 'Invalid JSON'),
    (line(0, video=3), 'malformed_row', 'video: Input should be'),
    (
      line(0, scenes=[{'prompt': 'a'}]),
      'malformed_row',
      'scenes.0.start_frame',
    ),
    (line(0, spans=[(5, 5)]), 'malformed_row', 'frames 5..5 are none'),
    (line(0, spans=[(-1, 5)]), 'malformed_row', 'greater than or equal to 0'),
    (line(0, spans=[(33, 41)]), 'scene_after_end', 'frame 41 of 40'),
    (line(0, spans=[(0, 9)], video='../0.mp4'), 'missing_file', 'no file'),
    (line(0, spans=[(0, 9)], video='videos/9.mp4'), 'missing_file', '9.mp4'),
  ],
)
def test_broken_lines_are_listed(folder, tmp_path, text, reason, detail):
  own = tmp_path / 'stories'
  own.mkdir()
  (own / 'videos').symlink_to(folder / 'videos')
  (own / 'stories.jsonl').write_text(f'{line(1)}\n{text}\n')
  (report,) = build.build(
    [lambda indices: stories.Stories(own)], tmp_path / 'm'
  )
  assert (report.kept, report.broken) == (4, {reason: 1})
  (listed,) = (tmp_path / 'm' / manifest.QUARANTINE).read_text().splitlines()
  assert detail in json.loads(listed)['detail']


def test_the_same_scene_is_kept_once(folder, tmp_path):
  own = tmp_path / 'stories'
  own.mkdir()
  (own / 'videos').symlink_to(folder / 'videos')
  (own / 'a.jsonl').write_text(line(1))
  (own / 'b.jsonl').write_text(
    line(2, video='videos/1.mp4', spans=[(0, 12), (0, 9)])
  )
  (report,) = build.build(
    [lambda indices: stories.Stories(own)], tmp_path / 'm'
  )
  assert report.kept == 5
  assert report.filtered == {'duplicate_of_earlier': 1, 'too_short': 1}


def test_only_files_of_the_training_split_are_read(folder, tmp_path):
  (tmp_path / 'train.jsonl').write_text(line(1))
  (tmp_path / 'test.jsonl').write_text(line(2))
  source = stories.Stories(tmp_path)
  assert {record.path for record in source} == {'videos/1.mp4'}
  assert source.notes() == {'jsonl_not_train': 1}
  with pytest.raises(UserError, match='holds no JSONL file'):
    stories.Stories(tmp_path / 'nothing')


def test_a_film_is_decoded_once_for_its_scenes(folder, monkeypatch):
  decoded = []
  examine = stories.video.examine

  def counted(data, **options):
    decoded.append(options['content_hash'])
    return examine(data, **options)

  monkeypatch.setattr(stories.video, 'examine', counted)
  monkeypatch.setattr(stories, '_KEPT', 2)
  source = stories.Stories(folder)
  for record in source:
    info = source.reader.examine(record, max_duration=0.1)
    assert info.duration == pytest.approx(5.0) and math.isfinite(info.duration)
  assert len(decoded) == len(set(decoded)) == 6
