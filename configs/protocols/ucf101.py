"""UCF-101 by class: Phenaki's authors' answer to reviewers, FVD 250."""


def get_protocol(arg=''):
  return {
    'name': 'ucf101',
    'source': 'the public review thread of Phenaki (ICLR 2023); counts as in '
    'MAGVIT (arXiv 2212.05199)',
    'task': 'text',
    'size': (128, 128),
    'measured_size': (128, 128),
    'fps': 25.0,
    'frames': 16,
    'clips': 10_000,
    'settings': {'guidance': 0.0},
    'open': 'a caption is the name of the class; 17 frames are generated, and '
    'the last is cut; the frame rate and the settings are not stated',
  }
