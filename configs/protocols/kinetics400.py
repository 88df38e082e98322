"""Kinetics-400 from text, zero-shot: Phenaki, table 1."""


def get_protocol(arg=''):
  return {
    'name': 'kinetics400',
    'source': 'Phenaki (arXiv 2210.02399), table 1: FID-image 37.74, FID-video '
    '3.84, of the 0.9B model with 12 steps, guidance 0.1 and temperature 4',
    'task': 'text',
    'size': (128, 128),
    'measured_size': (128, 128),
    'fps': 8.0,
    'frames': 11,
    'clips': 10_000,
    'settings': {'guidance': 0.1, 'steps': 12, 'choice_temperature': 4.0},
    'open': 'the number of clips, the prompts and the networks of both FIDs '
    'are not stated',
  }
