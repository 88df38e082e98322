"""BAIR robot pushing, 1 + 15 frames: Phenaki, table 5, FVD 97.0."""


def get_protocol(arg=''):
  return {
    'name': 'bair',
    'source': 'Phenaki (arXiv 2210.02399), table 5; counts as in MAGVIT (arXiv '
    '2212.05199)',
    'task': 'prediction',
    'size': (64, 64),
    'measured_size': (64, 64),
    'fps': 10.0,
    'frames': 16,
    'given': 1,
    'clips': 256,
    'samples': 100,
    'settings': {'guidance': 0.0},
    'open': '16 frames are not 1 + 2k: 17 are generated, and the last is cut; '
    'resolution, guidance, steps and temperature are not stated',
  }
