"""Which options each action of `phenaki edit` reads, and which it needs."""

import os
import pathlib
from collections.abc import Mapping
from typing import Any

from phenaki_jax.errors import UserError
from phenaki_jax.files.paths import film_paths

_GENERATING = (
  *('animate', 'continue', 'interpolate', 'fps', 'fill', 'restyle'),
  *('extend', 'vary'),
)
ACTIONS = (*_GENERATING, 'enlarge')
_SOME = ('guidance', 'temperature', 'time_guidance', 'tokenizer')

# What some actions do not read.
READ_BY: dict[str, tuple[str, ...]] = {
  'frames': ('animate', 'continue'),
  'between': ('interpolate',),
  'times': ('fps',),
  **dict.fromkeys(
    ('content', 'depth', 'structure_level', 'invert'), ('restyle',)
  ),
  **dict.fromkeys(('box', 'mask'), ('fill', 'restyle')),
  'margins': ('extend',),
  'prompt': tuple(action for action in _GENERATING if action != 'vary'),
  'degradation': ('enlarge',),
  **dict.fromkeys((*_SOME, 'encoder'), _GENERATING),
}


def check_options(action: str, options: Mapping[str, Any]) -> None:
  """Check that an action reads all that is given, and gets what it needs.

  Args:
    action: one of `ACTIONS`.
    options: by name; those that are None or '' are not given.

  Raises:
    UserError: an option is for another action, or is missing; see also
      `edit_paths`.
    NotFoundError: there is no such input, content or depth.
  """
  given = {name for name, x in options.items() if x is not None and x != ''}
  for name, actions in READ_BY.items():
    if name in given and action not in actions:
      what = 'the others' if len(actions) > 2 else ' and '.join(actions)
      raise UserError(
        f'{action} does not read --{name.replace("_", "-")}, which is for '
        f'{what}; leave it out'
      )
  if action == 'fill' and not given & {'box', 'mask'}:
    raise UserError('fill needs --box left,top,right,bottom, or --mask FILE')
  if action == 'extend' and 'margins' not in given:
    raise UserError('extend needs --margins left,top,right,bottom')
  if action == 'restyle' and not given & {'content', 'prompt'}:
    raise UserError('restyle needs --content, an image or a text of the result')
  from phenaki_jax.runs.footage import find, find_maps, is_footage

  content, depth = options['content'], options['depth']
  inputs = [*options['inputs'], *filter(None, [options['mask']])]
  for path in (*inputs, *filter(is_footage, filter(None, [content]))):
    find(path)
  if depth:
    find_maps(depth)
  edit_paths(options['out'], *inputs, content, depth)


def edit_paths(
  out: str | os.PathLike[str], *inputs: str | None
) -> list[pathlib.Path]:
  """Return the film and its frames, which replace none of the inputs.

  Raises:
    UserError: see `film_paths`.
  """
  # A text may be so long, or of such letters, that it is no path.
  read = [path for path in inputs if path and os.path.exists(path)]
  return film_paths(out, ('.mp4', '.npy'), inputs=read)
