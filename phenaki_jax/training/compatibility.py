"""Refuse to go on with another run's checkpoint, in a sentence."""

import logging
import pathlib
from collections.abc import Mapping
from typing import Any

from phenaki_jax.errors import UserError
from phenaki_jax.files import digests

FROZEN = 'frozen parameters'
"""Names the fingerprint of what a run uses and does not train."""

_logger = logging.getLogger(__name__)

# The parts of an experiment that a run cannot change on the way. The others
# (length, learning rate, mesh, ...) may change, and are named in the log.
_BOUND = ('kind', 'seed', 'tokenizer', 'text', 'generator')
_SHOWN = 8


def check_same_run(
  folder: pathlib.Path,
  *,
  saved: tuple[Mapping[str, Any], Mapping[str, Any], Mapping[str, Any]],
  ours: tuple[Mapping[str, Any], Mapping[str, Any], Mapping[str, Any]],
) -> None:
  """Compare a checkpoint with the run that wants to resume from it.

  Args:
    folder: the checkpoint, for the message.
    saved: its experiment, its fingerprints by name, its arrays (or their
      shapes) as nested dicts or flat paths.
    ours: the same of the run.

  Raises:
    UserError: naming every difference that matters.
  """
  changed = _differences(saved[0], ours[0])
  bound = [text for key, text in changed if key.split('.')[0] in _BOUND]
  if not bound and saved[1].get(FROZEN) != ours[1].get(FROZEN):
    raise UserError(
      f'{folder} was trained on the tokens of another tokenizer, or of this '
      f'one before it was trained further: its {FROZEN} are '
      f'{saved[1].get(FROZEN)} there and {ours[1].get(FROZEN)} here. Give the '
      'tokenizer_dir of that time, unchanged, or another --workdir to train a '
      'new generator.'
    )
  for key, text in _differences(saved[1], ours[1]):
    # Settings that differ too may be why, and say more than a fingerprint.
    named = [text for part, text in changed if part.split('.')[0] == key]
    bound.append(f'{"; ".join(named)} ({text})' if named else text)
  # Arrays differ whenever the model does; the settings say it better.
  bound = bound or [text for _, text in _differences(saved[2], ours[2])]
  if bound:
    more = len(bound) - _SHOWN
    raise UserError(
      f'{folder} belongs to another run: {"; ".join(bound[:_SHOWN])}'
      f'{f"; and {more} more" if more > 0 else ""}. Give another --workdir, '
      'or the settings of that run.'
    )
  if changed:
    _logger.warning(
      'Resuming with other settings: %s.',
      '; '.join(text for _, text in changed),
    )


def _differences(
  saved: Mapping[str, Any], ours: Mapping[str, Any]
) -> list[tuple[str, str]]:
  there, here = _dotted(saved), _dotted(ours)
  return [
    (
      key,
      f'{key} is {there.get(key, "absent")} there '
      f'and {here.get(key, "absent")} here',
    )
    for key in sorted(there.keys() | here.keys())
    if there.get(key) != here.get(key)
  ]


def _dotted(tree: Mapping[str, Any]) -> dict[str, Any]:
  flat = digests.flatten(tree)
  return {path.replace('/', '.'): value for path, value in flat.items()}
