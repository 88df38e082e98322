"""Invalid training settings raise an error that names the field."""

import pytest

from phenaki_jax.training.config import OptimConfig, TrainConfig


@pytest.mark.parametrize(
  ('settings', 'sentence'),
  [
    ({'steps': 0}, 'steps is 0, but it must be greater than 0'),
    ({'keep_checkpoints': 0}, 'keep_checkpoints is 0'),
    ({'uneven_shards': 'pad'}, "'raise' or 'replicate'"),
  ],
)
def test_train_settings_are_checked(settings, sentence):
  with pytest.raises(ValueError, match=sentence):
    TrainConfig(**settings)


@pytest.mark.parametrize(
  ('settings', 'sentence'),
  [
    ({'learning_rate': 0.0}, 'learning_rate is 0.0, but it must be greater'),
    ({'learning_rate': float('nan')}, 'learning_rate is nan'),
    ({'clip_norm': -1.0}, 'clip_norm is -1.0'),
    ({'warmup_steps': -1}, 'warmup_steps is -1'),
    ({'weight_decay': -0.1}, 'weight_decay is -0.1'),
    ({'ema_decay': 1.0}, 'ema_decay is 1.0, but it must be less than 1'),
    (
      {'decay': 'linear'},
      "decay is 'linear', but it must be 'cosine' or 'constant'",
    ),
    ({'end_factor': 1.5}, 'end_factor is 1.5'),
  ],
)
def test_optimizer_settings_are_checked(settings, sentence):
  with pytest.raises(ValueError, match=sentence):
    OptimConfig(**settings)
