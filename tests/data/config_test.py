import pytest

from phenaki_jax import config as config_io
from phenaki_jax.data import config as config_lib

MANIFEST = config_lib.SourceConfig(layout='manifest', path='data')


@pytest.mark.parametrize(
  'fields, words',
  [
    ({'sources': []}, 'sources is .., but'),
    ({'sources': [{'layout': 'web'}]}, "'storyworld' or 'manifest'"),
    ({'sources': [{'layout': 'manifest'}]}, 'without a path'),
    ({'sources': [{'layout': 'storyworld', 'weight': 0.0}]}, 'weight is 0'),
    ({'split': 'test'}, "'train' or 'heldout'"),
    ({'size': [0, 8]}, 'size.0 is 0, but it must be greater'),
    ({'frames': 0}, 'frames is 0, but it must be greater'),
    ({'fps': 0.0}, 'fps is 0.0, but it must be greater'),
    ({'batch_size': 0}, 'batch_size is 0'),
    ({'image_share': 1.5}, 'less than or equal to 1'),
    ({'context_frames': 0}, 'context_frames is 0'),
    ({'frames': 5}, 'it must be less, or set data.continuation_share=0'),
    ({'heldout_share': 1.0}, 'less than 1'),
    ({'prefetch': -1}, 'prefetch is -1, but it must'),
  ],
)
def test_invalid_settings_are_rejected_with_a_sentence(fields, words):
  with pytest.raises(ValueError, match=words):
    config_io.build(config_lib.DataConfig, fields)


def test_config_survives_its_json():
  config = config_lib.DataConfig(
    size=(48, 64),
    sources=(
      config_lib.SourceConfig(layout='storyworld', weight=3.0),
      MANIFEST,
    ),
  )
  text = config_io.to_json(config)
  assert config_io.from_json(config_lib.DataConfig, text) == config


@pytest.mark.parametrize(
  'fields',
  [
    {'frames': 5, 'continuation_share': 0.0},
    {'frames': 1, 'image_share': 1.0},
    {'frames': 1, 'sources': (MANIFEST,)},
  ],
)
def test_context_is_not_limited_if_no_clip_has_any(fields):
  config_lib.DataConfig(**fields)


@pytest.mark.parametrize(('share', 'split'), [(0.0, 'train'), (0.1, 'heldout')])
def test_clips_of_another_manifest_are_held_out(share, split):
  data = config_lib.DataConfig(
    heldout_share=share, image_share=0.5, batch_size=8, token_cache='tokens'
  )
  own, other = data.heldout(), data.heldout('other')
  assert (own.split, own.sources) == ('heldout', data.sources)
  assert (other.split, other.sources[0].path) == (split, 'other')
  for found in (own, other):
    assert (found.image_share, found.batch_size) == (0.0, 1)
    # It holds the clips of the training.
    assert not found.token_cache
