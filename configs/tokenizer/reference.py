r"""C-ViViT of the reference checkpoint: StoryWorld `easy` at 64x64.

    phenaki train --config configs/tokenizer/reference.py \
      --workdir runs/reference_tokenizer

One CPU core: about 8 minutes. The same command resumes an interrupted run.
"""

import pathlib

from phenaki_jax import config


def get_config(arg=''):
  """Return `tiny.py` at 64x64, with patches of 16x16."""
  config.parse_arg(arg)
  values = config.load(pathlib.Path(__file__).with_name('tiny.py'))
  values.name = 'tokenizer_reference'
  values.data.size = (64, 64)
  values.tokenizer.patch = (16, 16)
  values.train.log_every = 50
  return values
