"""Measure what a model loses when its bundle stores fewer bits.

    python benchmarks/weights.py

The model (the reference, if --model names no other bundle) is written as a
bundle with each --dtype of `phenaki export`, opened again, and generates clips
of held-out prompts, of which the oracle of StoryWorld reads the facts. The
command prints a table.
"""

import argparse
import pathlib
import tempfile
from collections.abc import Sequence
from typing import get_args

from few_forwards import measure

from phenaki_jax.export import bundle
from phenaki_jax.runs.open import load


def main(argv: Sequence[str] | None = None) -> None:
  """Measure all dtypes, and print the table."""
  parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
  parser.add_argument('--model', default='storyworld', metavar='BUNDLE')
  parser.add_argument('--prompts', type=int, default=100)
  args = parser.parse_args(argv)
  given = bundle.load_bundle(bundle.find_model(args.model))
  print('| weights | MB | facts right | ± |\n|---|---:|---:|---:|')
  for dtype in get_args(bundle.StoredDtype):
    with tempfile.TemporaryDirectory() as folder:
      out = pathlib.Path(folder) / 'bundle'
      bundle.write_bundle(
        out,
        tokenizer_params=given.tokenizer_params,
        generator_params=given.generator_params,
        config=given.config,
        vocabulary=given.vocabulary,
        model_card=given.model_card,
        words=given.words,
        dtype=dtype,
      )
      size = sum(path.stat().st_size for path in out.iterdir()) / 1e6
      model = load(out)
    row = measure(model, prompts=args.prompts)
    print(
      f'| {dtype} | {size:.2f} | {row.right:.3f} | {row.error:.3f} |',
      flush=True,
    )


if __name__ == '__main__':
  main()
