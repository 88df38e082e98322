"""Sets in the format of TensorFlow Datasets, which TFDS itself writes here."""

import io
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import grain
import numpy as np
import pytest
from array_record.python.array_record_module import ArrayRecordWriter

from phenaki_jax.cli import main
from phenaki_jax.data import (
  build,
  check,
  filters,
  isolation,
  manifest,
  move,
  schema,
)
from phenaki_jax.data.sources import tfds as tfds_source

tfds = pytest.importorskip(
  'tensorflow_datasets', reason='needs the extra tfds', exc_type=ImportError
)

FPS = 8.0
TAGS = ('UNLIKELY', 'UNSURE', 'NSFW', 'UNTAGGED')
ALLOWED = filters.FilterConfig(
  max_watermark=None, max_unsafe=None, min_duration=0.1
)


class _Made(tfds.core.GeneratorBasedBuilder):
  """A set of given features and examples."""

  VERSION = tfds.core.Version('1.0.0')

  def __init__(self, features, made, **options):
    self._features, self._made = features, made
    super().__init__(**options)

  def _info(self):
    features = tfds.features.FeaturesDict(self._features)
    return self.dataset_info_from_configs(features=features)

  def _split_generators(self, _):
    return {'train': enumerate(self._made), 'test': enumerate(self._made[:1])}

  def _generate_examples(self):
    raise AssertionError('the splits are given')


def make(folder, features, made):
  """Write a set; return the folder of its version."""
  builder = _Made(
    features, made, data_dir=str(folder), file_format='array_record'
  )
  builder.download_and_prepare()
  return str(builder.data_path)


@pytest.fixture(scope='module')
def images(media, tmp_path_factory):
  """Write a set with the features of `laion400m`."""
  features = {
    'caption': tfds.features.Text(),
    'nsfw': tfds.features.ClassLabel(names=TAGS),
    'image': tfds.features.Image(),
    'similarity': tfds.features.Scalar(np.float64),
  }
  made = [
    {
      'caption': f'image {i}',
      'nsfw': tag,
      'image': io.BytesIO(media.image(media.noise(i))),
      'similarity': 0.5,
    }
    for i, tag in enumerate(TAGS)
  ]
  return make(tmp_path_factory.mktemp('images'), features, made)


@pytest.fixture(scope='module')
def clips(media, tmp_path_factory):
  """Write a set of clips whose frame i has the level 10 i."""
  frames = tfds.features.Sequence(tfds.features.Image(shape=(None, None, 3)))
  features = {'caption': tfds.features.Text(), 'video': frames}
  made = [
    {
      'caption': f'clip {n}',
      'video': [
        io.BytesIO(media.image(frame))
        for frame in media.levels([10 * i + n for i in range(12)])
      ],
    }
    for n in range(3)
  ]
  folder = make(tmp_path_factory.mktemp('clips'), features, made)
  # As the Video feature is described, which TFDS stores in the same way.
  path = pathlib.Path(folder) / 'features.json'
  content = json.loads(path.read_bytes())
  content['featuresDict']['features']['video'] = {
    'pythonClassName': 'tensorflow_datasets.core.features.video_feature.Video',
    'video': {
      'dtype': 'uint8',
      'encodingFormat': 'png',
      'shape': {'dimensions': ['-1', '-1', '-1', '3']},
    },
  }
  path.write_text(json.dumps(content))
  return folder


def built(folder, out, config=ALLOWED, **fields):
  reader = tfds_source.TfdsReader(folder=folder, **fields)
  (report,) = build.build(
    [lambda _: tfds_source.Tfds(reader)], out, filters=config
  )
  return report, manifest.Manifest(out)


def test_clips_are_read_by_time(clips, tmp_path):
  report, content = built(clips, tmp_path / 'm', fps=FPS)
  assert (report.clips, report.images) == (3, 0)
  record = content[0]
  assert record.info.num_frames == 12 and record.info.duration == 1.5
  number = int(record.caption.split()[1])
  for fps, expected in ((FPS, [0, 10, 20]), (FPS / 2, [0, 20, 40])):
    request = schema.ExampleRequest(size=(8, 8), frames=3, fps=fps)
    example = content.reader(0).example(record, request)
    levels = example.pixels.mean((1, 2, 3)) - number
    np.testing.assert_array_equal(levels, expected)


def test_a_command_reads_a_split_at_its_rate(clips, tmp_path, capsys):
  words = ['data', 'build', '--tfds', clips, '--out', str(tmp_path / 'm')]
  words += ['--max-unsafe', 'none', '--max-watermark', 'none']
  assert main.main([*words, '--tfds-split', 'other']) == 2
  assert "no split 'other'; it has" in capsys.readouterr().err
  assert main.main([*words, '--tfds-split', 'train', '--tfds-fps', '4']) == 0
  content = manifest.Manifest(tmp_path / 'm')
  assert len(content) == 3 and content[0].info.duration == 3.0


def test_the_tags_of_laion_are_those_of_its_tables(images, tmp_path):
  config = filters.FilterConfig(max_watermark=None)
  report, content = built(images, tmp_path / 'm', config)
  assert report.images == 1 and report.filtered == {'unsafe_by_tag': 3}
  assert content.caption(0) == 'image 0'
  request = schema.ExampleRequest(size=(8, 8), frames=1, fps=8.0)
  example = content.reader(0).example(content[0], request)
  assert example.pixels.shape == (8, 8, 3)


def test_scores_are_computed_where_the_tag_is_missing(images, tmp_path):
  config = filters.FilterConfig(max_watermark=None, score_unsafe=True)
  reader = tfds_source.TfdsReader(folder=images)
  (report,) = build.build(
    [lambda _: tfds_source.Tfds(reader)],
    tmp_path / 'm',
    filters=config,
    score_unsafe=lambda frames: 0.2,
  )
  assert report.images == 2 and report.filtered == {'unsafe_by_tag': 2}
  assert report.notes == {
    'kept_with_given_unsafe_score': 1,
    'kept_with_computed_unsafe_score': 1,
  }


def test_a_changed_record_is_noticed(clips, tmp_path):
  _, content = built(clips, tmp_path / 'm', fps=FPS)
  (path,) = pathlib.Path(clips).glob('*train*')
  data = bytearray(path.read_bytes())
  whole = bytes(data)
  used = np.flatnonzero(np.frombuffer(whole, np.uint8)[:65536])
  data[used[len(used) // 2]] ^= 1  # The rest of a block is padding.
  path.write_bytes(data)
  try:
    again = manifest.Manifest(tmp_path / 'm')
    request = schema.ExampleRequest(size=(8, 8), frames=12, fps=FPS)
    with pytest.raises(schema.DecodeError):
      for i in range(3):
        again.reader(i).example(again[i], request)
  finally:
    path.write_bytes(whole)
  assert len(content) == 3


def test_a_damaged_record_is_quarantined(clips, tmp_path):
  folder = shutil.copytree(clips, tmp_path / 'set')
  (path,) = folder.glob('*train*')
  source = grain.sources.ArrayRecordDataSource([str(path)])
  contents = [source[i] for i in range(3)]
  contents[1] = contents[1][: len(contents[1]) // 2]
  writer = ArrayRecordWriter(str(path), 'group_size:1')
  for content in contents:
    writer.write(content)
  writer.close()
  reader = tfds_source.TfdsReader(folder=str(folder), fps=FPS)
  (report,) = build.build(
    [lambda _: tfds_source.Tfds(reader)],
    tmp_path / 'm',
    filters=ALLOWED,
    max_broken_share=0.5,
  )
  assert report.clips == 2 and report.broken == {'unreadable_record': 1}
  line = json.loads((tmp_path / 'm' / manifest.QUARANTINE).read_text())
  assert line['key'] == 'train/1' and line['detail']


def test_records_are_examined_in_a_child(clips):
  reader = tfds_source.TfdsReader(folder=clips, fps=FPS)
  isolated = isolation.IsolatedReader(reader)
  try:
    assert isolated.examine(reader.record(1)) == reader.examine(
      reader.record(1)
    )
    (child,) = isolated._children
    os.kill(child._process.pid, signal.SIGKILL)
    with pytest.raises(schema.DecodeError, match='decoder_stopped'):
      isolated.examine(reader.record(1))
  finally:
    isolated.close()


def test_a_set_that_was_moved_is_found(clips, tmp_path):
  folder = shutil.copytree(clips, tmp_path / 'a' / '1.0.0')
  _, content = built(str(folder), tmp_path / 'm', fps=FPS)
  shutil.move(tmp_path / 'a', tmp_path / 'b')
  move.repoint(content, tmp_path / 'b')
  again = manifest.Manifest(tmp_path / 'm')
  assert not list(check.find_problems(again))


@pytest.mark.parametrize(
  'change, words',
  [
    ({'split': 'validation'}, "no split 'validation'; it has train, test"),
    ({'folder': 'nowhere'}, 'has no dataset_info.json'),
  ],
)
def test_a_wrong_folder_or_split_is_an_error(images, change, words):
  with pytest.raises(ValueError, match=words):
    tfds_source.TfdsReader(**{'folder': images} | change)


def test_sets_without_media_are_rejected(tmp_path):
  features = {'caption': tfds.features.Text()}
  folder = make(tmp_path, features, [{'caption': 'a'}, {'caption': 'b'}])
  with pytest.raises(ValueError, match='a Video or an Image.*are needed'):
    tfds_source.TfdsReader(folder=folder)


@pytest.mark.slow
def test_tensorflow_is_not_imported(images):
  code = (
    'import sys\n'
    'from phenaki_jax.data.sources import tfds\n'
    f'reader = tfds.TfdsReader(folder={images!r})\n'
    'reader.examine(reader.record(0))\n'
    "assert 'tensorflow' not in sys.modules\n"
  )
  subprocess.run([sys.executable, '-c', code], check=True)
