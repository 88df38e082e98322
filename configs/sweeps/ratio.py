r"""From clips alone to images alone in seven steps, three seeds.

    phenaki ablate configs/sweeps/ratio.py --out runs/ratio \
      --set tokenizer_dir=runs/tokenizer

The arguments are those of `table2.py`; as in `table2.py:manifest=DIR`.
"""

from phenaki_jax.runs.ablate_ratio import ratio_units

# The labels are shares of images; a batch of 30 has 5 images per step.
SHARES = {f'{round(100 * count / 6)}%': count / 6 for count in range(7)}


def get_sweep(arg=''):
  yield from ratio_units(arg, SHARES)
