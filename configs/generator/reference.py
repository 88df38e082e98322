r"""The masked transformer of the reference checkpoint: StoryWorld at 64x64.

    phenaki train --config configs/generator/reference.py \
      --workdir runs/reference --set tokenizer_dir=runs/reference_tokenizer

One CPU core: about an hour. The same command resumes an interrupted run.
`docs/results.md` says how the shipped checkpoint was trained.
"""

import pathlib

from phenaki_jax import config


def get_config(arg=''):
  """Return `tiny.py` at 64x64, with a wider text encoder and more steps."""
  config.parse_arg(arg)
  values = config.load(pathlib.Path(__file__).with_name('tiny.py'))
  values.name = 'generator_reference'
  values.data.size = (64, 64)
  values.text.update({'width': 128, 'head_dim': 32, 'mlp_dim': 256})
  values.train.update({'steps': 14_000, 'log_every': 50})
  return values
