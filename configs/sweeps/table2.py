r"""The ratios of video to image data of the paper's Table 2, three seeds.

    phenaki ablate configs/sweeps/table2.py --out runs/table2 \
      --set tokenizer_dir=runs/tokenizer

On LPC data, with its tokenizer:

    phenaki ablate configs/sweeps/table2.py:manifest=my/manifest \
      --out runs/table2_lpc --set tokenizer_dir=runs/my_tokenizer

`ablate_ratio.py` lists the other arguments. `docs/ablation.md` says how long it
takes.
"""

from phenaki_jax.runs.ablate_ratio import ratio_units

SHARES = {'100/0': 0.0, '80/20': 0.2, '50/50': 0.5}


def get_sweep(arg=''):
  yield from ratio_units(arg, SHARES)
