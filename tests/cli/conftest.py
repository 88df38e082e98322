import dataclasses

import pytest


@pytest.fixture(scope='session')
def tiny_bundle(tiny_sampler, tmp_path_factory):
  """Write the untrained sampler as a bundle."""
  from phenaki_jax import config as config_lib
  from phenaki_jax.cli.models import StoryModelConfig
  from phenaki_jax.data.config import DataConfig
  from phenaki_jax.export.bundle import write_bundle
  from phenaki_jax.sampling.sampler import SamplingSettings

  folder = tmp_path_factory.mktemp('models') / 'tiny'
  models = tiny_sampler.models
  config = StoryModelConfig(
    name='tiny',
    tokenizer=models.tokenizer,
    generator=models.generator,
    text=models.text,
    data=DataConfig(size=(16, 16)),
    sampling=dataclasses.replace(SamplingSettings(), steps=2),
  )
  write_bundle(
    folder,
    tokenizer_params=tiny_sampler.tokenizer_params,
    generator_params=tiny_sampler.generator_params,
    config=config_lib.to_dict(config),
    vocabulary=tiny_sampler.vocabulary.model,
    model_card='# tiny\n',
  )
  return folder
