"""Units that differ in the share of images among the training examples.

The paper's Table 2 compares three shares and does not say what is held fixed.
Both answers are offered. With matched examples, all units take as many steps of
equally large batches. With matched tokens, units of more images take more
steps, because an image has the tokens of one latent frame only.
"""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from phenaki_jax import config as config_lib
from phenaki_jax.errors import UserError

_MATCHES = {
  'both': ('examples', 'tokens'),
  'examples': ('examples',),
  'tokens': ('tokens',),
}


def ratio_units(
  arg: str, shares: Mapping[str, float]
) -> Iterator[dict[str, Any]]:
  """Yield the units of a sweep over the share of images.

  Args:
    arg: the argument of the sweep: `config`, a generator's config; `manifest`,
      the folder of a manifest (of LPC), whose config is then `lpc.py`; `match`,
      'examples', 'tokens' or 'both'; `batch` and `steps` of the first unit;
      `prompts` and `concepts`, the clips of the evaluation of a unit, and those
      of each image-only concept.
    shares: the shares of images, by label; the first has the fewest images.

  Raises:
    UserError: an entry of `arg` is unknown or has a wrong value.
  """
  given = config_lib.parse_arg(
    arg,
    config='',
    manifest='',
    match='both',
    batch=30,
    steps=3000,
    prompts=200,
    concepts=50,
  )
  config = given.config or '../generator/tiny.py'
  if given.manifest:
    base = given.config or '../generator/lpc.py'
    config = f'{base}:manifest={given.manifest}'
  evaluation: dict[str, Any] = {
    'world': 'lpc' if given.manifest else 'storyworld',
    'prompts': given.prompts,
    'stories': 0,
    'changes': 0,
    'reconstructions': 0,
    'image_only': True,
    'image_only_prompts': given.concepts,
    'frechet': True,
  }
  if given.match not in _MATCHES:
    raise UserError(
      f"match is {given.match!r}; use 'examples', 'tokens' or 'both'"
    )
  matches = _MATCHES[given.match]
  for match, (label, share) in itertools.product(matches, shares.items()):
    yield {
      'config': config,
      'label': label,
      'series': f'matched {match}',
      'match': match,
      'data.image_share': share,
      'data.batch_size': given.batch,
      'train.steps': given.steps,
      # Evaluated at the end alone.
      'train.evaluate_every': 10**9,
      **{f'evaluate.{name}': value for name, value in evaluation.items()},
    }
