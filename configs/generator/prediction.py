r"""The paper's model of video prediction: 24 blocks of 768, without text.

    phenaki train --config configs/generator/prediction.py \
      --workdir runs/prediction --set tokenizer_dir=runs/prediction_tokenizer

Its tokenizer is `configs/tokenizer/paper.py:prediction`. It is trained without
known frames; they are given when it is sampled. It needs several TPUs or GPUs;
nobody has run it with this code yet, and the paper states neither hours nor the
batch size.
"""

import pathlib

from phenaki_jax import config
from phenaki_jax.masked_transformer.config import SIZES


def get_config(arg=''):
  """Return `paper_1p8b.py` with the model of video prediction."""
  folder = pathlib.Path(__file__).parent
  values = config.load(f'{folder / "paper_1p8b.py"}:{arg}')
  tokenizer = config.load(f'{folder.parent}/tokenizer/paper.py:prediction')
  with values.unlocked():
    values.name = 'generator_prediction'
    values.data.update(
      {'size': (64, 64), 'image_share': 0.0, 'batch_size': 256}
    )
    values.tokenizer = tokenizer.tokenizer.to_dict()
    values.generator = SIZES['paper_prediction']
    values.task.text_dropout = 0.0
    values.sampling.guidance = 0.0
    values.optim.decay = 'constant'
    values.optim.decay_steps = 0
    values.train.steps = 2_000_000
  return values
