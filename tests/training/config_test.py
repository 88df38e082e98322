"""A setting that cannot be run is refused by name."""

import pytest

from phenaki_jax.training.config import OptimConfig, TrainConfig


@pytest.mark.parametrize(
  ('settings', 'sentence'),
  [
    ({'steps': 0}, 'train.steps is 0; give 1 or more'),
    ({'keep_checkpoints': 0}, 'train.keep_checkpoints'),
    ({'uneven_shards': 'pad'}, "'raise' or 'replicate'"),
  ],
)
def test_train_settings_are_checked(settings, sentence):
  with pytest.raises(ValueError, match=sentence):
    TrainConfig(**settings)


@pytest.mark.parametrize(
  ('settings', 'sentence'),
  [
    ({'learning_rate': 0.0}, 'optim.learning_rate is 0.0'),
    ({'learning_rate': float('nan')}, 'optim.learning_rate is nan'),
    ({'clip_norm': -1.0}, 'optim.clip_norm'),
    ({'warmup_steps': -1}, 'optim.warmup_steps'),
    ({'weight_decay': -0.1}, 'optim.weight_decay'),
    ({'ema_decay': 1.0}, r'optim.ema_decay is 1.0; give a number in \[0, 1\)'),
    ({'decay': 'linear'}, 'give one of cosine, constant'),
    ({'end_factor': 1.5}, 'optim.end_factor'),
  ],
)
def test_optimizer_settings_are_checked(settings, sentence):
  with pytest.raises(ValueError, match=sentence):
    OptimConfig(**settings)
