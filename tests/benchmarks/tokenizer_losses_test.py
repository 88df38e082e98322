"""The comparison of tokenizers trains, measures and draws; its numbers."""

import importlib.util
import pathlib
import sys

import numpy as np
import pytest
from PIL import Image

BENCHMARKS = pathlib.Path(__file__).resolve().parents[2] / 'benchmarks'
CONFIG = """
import ml_collections


def get_config(arg=''):
  return ml_collections.ConfigDict({
    'kind': 'tokenizer',
    'data': {
      'sources': ({'layout': 'storyworld', 'subset': 'easy'},),
      'size': (16, 16),
      'frames': 3,
      'continuation_share': 0.0,
    },
    'tokenizer': {
      'patch': (8, 8), 'width': 16, 'num_heads': 2, 'mlp_dim': 16,
      'spatial_layers': 1, 'temporal_layers': 1,
    },
  })
"""


def _load():
  path = BENCHMARKS / 'tokenizer_losses.py'
  spec = importlib.util.spec_from_file_location('tokenizer_losses', path)
  module = importlib.util.module_from_spec(spec)
  sys.modules[spec.name] = module
  spec.loader.exec_module(module)
  return module


tokenizers = _load()


@pytest.mark.slow
@pytest.mark.unoptimized
@pytest.mark.parametrize(
  ('table', 'only', 'names'),
  [
    ('frames', (), ['C-ViViT', 'per-frame ViT-VQGAN']),
    ('losses', ('2',), ['VQ, L2']),
  ],
)
def test_a_table_and_a_picture_are_made(tmp_path, capsys, table, only, names):
  config = tmp_path / 'small.py'
  config.write_text(CONFIG)
  options = ['--config', str(config), '--out', str(tmp_path), '--steps', '2']
  # Both parts of a batch divide over the virtual devices.
  options += ['--batch', '32']
  chosen = ['--only', *only] if only else []
  tokenizers.main([table, *options, '--clips', '8', *chosen])
  lines = [x for x in capsys.readouterr().out.splitlines() if x[:1] == '|']
  assert [line.split('|')[1].strip() for line in lines[2:]] == names
  picture = np.asarray(Image.open(tmp_path / f'{table}.png'))
  # The originals and the tokenizers; 8 frames side by side, 3 times as large.
  assert picture.shape == ((1 + len(names)) * 3 * 16, 8 * 3 * 16, 3)


def test_the_per_frame_baseline_differs_in_its_tokenizer_alone():
  base = tokenizers.resolve('configs/tokenizer/tiny.py')
  one, other = tokenizers._variants(base, 'frames').values()
  assert one == base
  assert other.tokenizer == base.tokenizer.per_frame()
  assert (other.data, other.optim, other.train) == (
    *(base.data, base.optim, base.train),
  )


def test_codebooks_that_are_compared_are_of_about_the_same_size():
  base = tokenizers.resolve('configs/tokenizer/tiny.py')
  variants = tokenizers._variants(base, 'losses')
  sizes = [x.tokenizer.codebook_size for x in variants.values()]
  assert min(sizes) == 1600 and max(sizes) == 2048
  losses = [x.losses for x in variants.values()]
  assert losses[4].adversarial == losses[4].image_perceptual == 0.1


def test_a_blurred_frame_has_smaller_edges():
  frames = np.random.default_rng(0).uniform(0, 255, (1, 1, 8, 8, 3))
  blurred = 0.5 * (frames + np.roll(frames, 1, axis=2))
  assert tokenizers._edges(blurred) < 0.9 * tokenizers._edges(frames)
