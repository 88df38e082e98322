import pyarrow
import pyarrow.parquet
import pytest

from phenaki_jax.data import filters, schema
from phenaki_jax.data.sources import img2dataset, webvid

KEEP = filters.FilterConfig()


def record(caption='a red circle', **columns):
  columns = {'punsafe': 0.1, 'pwatermark': 0.1} | columns
  columns = {k: v for k, v in columns.items() if v != 'absent'}
  return schema.Record(key='k', kind='image', caption=caption, columns=columns)


@pytest.fixture
def source(tmp_path):
  """Return a function that makes a source whose table has given columns."""

  def make(*columns):
    folder = tmp_path / ('-'.join(columns) or 'none')
    folder.mkdir()
    table = {name: ['0'] for name in ('key', 'caption', *columns)}
    pyarrow.parquet.write_table(pyarrow.table(table), folder / '00000.parquet')
    return img2dataset.Img2Dataset(folder)

  return make


@pytest.mark.parametrize(
  'item, reason',
  [
    (record(), ''),
    (record(caption=''), 'empty_caption'),
    (record(caption=' \n'), 'empty_caption'),
    (record(caption='x' * 1000), ''),
    (record(caption='x' * 10_000), 'caption_over_1000'),
    (record(punsafe=0.5), ''),
    (record(punsafe=0.51), 'unsafe_over_0.5'),
    (record(punsafe='0.9'), 'unsafe_over_0.5'),
    (record(punsafe=None), 'unsafe_unknown'),
    (record(punsafe=float('nan')), 'unsafe_unknown'),
    (record(punsafe='?'), 'unsafe_unknown'),
    (record(pwatermark=0.8), 'watermark_over_0.5'),
    (record(pwatermark=None), 'watermark_unknown'),
    (record(punsafe='absent', NSFW='UNLIKELY'), ''),
    (record(punsafe='absent', NSFW='UNSURE'), 'unsafe_by_tag'),
    (record(punsafe='absent', NSFW='NSFW'), 'unsafe_by_tag'),
    (record(punsafe='absent', NSFW=None), 'unsafe_by_tag'),
    (record(AESTHETIC_SCORE=1.0), ''),
    # Just under, at and just over each limit.
    (record(punsafe=0.4999), ''),
    (record(punsafe=0.5001), 'unsafe_over_0.5'),
    (record(pwatermark=0.4999), ''),
    (record(pwatermark=0.5), ''),
    (record(pwatermark=0.5001), 'watermark_over_0.5'),
    (record(pwatermark='0.5001'), 'watermark_over_0.5'),
    (record(pwatermark=float('nan')), 'watermark_unknown'),
    (record(caption='x' * 999), ''),
    (record(caption='x' * 1001), 'caption_over_1000'),
    (record(LANGUAGE='de'), ''),
  ],
)
def test_metadata_is_filtered_for_a_reason(item, reason):
  assert filters.metadata_fault(item, KEEP) == reason


@pytest.mark.parametrize(
  'columns, reason',
  [
    ({'AESTHETIC_SCORE': 5.0}, ''),
    ({'aesthetic': 5.0}, ''),
    ({'aesthetic': 4.9}, 'aesthetic_under_5'),
    ({'AESTHETIC_SCORE': None}, 'aesthetic_unknown'),
  ],
)
def test_aesthetic_scores_have_a_minimum(source, columns, reason):
  config = filters.FilterConfig(min_aesthetic=5.0)
  assert filters.metadata_fault(record(**columns), config) == reason
  filters.check_columns(source('punsafe', 'pwatermark', *columns), config)
  with pytest.raises(ValueError, match='no column AESTHETIC_SCORE or aesth'):
    filters.check_columns(source('punsafe', 'pwatermark'), config)


@pytest.mark.parametrize(
  'columns, reason',
  [
    ({'LANGUAGE': 'en'}, ''),
    ({'LANGUAGE': 'EN'}, ''),
    ({'language': ' en '}, ''),
    ({'LANGUAGE': 'de'}, 'language_not_en'),
    ({'LANGUAGE': 'en-GB'}, 'language_not_en'),
    ({'LANGUAGE': None}, 'language_unknown'),
    ({'LANGUAGE': 'nan'}, 'language_unknown'),
    ({'LANGUAGE': float('nan')}, 'language_unknown'),
    ({'LANGUAGE': ''}, 'language_unknown'),
  ],
)
def test_a_language_is_kept_by_its_column(source, columns, reason):
  for code in ('en', 'EN'):
    config = filters.FilterConfig(language=code)
    assert filters.metadata_fault(record(**columns), config) == reason
  filters.check_columns(source('punsafe', 'pwatermark', *columns), config)
  with pytest.raises(ValueError, match='no column LANGUAGE or language; lea'):
    filters.check_columns(source('punsafe', 'pwatermark'), config)


@pytest.mark.parametrize(
  'caption, is_kept',
  [
    ('a red circle', True),
    ('a Darn circle', False),
    ('DARN', False),
    ('a darned circle', True),
    ('what a "darn!" thing', False),
    ('ｄａｒｎ', False),  # full-width letters
    ('a very bad  thing', False),
    ('Very-Bad', False),
    ('very', True),
    ('a very badge', True),
  ],
)
def test_toxic_words_are_left_out_as_whole_words(caption, is_kept):
  config = filters.FilterConfig(toxic_words=('darn', 'VERY BAD'))
  fault = filters.metadata_fault(record(caption=caption), config)
  assert fault == ('' if is_kept else 'toxic_word')
  assert not filters.metadata_fault(record(caption=caption), KEEP)


@pytest.mark.parametrize(
  'columns, is_missing',
  [
    ({'punsafe': 0.1}, False),
    ({'punsafe': None}, True),
    ({'punsafe': '?'}, True),
    ({'punsafe': 'absent', 'NSFW': 'NSFW'}, False),
    ({'punsafe': 'absent', 'NSFW': None}, True),
    ({'punsafe': 'absent'}, True),
  ],
)
def test_missing_unsafe_scores_are_computed_on_request(
  source, columns, is_missing
):
  config = filters.FilterConfig(score_unsafe=True)
  item = record(**columns)
  assert filters.must_score(item, config) == is_missing
  assert not filters.must_score(item, KEEP)
  if is_missing:
    assert not filters.metadata_fault(item, config)
  filters.check_columns(source('pwatermark'), config)
  assert not filters.score_fault(0.5, config)
  assert filters.score_fault(0.6, config) == 'computed_unsafe_over_0.5'


def test_scores_that_a_kept_record_lacks_are_noted(media, tmp_path):
  config = filters.FilterConfig(min_aesthetic=5.0, language='en')
  clips = webvid.WebVid(media.webvid(tmp_path / 'w', [(None, 'a clip')]))
  filters.check_columns(clips, config)
  (clip,) = clips
  assert not filters.metadata_fault(clip, config)
  assert filters.score_notes(clip, config) == [
    'kept_without_unsafe_score',
    'kept_without_watermark_score',
    'kept_without_aesthetic_score',
    'kept_without_language',
  ]
  item = record(aesthetic=6.0, LANGUAGE='en')
  given = ['kept_with_given_unsafe_score']
  assert filters.score_notes(item, config) == given
  tagged = record(punsafe='absent', NSFW='UNLIKELY')
  assert filters.score_notes(tagged, KEEP) == given
  # A value that may be missing is not a given one.
  allowed = filters.FilterConfig(allow_missing=('punsafe', 'pwatermark'))
  empty = record(punsafe=None, pwatermark=None)
  assert filters.score_notes(empty, allowed) == [
    'kept_without_unsafe_score',
    'kept_without_watermark_score',
  ]
  disabled = filters.FilterConfig(max_unsafe=None, max_watermark=None)
  assert not filters.score_notes(clip, disabled)


def test_disabled_filters_ignore_their_scores():
  config = filters.FilterConfig(max_unsafe=None, max_watermark=None)
  item = record(punsafe=0.9, pwatermark=None, NSFW='NSFW')
  assert not filters.metadata_fault(item, config)
  config = filters.FilterConfig(allow_missing=('pwatermark',))
  assert not filters.metadata_fault(record(pwatermark=None), config)
  assert filters.metadata_fault(record(pwatermark=0.9), config)


@pytest.mark.parametrize(
  'kind, info, reason',
  [
    ('image', {'width': 32, 'height': 200}, ''),
    ('image', {'width': 200, 'height': 31}, 'smaller_than_32px'),
    ('clip', {'duration': 0.3, 'num_frames': 3}, ''),
    ('clip', {'duration': 0.29, 'num_frames': 3}, 'too_short'),
    ('clip', {'duration': 301.0, 'num_frames': 3}, 'too_long'),
    ('clip', {'duration': 1.0, 'num_frames': 1}, 'one_frame'),
    ('clip', {'width': 0, 'height': 0}, ''),
  ],
)
def test_content_is_filtered_for_a_reason(kind, info, reason):
  info = {'width': 64, 'height': 64} | info
  found = schema.MediaInfo(content_hash='', **info)
  assert filters.content_fault(found, kind, KEEP) == reason


def test_a_missing_score_column_is_rejected_by_name(source, media, tmp_path):
  filters.check_columns(source('punsafe', 'pwatermark'), KEEP)
  filters.check_columns(source('NSFW', 'pwatermark'), KEEP)
  clips = webvid.WebVid(media.webvid(tmp_path / 'w', []))
  filters.check_columns(clips, KEEP)
  with pytest.raises(ValueError, match='punsafe.*--allow-missing punsafe'):
    filters.check_columns(source('pwatermark'), KEEP)
  with pytest.raises(ValueError, match='--max-watermark none'):
    filters.check_columns(source('punsafe'), KEEP)
  bare = source()
  for config in (
    filters.FilterConfig(allow_missing=('punsafe', 'pwatermark')),
    filters.FilterConfig(max_unsafe=None, max_watermark=None),
  ):
    filters.check_columns(bare, config)


def test_invalid_settings_are_rejected():
  with pytest.raises(ValueError, match='only punsafe and pwatermark'):
    filters.FilterConfig(allow_missing=('caption',))
  with pytest.raises(ValueError, match='0 <= min_duration <= max_duration'):
    filters.FilterConfig(min_duration=5.0, max_duration=1.0)
