import pytest

from phenaki_jax import config as config_io
from phenaki_jax.data import config as config_lib


@pytest.mark.parametrize(
  'fields, words',
  [
    ({'source': 'web'}, "'storyworld' or 'manifest'"),
    ({'source': 'manifest'}, 'data.manifest is empty'),
    ({'split': 'test'}, 'train, heldout'),
    ({'size': (0, 8)}, 'height,width in pixels'),
    ({'frames': 8}, '1 \\+ 2k frames'),
    ({'fps': 0.0}, 'must be positive'),
    ({'batch_size': 0}, 'at least 1'),
    ({'image_share': 1.5}, 'must lie in 0..1'),
    ({'context_frames': 4}, 'must be 1 \\+ 2k'),
    ({'frames': 5}, 'it must be less, or data.continuation_share 0'),
    ({'heldout_share': 1.0}, 'below 1'),
    ({'prefetch': -1}, 'cannot be negative'),
  ],
)
def test_what_cannot_be_is_refused_with_a_sentence(fields, words):
  with pytest.raises(ValueError, match=words):
    config_lib.DataConfig(**fields)


def test_config_survives_its_json():
  config = config_lib.DataConfig(size=(48, 64), image_share=0.25)
  text = config_io.to_json(config)
  assert config_io.from_json(config_lib.DataConfig, text) == config


def test_context_may_be_long_where_no_clip_has_any():
  config_lib.DataConfig(frames=5, continuation_share=0.0)
  config_lib.DataConfig(frames=1, image_share=1.0)
