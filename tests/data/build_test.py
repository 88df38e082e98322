"""Builds of small sets made here, and of the LPC set where it is present."""

import functools
import json
import os
import pathlib

import numpy as np
import pytest

from phenaki_jax.data import build, filters, manifest
from phenaki_jax.data.sources import files, img2dataset, webvid

LPC = pathlib.Path(__file__).parents[3] / 'shared' / 'data' / 'lpc-stories'


def clips_of(folder):
  return lambda indices: webvid.WebVid(folder)


def images_of(folder):
  return lambda indices: img2dataset.Img2Dataset(folder, index_folder=indices)


@pytest.fixture
def folders(media, good_clips, good_images, tmp_path):
  """Return a WebVid and an img2dataset folder with every kind of fault."""
  one_frame = media.video(media.levels([90]), fps=1)
  clips = [(data, f'clip {i}') for i, data in enumerate(good_clips)]
  clips += [
    (None, 'missing'),
    (good_clips[0][: len(good_clips[0]) // 2], 'truncated'),
    (b'<html>404</html>', 'a page'),
    (b'', 'empty'),
    (good_clips[3], 'again'),
    (media.video(media.levels([10, 90]), fps=8), 'short'),
    (one_frame, 'still'),
    (media.video([media.noise(5, 16, 40)] * 8), 'small'),
    (good_clips[1], 'long caption' * 1000),
  ]
  small = media.image(media.noise(1, 20, 90), 'JPEG')
  images = [(data, f'image {i}', {}) for i, data in enumerate(good_images)]
  images += [
    (good_images[2], 'again', {}),
    (good_images[2], 'unsafe', {'punsafe': 0.7}),
    (good_images[2], 'marked', {'pwatermark': 0.7}),
    (good_images[4][:-400], 'damaged', {}),
    (good_images[4], '', {}),
    (small, 'small', {}),
    (None, 'gone', {'status': 'failed_to_download'}),
  ]
  media.webvid(tmp_path / 'webvid', clips)
  media.shard(tmp_path / 'images', images)
  return tmp_path / 'webvid', tmp_path / 'images'


def build_both(folders, out, **options):
  options = {'max_broken_share': 0.3, **options}
  return build.build(
    [clips_of(folders[0]), images_of(folders[1])], out, **options
  )


def test_every_record_is_kept_or_left_out_for_a_reason(folders, tmp_path):
  out = tmp_path / 'manifest'
  clips, images = build_both(folders, out)
  assert (clips.records, clips.clips, clips.images) == (19, 10, 0)
  assert clips.filtered == {
    'caption_over_1000': 1,
    'duplicate_of_earlier': 1,
    'one_frame': 1,
    'smaller_than_32px': 1,
    'too_short': 1,
  }
  assert clips.broken == {
    'empty_file': 1,
    'missing_file': 1,
    'not_a_video': 1,
    'truncated_file': 1,
  }
  assert (images.records, images.clips, images.images) == (17, 0, 10)
  assert images.filtered == {
    'duplicate_of_earlier': 1,
    'empty_caption': 1,
    'not_downloaded': 1,
    'smaller_than_32px': 1,
    'unsafe_over_0.5': 1,
    'watermark_over_0.5': 1,
  }
  assert images.broken == {'corrupt_jpeg': 1}
  # Clips of WebVid are kept without the scores that its tables do not have.
  assert clips.notes == {
    'kept_without_unsafe_score': 10,
    'kept_without_watermark_score': 10,
  }
  assert images.notes['kept_with_given_unsafe_score'] == 10

  content = manifest.Manifest(out)
  assert len(content) == 20
  captions = [content[row].caption for row in range(20)]
  assert captions == [f'clip {i}' for i in range(10)] + [
    f'image {i}' for i in range(10)
  ]
  assert content.reports() == [clips, images]
  written = json.loads((out / manifest.REPORT).read_text())
  assert written['records'] == 36 and written['kept'] == 20

  def lines(name):
    return [json.loads(x) for x in (out / name).read_text().splitlines()]

  quarantine, dropped = lines(manifest.QUARANTINE), lines(manifest.DROPPED)
  assert len(quarantine) == 5 and len(dropped) == 11
  assert {'source', 'key', 'path', 'reason', 'detail'} == set(quarantine[0])
  assert quarantine[0]['key'] == '000__0010'
  assert quarantine[0]['reason'] == 'missing_file'


def test_two_builds_differ_only_in_the_location_of_the_data(folders, tmp_path):
  build_both(folders, tmp_path / 'one', workers=1)
  moved = tmp_path / 'moved'
  os.rename(folders[0], moved)
  build_both((moved, folders[1]), tmp_path / 'two', workers=3)
  one, two = (manifest.Manifest(tmp_path / name) for name in ('one', 'two'))
  assert one.hash == two.hash
  for name in (manifest.RECORDS, manifest.DROPPED, manifest.QUARANTINE):
    assert (one.folder / name).read_bytes() == (two.folder / name).read_bytes()


def test_the_hash_depends_on_the_kept_records(folders, tmp_path):
  build_both(folders, tmp_path / 'one')
  build_both(
    folders, tmp_path / 'two', filters=filters.FilterConfig(min_side=16)
  )
  one, two = (manifest.Manifest(tmp_path / name) for name in ('one', 'two'))
  assert len(two) == len(one) + 2 and one.hash != two.hash


def test_too_many_broken_records_are_rejected_with_the_counts(
  folders, tmp_path
):
  with pytest.raises(
    ValueError, match='4 of the 19 .* 1 missing_file'
  ) as caught:
    build_both(folders, tmp_path / 'out', max_broken_share=0.2)
  assert not (tmp_path / 'out').exists()
  # The lists are kept, and the message names them, until a build succeeds.
  kept = tmp_path / 'out.refused'
  assert f'are listed in {kept}/quarantine.jsonl' in str(caught.value)
  lines = (kept / manifest.QUARANTINE).read_text().splitlines()
  assert [json.loads(line)['key'] for line in lines] == [
    f'000__{i:04d}' for i in (10, 11, 12, 13)
  ]
  assert len((kept / manifest.DROPPED).read_text().splitlines()) == 5
  build_both(folders, tmp_path / 'out')
  assert not kept.exists()


def test_an_unexpected_error_of_a_decoder_costs_one_record(
  folders, tmp_path, monkeypatch
):
  real = files.FileReader.examine

  def fail(self, record, **options):
    if record.key == '000__0003':
      raise ZeroDivisionError('no frames')
    return real(self, record, **options)

  monkeypatch.setattr(files.FileReader, 'examine', fail)
  clips, _ = build_both(folders, tmp_path / 'out')
  assert clips.broken['decoder_failed'] == 1 and clips.clips == 10
  lines = (tmp_path / 'out' / manifest.QUARANTINE).read_text().splitlines()
  found = {(line := json.loads(x))['key']: line['detail'] for x in lines}
  assert found['000__0003'] == 'ZeroDivisionError: no frames'


def test_a_fault_of_the_metadata_names_file_and_row(
  media, good_clips, tmp_path
):
  folder = media.webvid(tmp_path / 'w', [(data, 'x') for data in good_clips])
  with open(folder / 'results_train.csv', 'ab') as file:
    file.write(b'0010,000,caf\xe9\n0011,000,"open\n')
  (found,) = build.build([clips_of(folder)], tmp_path / 'out')
  assert found.records == 12 and found.clips == 10
  assert found.broken == {'malformed_quotes': 1, 'not_utf8': 1}
  text = (tmp_path / 'out' / manifest.QUARANTINE).read_text()
  details = [json.loads(line)['detail'] for line in text.splitlines()]
  assert details == [
    r"results_train.csv, line 12: '0010,000,caf\udce9'",
    "results_train.csv, line 13: '0011,000,\"open'",
  ]


def test_videos_below_a_name_that_is_not_utf8_are_missing(
  media, good_clips, tmp_path
):
  folder = media.webvid(tmp_path / 'w', [(data, 'x') for data in good_clips])
  os.rename(folder / 'videos', os.fsencode(folder) + b'/caf\xe9')
  with pytest.raises(ValueError, match='10 of the 10 .*10 missing_file'):
    build.build([clips_of(folder)], tmp_path / 'out')


def test_a_source_without_usable_records_is_rejected(
  media, good_images, tmp_path
):
  rows = [(data, 'x', {'punsafe': 0.9}) for data in good_images]
  media.shard(tmp_path / 'images', rows)
  with pytest.raises(ValueError, match='none of the 10 .*.10 unsafe_over_0.5'):
    build.build([images_of(tmp_path / 'images')], tmp_path / 'out')
  empty = media.webvid(tmp_path / 'empty', [])
  with pytest.raises(ValueError, match='none of the 0 .*lists none'):
    build.build([clips_of(empty)], tmp_path / 'out')
  with pytest.raises(ValueError, match='there is no source'):
    build.build([], tmp_path / 'out')


def test_a_missing_score_never_counts_as_safe(media, good_images, tmp_path):
  rows = [(data, 'x', {}) for data in good_images]
  media.shard(tmp_path / 'images', rows, drop=('punsafe',))
  attempt = functools.partial(
    build.build, [images_of(tmp_path / 'images')], tmp_path / 'out'
  )
  with pytest.raises(ValueError, match="no column 'punsafe'"):
    attempt()
  allowed = filters.FilterConfig(allow_missing=('punsafe',))
  assert attempt(filters=allowed)[0].images == 10


def test_missing_scores_are_computed_and_counted(media, folders, tmp_path):
  white = media.image(np.full((40, 48, 3), 255, np.uint8), 'PNG')
  dark = media.image(np.zeros((40, 48, 3), np.uint8), 'PNG')
  rows = [(white, 'white', {}), (dark, 'dark', {}), (dark, 'given', {})]
  for row, score in zip(rows, (None, None, 0.9), strict=True):
    row[2]['punsafe'] = score
  media.shard(tmp_path / 'scored', rows)

  def score(frames):
    assert frames.shape[1:] == (*build.SCORED, 3)
    return frames.mean() / 255

  clips, images = build.build(
    [clips_of(folders[0]), images_of(tmp_path / 'scored')],
    tmp_path / 'out',
    filters=filters.FilterConfig(score_unsafe=True),
    max_broken_share=0.5,
    score_unsafe=score,
  )
  # The clips are dark noise.
  assert clips.notes['kept_with_computed_unsafe_score'] == clips.clips == 10
  assert images.images == 1
  assert images.filtered == {
    'computed_unsafe_over_0.5': 1,
    'unsafe_over_0.5': 1,
  }
  assert images.notes['kept_with_computed_unsafe_score'] == 1


@pytest.mark.parametrize('error', [KeyboardInterrupt, OSError])
def test_a_failed_build_leaves_the_older_manifest(
  folders, tmp_path, monkeypatch, error
):
  out = tmp_path / 'out'
  build_both(folders, out)
  before = manifest.Manifest(out).hash
  calls = []

  def fail(record, config, real=filters.metadata_fault):
    calls.append(record)
    if len(calls) == 25:
      raise error
    return real(record, config)

  monkeypatch.setattr(filters, 'metadata_fault', fail)
  with pytest.raises(error):
    build_both(folders, out)
  assert manifest.Manifest(out).hash == before
  left = sorted(path.name for path in tmp_path.iterdir())
  assert left == ['images', 'out', 'webvid']


def test_only_a_manifest_is_replaced(folders, tmp_path):
  out = tmp_path / 'precious'
  out.mkdir()
  (out / 'thesis.txt').write_text('years of work')
  with pytest.raises(ValueError, match='holds files but no manifest'):
    build_both(folders, out)
  assert (out / 'thesis.txt').is_file()
  with pytest.raises(ValueError, match='is a file'):
    build_both(folders, out / 'thesis.txt')


@pytest.mark.slow
@pytest.mark.skipif(
  not LPC.is_dir(), reason=f'the LPC stories are not beside the checkout: {LPC}'
)
def test_the_report_of_lpc_stories_equals_its_ledger(tmp_path):
  ledger = json.loads((LPC / 'ledger.json').read_text())
  reports = build.build(
    [clips_of(LPC / 'webvid'), images_of(LPC / 'laion')], tmp_path / 'out'
  )
  sides = (ledger['webvid_train'], 'clips'), (ledger['laion'], 'images')
  for found, (side, total) in zip(reports, sides, strict=True):
    expected = {key: count for key, count in side.items() if key != total}
    assert found.filtered | found.broken == expected
    assert found.records == side[total]
    assert found.kept == side[total] - sum(expected.values())
  written = json.loads((tmp_path / 'out' / manifest.REPORT).read_text())
  assert [s['records'] for s in written['sources']] == [2400, 5000]
