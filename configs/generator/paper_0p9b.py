r"""The paper's smaller masked transformer: 20 blocks of 1,536, 0.91B.

    phenaki train --config configs/generator/paper_0p9b.py \
      --workdir runs/paper_0p9b --set tokenizer_dir=runs/paper_tokenizer

The paper compares this model with NUWA; it was trained on as many images as
clips, and samples in 12 steps. It needs a pod of TPUs or GPUs; nobody has run
it with this code yet, and the paper states no hours.
"""

import pathlib

from phenaki_jax import config
from phenaki_jax.masked_transformer.config import SIZES


def get_config(arg=''):
  """Return `paper_1p8b.py` with the smaller model and more images."""
  path = pathlib.Path(__file__).with_name('paper_1p8b.py')
  values = config.load(f'{path}:{arg}')
  values.name = 'generator_paper_0p9b'
  values.data.image_share = 0.5
  values.generator.update(SIZES['paper_0p9b'])
  values.sampling.update({'steps': 12, 'choice_temperature': 4.0})
  return values
