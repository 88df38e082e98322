r"""The masked transformer of the paper's videos: 24 blocks of 2,048, 1.81B.

    phenaki train --config configs/generator/paper_1p8b.py \
      --workdir runs/paper --set tokenizer_dir=runs/paper_tokenizer

Another manifest than `runs/paper_data` is an argument of the config, as in
`configs/generator/paper_1p8b.py:manifest=DIR`. Keys and values are computed
from vectors of a frozen T5-XXL encoder, 4,096 wide. It needs a pod of TPUs or
GPUs; nobody has run it with this code yet, and the paper states no hours.

The paper trained on 512 examples a step, 80% clips and 20% images. Here a batch
is the nearest whose rows divide among up to 256 chips: 491 clips and 123 images
in 512 rows (docs/pods.md). On up to 64 chips, `--set data.row_multiple=64` is
nearer: 430 clips and 108 images in 448 rows.
"""

import pathlib

import ml_collections

from phenaki_jax import config
from phenaki_jax.masked_transformer.config import SIZES


def get_config(arg=''):
  """Return the paper's large text-to-video model (appendix A.2)."""
  arg = config.parse_arg(arg, manifest='runs/paper_data')
  tokenizer = config.load(
    pathlib.Path(__file__).parents[1] / 'tokenizer' / 'paper.py'
  )
  return ml_collections.ConfigDict(
    {
      'kind': 'generator',
      'name': 'generator_paper_1p8b',
      'seed': 0,
      'data': {
        'sources': ({'layout': 'manifest', 'path': arg.manifest},),
        'size': (128, 128),
        'frames': 11,
        'fps': 8.0,
        'batch_size': 512,
        'image_share': 0.2,
        'row_multiple': 256,
        'context_frames': 5,
      },
      'tokenizer': tokenizer.tokenizer.to_dict(),
      'text': {'max_length': 128},
      'generator': SIZES['paper_1p8b'],
      # The paper does not train on known frames.
      'task': {'text_dropout': 0.1, 'prediction_share': 0.0},
      'sampling': {
        'guidance': 12.0,
        'choice_temperature': 8.0,
        'steps': 48,
      },
      'optim': {
        'optimizer': 'adamw',
        'learning_rate': 1e-4,
        'warmup_steps': 10_000,
        'decay_steps': 4_000_000,
        'end_factor': 0.0,
        'b1': 0.9,
        'b2': 0.99,
        'weight_decay': 1e-4,
        'clip_norm': 10.0,
      },
      'mesh': {'data': 1, 'fsdp': -1},
      'train': {
        'steps': 1_000_000,
        'log_every': 100,
        'checkpoint_every': 5000,
        'evaluate_every': 10_000,
      },
    }
  )
