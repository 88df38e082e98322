import json

import pytest

from phenaki_jax.data import build, filters, manifest, schema
from phenaki_jax.data.sources import jsonl

SAFE = {'punsafe': 0.1, 'pwatermark': 0.1}


def write(folder, lines, name='metadata.jsonl'):
  folder.mkdir(exist_ok=True)
  text = '\n'.join(x if isinstance(x, str) else json.dumps(x) for x in lines)
  (folder / name).write_text(text + '\n')
  return jsonl.JsonLines(folder)


def test_clips_and_images_become_a_manifest(good_clips, good_images, tmp_path):
  folder = tmp_path / 'f'
  (folder / 'sub').mkdir(parents=True)
  (folder / 'sub' / 'a.MP4').write_bytes(good_clips[0])
  (folder / 'b.jpg').write_bytes(good_images[0])
  source = write(
    folder,
    [
      {'file_name': 'sub/a.MP4', 'text': 'a clip'} | SAFE,
      {'path': 'b.jpg', 'caption': ['', 'an image']} | SAFE,
      {'file_name': 'b.jpg', 'text': 'unsafe', 'punsafe': 0.9},
      {'file_name': '../b.jpg', 'text': 'outside'} | SAFE,
    ],
  )
  (report,) = build.build(
    [lambda _: source], tmp_path / 'm', max_broken_share=0.5
  )
  assert (report.clips, report.images) == (1, 1)
  assert report.filtered == {'unsafe_over_0.5': 1}
  assert report.broken == {'missing_file': 1}
  content = manifest.Manifest(tmp_path / 'm')
  assert [content.caption(i) for i in range(2)] == ['a clip', 'an image']
  request = schema.ExampleRequest(size=(16, 16), frames=3, fps=8.0)
  assert content.reader(0).example(content[0], request).pixels.shape == (
    *(3, 16, 16, 3),
  )


@pytest.mark.parametrize(
  'line, fault',
  [
    ('{', 'malformed_row'),
    ('7', 'malformed_row'),
    ('[' * 10_000, 'malformed_row'),
    ({'text': 'x'}, 'missing_column'),
    ({'file_name': 'a.txt', 'text': 'x'}, 'unknown_extension'),
    ({'file_name': 3, 'text': 'x'}, 'unknown_extension'),
    ({'file_name': 'a.png', 'text': 3}, 'caption_not_text'),
  ],
)
def test_a_line_that_cannot_be_used_is_a_broken_record(tmp_path, line, fault):
  good = {'file_name': 'a.png', 'text': 'x'}
  first, record = write(tmp_path / 'f', [good, line])
  assert (first.fault, record.fault) == ('', fault)
  assert 'metadata.jsonl:2' in record.detail


def test_a_score_that_a_line_lacks_is_not_a_safe_one(tmp_path):
  source = write(
    tmp_path / 'f',
    [{'file_name': 'a.png', 'text': 'x'} | SAFE]
    + [{'file_name': 'b.png', 'text': 'x', 'pwatermark': 0.0}],
  )
  _, record = source
  config = filters.FilterConfig()
  filters.check_columns(source, config)
  assert filters.metadata_fault(record, config) == 'unsafe_unknown'
  bare = write(tmp_path / 'g', [{'file_name': 'a.png', 'text': 'x'}])
  with pytest.raises(ValueError, match="no column 'punsafe'"):
    filters.check_columns(bare, config)


def test_only_files_of_the_training_split_are_read(tmp_path):
  write(tmp_path / 'f', [{'file_name': 'a.png', 'text': 'x'}], 'test.jsonl')
  source = write(
    tmp_path / 'f', [{'file_name': 'b.png', 'text': 'y'}], 'train.jsonl'
  )
  assert [record.key for record in source] == ['b.png']
  assert source.notes() == {'jsonl_not_train': 1}
  with pytest.raises(ValueError, match='holds no JSONL file'):
    jsonl.JsonLines(tmp_path)
