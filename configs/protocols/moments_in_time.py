"""Moments-in-Time, reconstruction: Phenaki, table 3, FID 4.5, FVD 65.78."""


def get_protocol(arg=''):
  return {
    'name': 'moments_in_time',
    'source': 'Phenaki (arXiv 2210.02399), table 3',
    'task': 'reconstruction',
    'size': (128, 128),
    'measured_size': (128, 128),
    'fps': 6.0,
    'frames': 11,
    'clips': 10_000,
    'open': 'the number of clips and the network of the FID are not stated',
  }
