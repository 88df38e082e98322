"""A set of its own has the examples of its manifest, small and checked."""

import json
import pathlib
import shutil

import numpy as np
import pytest

from phenaki_jax.data import (
  build,
  check,
  config,
  ingest,
  manifest,
  pipeline,
  schema,
)
from phenaki_jax.data.sources import (
  img2dataset,
  packed,
  stories,
  storyworld,
  webvid,
)
from phenaki_jax.errors import UserError
from phenaki_jax.files import lock

CONFIG = ingest.IngestConfig(
  size=(16, 24), fps=8.0, encoding='png', rows_per_file=8
)
REQUEST = schema.ExampleRequest(size=(16, 24), frames=7, fps=8.0, position=0.4)


@pytest.fixture(scope='module')
def source(media, good_clips, good_images, tmp_path_factory):
  """Build a manifest of 10 clips, 10 images and 3 films of 3 scenes."""
  root = tmp_path_factory.mktemp('source')
  clips = [(data, f'clip {i}') for i, data in enumerate(good_clips)]
  media.webvid(root / 'w', clips)
  images = [(data, f'image {i}', {}) for i, data in enumerate(good_images)]
  media.shard(root / 'i', images)
  (root / 's').mkdir()
  with open(root / 's' / 'stories.jsonl', 'w') as file:
    for n in range(3):
      frames = [media.noise(50 + n)] * 12 + [media.noise(80 + n)] * 12
      media.write_video(root / 's' / f'{n}.mp4', frames)
      spans = ((0, 10), (10, 20), (20, 24))
      scenes = [
        {'prompt': f'scene {a}', 'start_frame': a, 'end_frame': b}
        for a, b in spans
      ]
      film = {'story_id': f's{n}', 'video': f'{n}.mp4', 'scenes': scenes}
      file.write(json.dumps(film) + '\n')
  build.build(
    [
      lambda _: webvid.WebVid(root / 'w'),
      lambda _: img2dataset.Img2Dataset(root / 'i'),
      lambda _: stories.Stories(root / 's'),
    ],
    root / 'm',
  )
  return root / 'm'


@pytest.fixture(scope='module')
def made(source, tmp_path_factory):
  out = tmp_path_factory.mktemp('made') / 'set'
  return ingest.ingest(source, out, CONFIG), out


def contents(folder):
  return {p.name: p.read_bytes() for p in sorted(folder.iterdir())}


def test_examples_are_those_of_the_manifest(source, made):
  account, out = made
  assert (account.clips, account.images, account.records) == (19, 10, 29)
  old, new = manifest.Manifest(source), manifest.Manifest(out)
  assert not list(check.find_problems(new)) and new.has_films
  for row in range(29):
    one, other = old[row], new[row]
    assert (one.caption, one.kind) == (other.caption, other.kind)
    for context in (0, 3):
      request = schema.ExampleRequest(
        size=(16, 24), frames=7, fps=8.0, context_frames=context
      )
      expected = old.reader(row).example(one, request)
      found = new.reader(row).example(other, request)
      np.testing.assert_array_equal(found.pixels, expected.pixels)
      assert found.num_frames == expected.num_frames
      assert found.context_frames == expected.context_frames


def test_provenance_is_stored(source, made):
  old, new = manifest.Manifest(source), manifest.Manifest(made[1])
  frames, provenance = packed.unpack(new.reader(0).read(new[0]))
  assert len(frames) == 12
  assert provenance['content_hash'] == old[0].info.content_hash
  assert provenance['key'] == old[0].key
  assert new.header['ingested']['manifest'] == old.hash
  assert [s['layout'] for s in new.header['ingested']['sources']] == [
    *('webvid', 'img2dataset', 'stories')
  ]


def test_training_reads_the_set_like_a_manifest(made):
  def batches(**fields):
    sources = (config.SourceConfig(layout='manifest', path=str(made[1])),)
    data = config.DataConfig(
      sources=sources, size=(16, 24), heldout_share=0.0, batch_size=10, **fields
    )
    loader = pipeline.Pipeline(
      data, lambda text: np.ones(1, np.int32), tubelet=2, text_length=1
    )
    return [loader.batch(step) for step in (0, 3, 0)]

  for one, other in zip(
    batches(), batches(frame_cache_bytes=10**8), strict=True
  ):
    for part in ('clips', 'images'):
      assert one[part]['pixels'].std() > 20
      np.testing.assert_array_equal(one[part]['pixels'], other[part]['pixels'])


def test_an_interrupted_run_goes_on_to_the_same_bytes(source, made, tmp_path):
  out = shutil.copytree(made[1], tmp_path / 'set')
  for name in (manifest.HEADER, manifest.RECORDS, 'part-0000000008.jsonl'):
    (out / name).unlink()
  before = (out / 'part-0000000016.array_record').stat().st_mtime_ns
  ingest.ingest(source, out, CONFIG)
  assert contents(out) == contents(made[1])
  after = (out / 'part-0000000016.array_record').stat().st_mtime_ns
  assert after == before
  other = ingest.IngestConfig(size=(16, 16))
  with pytest.raises(ValueError, match='with other options'):
    ingest.ingest(source, out, other)
  with pytest.raises(ValueError, match='holds other files'):
    ingest.ingest(source, source, CONFIG)


def test_a_part_of_a_killed_process_is_removed(source, made, tmp_path):
  out = shutil.copytree(made[1], tmp_path / 'set')
  names = 'part-0000000008.array_record', 'part-0000000008.jsonl'
  for name in (*names, manifest.RECORDS):
    (out / name).unlink()
    (out / f'.{name}.part-01234567').mkdir()
    (out / f'.{name}.part-01234567' / name).write_bytes(b'half')
  ingest.ingest(source, out, CONFIG)
  assert contents(out) == contents(made[1])


def test_two_processes_do_not_write_to_one_folder(source, tmp_path):
  with (
    lock.run_lock(tmp_path / 'set'),
    pytest.raises(UserError, match='Another run is writing.*another --out'),
  ):
    ingest.ingest(source, tmp_path / 'set', CONFIG)


def test_every_altered_byte_of_a_record_is_noticed(made, tmp_path):
  out = shutil.copytree(made[1], tmp_path / 'set')
  before = manifest.Manifest(made[1])
  whole = [before.reader(r).read(before[r]) for r in range(29)]
  path = out / 'part-0000000008.array_record'
  data = path.read_bytes()
  used = np.flatnonzero(np.frombuffer(data, np.uint8))
  rng = np.random.default_rng(0)
  noticed = 0
  for place in rng.choice(used, 150):
    changed = bytearray(data)
    changed[place] ^= 1 << rng.integers(8)
    path.write_bytes(changed)
    content = manifest.Manifest(out)
    for row in range(8, 16):
      try:
        # The right bytes are read, or none.
        assert content.reader(row).read(content[row]) == whole[row]
      except schema.DecodeError:
        noticed += 1
  assert noticed > 100


def test_rows_that_changed_since_the_build_are_accounted_for(source, tmp_path):
  root = shutil.copytree(source.parent, tmp_path / 'copy')
  header = json.loads((root / 'm' / manifest.HEADER).read_bytes())
  for spec in header['sources']:
    spec['folder'] = str(root / pathlib.Path(spec['folder']).name)
  (root / 'm' / manifest.HEADER).write_text(json.dumps(header))
  (root / 'w' / 'videos' / '000' / '0003.mp4').unlink()
  (root / 's' / '1.mp4').write_bytes(b'changed')
  account = ingest.ingest(root / 'm', tmp_path / 'out', CONFIG)
  assert account.broken == {'changed_file': 3, 'missing_file': 1}
  assert account.kept == 25
  lines = (tmp_path / 'out' / manifest.QUARANTINE).read_text().splitlines()
  assert [json.loads(x)['key'] for x in lines] == [
    *('000__0003', 's1/000', 's1/001', 's1/002')
  ]


def test_near_duplicates_are_left_out_but_not_scenes_of_one_film(
  media, source, tmp_path
):
  rows = [
    (media.image(media.picture(), 'JPEG', quality=quality), 'x', {})
    for quality in (95, 80, 60)
  ]
  media.shard(tmp_path / 'i', rows + [(media.image(media.noise(7)), 'y', {})])
  build.build(
    [lambda _: img2dataset.Img2Dataset(tmp_path / 'i')], tmp_path / 'm'
  )
  near = ingest.IngestConfig(near_duplicates=20, rows_per_file=2)
  account = ingest.ingest(tmp_path / 'm', tmp_path / 'out', near)
  assert account.images == 2
  assert account.filtered == {'near_duplicate_of_earlier': 2}
  dropped = (tmp_path / 'out' / manifest.DROPPED).read_text()
  assert dropped.count('near_duplicate_of_earlier') == 2
  # A film that begins in one file and goes on in the next one.
  films = ingest.ingest(source, tmp_path / 'films', near)
  assert films.clips == 19 and not films.filtered


def test_scenes_at_another_rate_show_no_frame_of_the_next_one(source, tmp_path):
  slow = ingest.IngestConfig(size=(16, 24), fps=3.0, encoding='png')
  account = ingest.ingest(source, tmp_path / 'set', slow)
  content = manifest.Manifest(tmp_path / 'set')
  spans = [
    (r.start_frame, r.end_frame)
    for r in (content[i] for i in range(len(content)))
    if r.end_frame
  ]
  # Frames 0, 1, 2, 3 | 4, 5, 6, 7 | 8 are shown at 0, 1/3 s, ...
  assert spans == [(0, 3), (4, 7), (8, 9)] * 3 and account.kept == 29


def test_rendered_records_are_refused(tmp_path):
  world = storyworld.StoryWorld(
    storyworld.StoryWorldReader(subset='easy'), num_clips=1, num_images=1
  )
  build.build([lambda _: world], tmp_path / 'm')
  with pytest.raises(ValueError, match='are rendered as they are read'):
    ingest.ingest(tmp_path / 'm', tmp_path / 'out', CONFIG)


@pytest.mark.slow
def test_processes_write_the_same_set(source, made, tmp_path):
  ingest.ingest(source, tmp_path / 'set', CONFIG, workers=2)
  assert contents(tmp_path / 'set') == contents(made[1])
