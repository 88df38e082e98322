"""What ports that are added to a trained model take over from it."""

import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from phenaki_jax.training.state import Task, missing_leaves

_log = logging.getLogger(__name__)

# The new leaves of a block, and those that read texts in the same block.
_TAKEN_OVER: dict[tuple[str, ...], tuple[str, ...]] = {
  **{
    ('captions', name, 'kernel'): ('cross', name, 'kernel')
    for name in ('query', 'key', 'value', 'out')
  },
  ('memory_norm', 'scale'): ('cross_norm', 'scale'),
}


def grown(
  task: Task, given: Mapping[str, Any], start_from: str
) -> Mapping[str, Any]:
  """Return the parameters of a start, with those that new ports take over.

  Args:
    task: of the run, whose networks may have more parameters.
    given: parameters of the trained model, by network.
    start_from: its name, for the message that lists what is created anew.
  """
  added = missing_leaves(task, given)
  if not added:
    return given
  # Blocks have the same leaves: each is named once.
  names = dict.fromkeys(re.sub(r'block_\d+', 'block_*', one) for one in added)
  _log.info(
    'start_from=%s has no %s, which are created anew.',
    start_from,
    ', '.join(names),
  )
  return with_readers(given, added)


def with_readers(
  given: Mapping[str, Any], missing: Sequence[str]
) -> dict[str, Any]:
  """Let blocks read the captions of a history as they read their own texts.

  The new attention to captions has then only to be switched on and to be told
  whose caption to read: its gate is zero at first, so that no output changes.

  Args:
    given: parameters of a trained model, by network.
    missing: paths of the parameters that a run adds to them, from
      `state.missing_leaves`.
  """
  leaves = flatten_dict(dict(given))
  for name in missing:
    path = tuple(name.split('/'))
    for new, known in _TAKEN_OVER.items():
      if path[-len(new) :] == new:
        source = (*path[: -len(new)], *known)
        if source in leaves:
          leaves[path] = leaves[source]
    if path[-2:] == ('captions', 'gate'):
      out = leaves.get((*path[:-2], 'cross', 'out', 'kernel'))
      if out is not None:
        # One for each head; scanned blocks have a leading dimension.
        leaves[path] = np.zeros(out.shape[:-2], np.float32)
  return unflatten_dict(leaves)
