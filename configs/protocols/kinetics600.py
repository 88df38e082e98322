"""Kinetics-600, 5 + 11 frames: Phenaki, table 4, FVD 36.4."""


def get_protocol(arg=''):
  return {
    'name': 'kinetics600',
    'source': 'Phenaki (arXiv 2210.02399), table 4; counts as in MAGVIT (arXiv '
    '2212.05199), which averages four such sets',
    'task': 'prediction',
    'size': (64, 64),
    'measured_size': (64, 64),
    'fps': 25.0,
    'frames': 16,
    'given': 5,
    'clips': 50_000,
    'samples': 1,
    'settings': {'guidance': 0.0},
    'open': '16 frames are not 1 + 2k: 17 are generated, and the last is cut; '
    'resolution, guidance, steps and temperature are not stated; the frame '
    'rate is that of the videos, of which most have 25',
  }
