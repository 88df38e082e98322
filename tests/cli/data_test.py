"""`phenaki data`, as a user calls it."""

import json
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from phenaki_jax import storyworld
from phenaki_jax.cli import main
from phenaki_jax.data import manifest, records
from phenaki_jax.data.sources import packed
from phenaki_jax.files.digests import file_digest


def call(*words):
  return main.main(['data', *map(str, words)])


@pytest.fixture(scope='module')
def world(tmp_path_factory):
  folder = tmp_path_factory.mktemp('cli') / 'world'
  assert call('storyworld', '--out', folder, '--clips', 6, '--images', 5) == 0
  return folder


def build(world, out, *more):
  return call(
    *('build', '--webvid', world / 'webvid', '--out', out, '--img2dataset'),
    *(world / 'img2dataset', *more),
  )


def test_build_check_and_inspect(world, tmp_path, capsys):
  out, sheet = tmp_path / 'manifest', tmp_path / 'sheet.png'
  assert build(world, out, '--storyworld', 3) == 0
  said = capsys.readouterr().out
  assert '6 kept: 6 clips, 0 images' in said
  assert '5 kept: 0 clips, 5 images' in said
  assert '6 kept: 3 clips, 3 images' in said
  report = json.loads((out / 'report.json').read_text())
  assert report['kept'] == 17

  assert call('check', out) == 0
  assert '17 records read again, 0 problems' in capsys.readouterr().out

  assert call('inspect', out, '--out', sheet, '--images', 4) == 0
  assert (
    f'wrote {sheet}: 6 of 9 clips, 4 of 8 images' in capsys.readouterr().out
  )
  with Image.open(sheet) as picture:
    assert picture.width > 900 and picture.height > 600


def test_build_filters_by_language_and_words(world, tmp_path, capsys):
  words, out = tmp_path / 'words.txt', tmp_path / 'manifest'
  words.write_text('# colours\nRED\n')
  assert build(world, out, '--toxic-words', words, '--language', 'EN') == 0
  content = manifest.Manifest(out)
  kept = [content.caption(row) for row in range(len(content))]
  report = json.loads((out / 'report.json').read_text())
  toxic = sum(s['filtered'].get('toxic_word', 0) for s in report['sources'])
  assert toxic and len(kept) + toxic == report['records'] == 11
  assert not any('red' in caption.split() for caption in kept)
  capsys.readouterr()
  # WebVid has no such column.
  assert build(world, tmp_path / 'de', '--language', 'de') == 2
  assert '(5 language_not_de)' in capsys.readouterr().err


def _contents(folder):
  return {
    path.relative_to(folder): path.read_bytes()
    for path in folder.rglob('*')
    if path.is_file()
  }


def test_storyworld_command_writes_what_the_library_writes(
  tmp_path, monkeypatch, capsys
):
  shared = {'seed': 0, 'subset': 'easy', 'size': 64}
  written = tmp_path / 'written'
  storyworld.write_webvid(written / 'webvid', 3, frames=17, fps=8, **shared)
  storyworld.write_img2dataset(written / 'img2dataset', 2, **shared)

  def said(name):
    out = tmp_path / name
    assert call('storyworld', '--out', out, '--clips', 3, '--images', 2) == 0
    assert _contents(out) == _contents(written)
    return capsys.readouterr().err

  assert said('piped') == ''
  monkeypatch.delenv('TQDM_DISABLE', raising=False)
  monkeypatch.setattr(sys.stderr, 'isatty', lambda: True)
  assert '5/5' in said('shown')
  monkeypatch.setenv('TQDM_DISABLE', '1')
  assert said('muted') == ''


def test_lpc_writes_what_build_reads(sprite_sheets, tmp_path, capsys):
  out, manifest = tmp_path / 'lpc', tmp_path / 'manifest'
  words = ['lpc', '--sheets', sprite_sheets, '--clips', 3, '--images', 2]
  assert call(*words, '--stories', 1, '--out', out) == 0
  assert 'wrote 3 clips, 2 images, 1 story to' in capsys.readouterr().out
  assert sorted(path.name for path in out.iterdir()) == [
    *('AUTHORS.txt', 'LICENSE.txt', 'img2dataset', 'stories', 'webvid')
  ]
  assert (out / 'AUTHORS.txt').read_text() == 'an artist'
  assert 'CC-BY-SA 3.0' in (out / 'LICENSE.txt').read_text()
  again = tmp_path / 'again'
  returns = tmp_path / 'returns'
  none = ['lpc', '--sheets', sprite_sheets, '--clips', 0, '--images', 0]
  assert call(*none, '--stories', 0, '--returns', 1, '--out', returns) == 0
  assert ' 1 story to' in capsys.readouterr().out
  text = (returns / 'returns' / 'stories.jsonl').read_text()
  assert len(json.loads(text)['scenes']) == 5
  assert call(*words, '--stories', 1, '--out', again) == 0
  assert _contents(again) == _contents(out)
  other = tmp_path / 'other'
  assert call(*words, '--stories', 1, '--held-out', '--out', other) == 0
  assert _contents(other) != _contents(out)
  assert build(out, manifest, '--stories', out / 'stories') == 0
  (film,) = (out / 'stories' / 'stories.jsonl').read_text().splitlines()
  scenes = len(json.loads(film)['scenes'])
  report = json.loads((manifest / 'report.json').read_text())
  assert report['kept'] == 5 + scenes
  assert [source['clips'] for source in report['sources']] == [3, 0, scenes]


@pytest.mark.parametrize(
  ('words', 'sentence'),
  [
    (['--size', '63'], 'size is 63, but a character has 64 pixels'),
    (['--size', '65'], 'needs even sides'),
    (['--size', '65', '--clips', '0'], 'needs even sides'),
    (
      ['--sheets', 'nowhere'],
      'there is no folder nowhere; get the sheets',
    ),
    (['--sheets', 'full'], 'lacks 128 sheets, such as body/female/dark2.png;'),
    (['--out', 'full'], 'full is not empty'),
    (['--clips', '0', '--images', '0', '--stories', '0'], 'nothing to write'),
  ],
)
def test_lpc_errors_end_in_one_sentence_and_leave_no_file(
  words, sentence, sprite_sheets, tmp_path, monkeypatch, capsys
):
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'full').mkdir()
  (tmp_path / 'full' / 'file').write_text('kept')
  few = ['--clips', 1, '--images', 1, '--stories', 1]
  assert call('lpc', '--sheets', sprite_sheets, '--out', 'X', *few, *words) == 2
  said = capsys.readouterr().err
  assert sentence in said and said.count('\n') == 1
  assert _contents(tmp_path).keys() == {pathlib.Path('full/file')}


def test_check_finds_a_changed_clip(world, tmp_path, capsys):
  copy, out = tmp_path / 'world', tmp_path / 'manifest'
  shutil.copytree(world, copy)
  assert build(copy, out) == 0
  first, second, *_ = sorted((copy / 'webvid').rglob('*.mp4'))
  second.write_bytes(first.read_bytes())
  capsys.readouterr()
  assert call('check', out) == 1
  said = capsys.readouterr().out
  assert f'{second.stem}: changed_file' in said and '1 problem\n' in said


@pytest.mark.parametrize(
  'words, sentence',
  [
    (['build', '--out', 'X'], 'name at least one source'),
    (['build', '--webvid', '.', '--out', 'X'], 'holds no CSV file'),
    (['build', '--img2dataset', '.', '--out', 'X'], 'holds no shards'),
    (['build', '--storyworld', '0', '--out', 'X'], 'has no examples'),
    (
      ['build', '--storyworld', '5', '--subset', 'tiny', '--out', 'X'],
      "unknown subset 'tiny'",
    ),
    (['check', '.'], 'is not a manifest'),
    (['inspect', '.', '--out', 'X.png'], 'is not a manifest'),
    (['storyworld', '--out', 'full'], 'is not empty'),
    (
      ['storyworld', '--out', 'X', '--clips', '0', '--images', '0'],
      'nothing to write',
    ),
  ],
)
def test_errors_end_in_one_sentence_and_leave_no_file(
  words, sentence, tmp_path, monkeypatch, capsys
):
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'full').mkdir()
  (tmp_path / 'full' / 'file').write_text('kept')
  assert call(*words) == 2
  said = capsys.readouterr().err
  assert sentence in said and said.count('\n') == 1
  assert said.startswith(f'phenaki data {words[0]}: ')
  assert sorted(path.name for path in tmp_path.iterdir()) == ['full']


@pytest.mark.parametrize(
  'option, value', [('--max-unsafe', '2'), ('--storyworld', '-1')]
)
def test_numbers_out_of_range_are_refused(option, value, tmp_path, capsys):
  with pytest.raises(SystemExit):
    call('build', option, value, '--out', tmp_path)
  assert f'{value!r} is not a' in capsys.readouterr().err


def test_ctrl_c_leaves_no_partial_files(tmp_path, monkeypatch):
  def stop(*_, **__):
    raise KeyboardInterrupt

  monkeypatch.setattr(storyworld, 'write_img2dataset', stop)
  code = call('storyworld', '--out', tmp_path / 'world', '--clips', 1)
  assert code == 130
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
  ('number', 'code', 'word'),
  [
    pytest.param(signal.SIGINT, 130, 'Ctrl-C', marks=pytest.mark.slow),
    (signal.SIGTERM, 143, 'SIGTERM'),
  ],
)
def test_a_stopped_build_leaves_the_older_manifest(
  tmp_path, number, code, word
):
  out = tmp_path / 'manifest'
  assert call('build', '--storyworld', 3, '--out', out) == 0
  before = _contents(tmp_path)
  command = ['data', 'build', '--storyworld', '1000000', '--out', str(out)]
  build = subprocess.Popen(
    [sys.executable, '-m', 'phenaki_jax', *command],
    stderr=subprocess.PIPE,
    text=True,
    # A shell's background jobs, such as a whole test run, ignore Ctrl-C.
    preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
  )
  while build.poll() is None and _contents(tmp_path).keys() == before.keys():
    time.sleep(0.05)
  build.send_signal(number)
  _, said = build.communicate(timeout=60)
  assert build.returncode == code, said
  assert f'stopped by {word}' in said and said.count('\n') == 1
  assert _contents(tmp_path) == before
  assert [path.name for path in tmp_path.iterdir()] == ['manifest']


def _without_column(webvid):
  table = webvid / 'results_10M_train.csv'
  table.write_text(table.read_text().replace('name', 'title', 1))


def _without_videos(webvid):
  shutil.rmtree(webvid / 'videos')


def _without_rows(webvid):
  (webvid / 'results_10M_train.csv').write_text('')


def _with_noise(webvid):
  (webvid / 'results_10M_train.csv').write_bytes(bytes(range(256)))


def _with_one_frame_each(webvid):
  from phenaki_jax.media.mp4 import write_mp4

  for path in webvid.rglob('*.mp4'):
    frames = np.zeros((1, 64, 64, 3), np.uint8)
    write_mp4(
      path, frames, fps=8, provenance={'notice': 'rendered'}, min_height=1
    )


def _with_long_captions(webvid):
  table = webvid / 'results_10M_train.csv'
  head, *rows = table.read_text().splitlines()
  rows = [','.join([*row.split(',')[:4], 'a ' * 5_000]) for row in rows]
  table.write_text('\n'.join([head, *rows]))


@pytest.mark.parametrize(
  ('damage', 'sentence'),
  [
    (_without_column, "no column 'name'; the WebVid layout needs"),
    (_without_videos, '6 of the 6 records .* are broken .6 missing_file'),
    (_without_rows, "no column 'videoid'.* it has none"),
    (_with_noise, 'is not UTF-8 text; save it as UTF-8'),
    (_with_one_frame_each, 'none of the 6 records .*6 too_short'),
    (_with_long_captions, 'none of the 6 records .*6 caption_over_1000'),
  ],
)
def test_a_broken_source_leaves_the_older_manifest(
  world, tmp_path, capsys, damage, sentence
):
  copy, out = tmp_path / 'world', tmp_path / 'manifest'
  shutil.copytree(world, copy)
  assert call('build', '--webvid', copy / 'webvid', '--out', out) == 0
  damage(copy / 'webvid')
  before = _contents(tmp_path)
  capsys.readouterr()
  assert call('build', '--webvid', copy / 'webvid', '--out', out) == 2
  said = capsys.readouterr().err
  assert re.search(sentence, said) and said.count('\n') == 1
  left = _contents(tmp_path)
  lists = {
    pathlib.Path('manifest.refused', name)
    for name in ('dropped.jsonl', 'quarantine.jsonl')
  }
  # The lists of a build that was refused are kept, and the message says so.
  kept = lists if 'none of the' in said or 'are broken' in said else set()
  assert left.keys() - before.keys() == kept
  assert ('manifest.refused/quarantine.jsonl' in said) == bool(kept)
  assert {path: left[path] for path in before} == before


def test_ingest_writes_a_manifest_of_its_own(world, tmp_path, capsys):
  assert build(world, tmp_path / 'm') == 0
  words = ('ingest', tmp_path / 'm', '--out', tmp_path / 'set', '--size', 16)
  assert call(*words, '--near-duplicates', 99) == 2
  assert 'less than or equal to 47' in capsys.readouterr().err
  assert call(*words, '--workers', 1) == 0
  assert '11 kept: 6 clips, 5 images' in capsys.readouterr().out
  shutil.rmtree(tmp_path / 'm')
  assert call('check', tmp_path / 'set') == 0
  assert '11 records read again, 0 problems' in capsys.readouterr().out
  sheet = tmp_path / 'sheet.png'
  assert call('inspect', tmp_path / 'set', '--out', sheet, '--size', 16) == 0


def test_ingest_encodes_frames_as_it_is_told(world, tmp_path):
  images = ('build', '--img2dataset', world / 'img2dataset')
  assert call(*images, '--out', tmp_path / 'm') == 0
  bytes_of = {}
  for name, option, value in (
    ('png', '--encoding', 'png'),
    ('fine', '--quality', 100),
    ('coarse', '--quality', 5),
  ):
    out = tmp_path / name
    words = ('ingest', tmp_path / 'm', '--out', out, '--workers', 1)
    assert call(*words, option, value) == 0
    contents = [
      reader.read(record) for record, reader in manifest.Manifest(out).records()
    ]
    frames = [packed.unpack(content)[0][0] for content in contents]
    start = b'\x89PNG' if name == 'png' else b'\xff\xd8\xff'
    assert len(frames) == 5 and all(x.startswith(start) for x in frames)
    bytes_of[name] = sum(map(len, frames))
  assert 2 * bytes_of['coarse'] < bytes_of['fine']


def test_an_empty_manifest_is_an_error(tmp_path, capsys):
  table = tmp_path / manifest.RECORDS
  with records.RecordWriter(table) as writer:
    pass
  header = {
    'version': manifest.VERSION,
    'hash': writer.content_hash(),
    'records_sha256': file_digest(table),
    'sources': [],
  }
  (tmp_path / manifest.HEADER).write_text(json.dumps(header))
  assert call('check', tmp_path) == 2
  assert 'is a manifest without records' in capsys.readouterr().err


def test_a_folder_with_json_lines_is_built_and_checked(world, tmp_path, capsys):
  (clip, *_) = sorted((world / 'webvid').rglob('*.mp4'))
  line = {'file_name': clip.name, 'text': 'a clip', 'punsafe': 0.0}
  folder = tmp_path / 'f'
  folder.mkdir()
  shutil.copy(clip, folder)
  (folder / 'metadata.jsonl').write_text(json.dumps(line))
  out = tmp_path / 'm'
  words = ('build', '--jsonl', folder, '--out', out)
  assert call(*words) == 2
  assert "no column 'pwatermark'" in capsys.readouterr().err
  assert call(*words, '--max-watermark', 'none') == 0
  assert '1 kept: 1 clip, 0 images' in capsys.readouterr().out
  assert call('check', out) == 0


@pytest.mark.slow
def test_missing_unsafe_scores_are_computed(world, tmp_path, capsys):
  out = tmp_path / 'm'
  words = ('build', '--webvid', world / 'webvid', '--out', out)
  assert call(*words, '--score-unsafe', '--max-unsafe', '0.9') == 0
  said = capsys.readouterr().out
  assert '6 kept: 6 clips' in said
  assert '6 kept_with_computed_unsafe_score (note)' in said


def test_check_finds_data_that_were_moved(world, tmp_path, capsys):
  copy, out = tmp_path / 'world', tmp_path / 'manifest'
  shutil.copytree(world, copy)
  assert build(copy, out, '--storyworld', 2) == 0
  (tmp_path / 'disk').mkdir()
  shutil.move(copy, tmp_path / 'disk' / 'data')
  assert call('check', out, '--show', 3) == 1
  said = capsys.readouterr().out
  assert said.count('missing_file') == 3
  assert 'and 8 more; --show 11 lists all' in said
  assert 'if the data were moved, --moved-to DIR' in said
  assert call('check', out, '--moved-to', tmp_path / 'disk' / 'data') == 0
  said = capsys.readouterr().out
  assert f'{copy}/webvid is now {tmp_path}/disk/data/webvid' in said
  assert '15 records read again, 0 problems' in said
  assert call('check', out, '--moved-to', tmp_path / 'disk' / 'data') == 2
  assert 'holds no data' in capsys.readouterr().err


def test_captions_without_glyphs_are_written_as_text(world, tmp_path, capsys):
  copy, out = tmp_path / 'world', tmp_path / 'manifest'
  shutil.copytree(world, copy)
  table = copy / 'webvid' / 'results_10M_train.csv'
  head, first, *rows = table.read_text().splitlines()
  sheet = tmp_path / 'sheet.png'

  def inspect(caption):
    named = ','.join([*first.split(',')[:4], caption])
    table.write_text('\n'.join([head, named, *rows]), encoding='utf-8')
    assert call('build', '--webvid', copy / 'webvid', '--out', out) == 0
    capsys.readouterr()
    assert call('inspect', out, '--out', sheet) == 0
    return capsys.readouterr().out

  assert 'fonts' not in inspect('déjà vu שלום 你好 猫が走る 고양이')
  assert not (tmp_path / 'sheet.png.txt').exists()
  assert 'the fonts lack 1 character (🎈)' in inspect('a 🎈 flies')
  lines = (tmp_path / 'sheet.png.txt').read_text(encoding='utf-8').splitlines()
  assert 'a 🎈 flies' in lines and len(lines) == 6


@pytest.mark.parametrize(
  'action', ['build', 'check', 'inspect', 'lpc', 'storyworld']
)
def test_help_shows_worked_examples(action, capsys):
  with pytest.raises(SystemExit) as caught:
    call(action, '--help')
  assert caught.value.code == 0
  said = capsys.readouterr().out
  assert f'phenaki data {action}' in said
  if '--subset' in said:
    assert all(name in said for name in storyworld.SUBSETS)


def test_ingest_names_what_a_runner_needs(tmp_path, capsys):
  words = ('ingest', tmp_path, '--out', tmp_path / 'set')
  assert call(*words, '--runner-flags=--project=p') == 2
  assert '--project=p is a flag of a runner' in capsys.readouterr().err
