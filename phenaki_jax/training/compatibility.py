"""Whether a checkpoint belongs to the run that resumes from it."""

import dataclasses
import json
import logging
import os
from collections.abc import Mapping
from typing import Any

from flax.traverse_util import flatten_dict

from phenaki_jax import config as config_lib
from phenaki_jax.diffusion.config import DiffusionConfig
from phenaki_jax.errors import UserError
from phenaki_jax.masked_transformer.config import GeneratorConfig
from phenaki_jax.text.config import PLACES, TextConfig
from phenaki_jax.tokenizer.config import TokenizerConfig
from phenaki_jax.training.config import OptimConfig
from phenaki_jax.training.distillation_config import DistillationConfig
from phenaki_jax.training.optim import make_schedule

FROZEN = 'frozen parameters'
"""The name of the fingerprint of the parameters that a run does not train."""

_logger = logging.getLogger(__name__)

# The parts of an experiment that must not change when a run is resumed. The
# others (length, learning rate, mesh, ...) may change, which is logged.
_BOUND = (
  *('kind', 'seed', 'tokenizer', 'text', 'generator', 'diffusion'),
  'distillation',
)
_UNBOUND = (
  *(f'text.{name}' for name in PLACES),
  'distillation.teacher',  # Its digest is compared.
)
_SHOWN = 8

# Settings that had other names in earlier releases.
_RENAMED = {
  ('data', 'cache_bytes'): 'frame_cache_bytes',
  ('data', 'cache'): 'token_cache',
}
# Settings of earlier releases that had no use, with the value that they had.
_REMOVED = {('task', 'label_smoothing'): 0.0}
_MODELS = {
  'tokenizer': TokenizerConfig,
  'text': TextConfig,
  'generator': GeneratorConfig,
  'diffusion': DiffusionConfig,
  'distillation': DistillationConfig,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunDescription:
  """The properties of a run by which it is recognised.

  Attributes:
    config: the experiment, as nested dicts.
    identity: fingerprints of the run's other inputs, by name.
    arrays: dtypes and shapes, by path.
  """

  config: Mapping[str, Any]
  identity: Mapping[str, str]
  arrays: Mapping[str, str]


def with_current_names(config: Mapping[str, Any]) -> dict[str, Any]:
  """Return a saved config with the settings and names that there are now."""
  renamed = dict(config)
  for (group, former), name in _RENAMED.items():
    fields = renamed.get(group)
    if isinstance(fields, Mapping) and former in fields:
      renamed[group] = {
        name if key == former else key: value for key, value in fields.items()
      }
  for (group, former), unused in _REMOVED.items():
    fields = renamed.get(group)
    if isinstance(fields, Mapping) and fields.get(former) == unused:
      renamed[group] = {k: v for k, v in fields.items() if k != former}
  return renamed


def check_same_run(
  folder: os.PathLike[str],
  *,
  saved: RunDescription,
  ours: RunDescription,
  step: int,
) -> None:
  """Compare a checkpoint with the run that is to resume from it.

  Args:
    folder: the checkpoint, for the message.
    saved: the run that wrote the checkpoint.
    ours: the run that is to resume from it.
    step: number of optimizer steps done.

  Raises:
    UserError: naming every difference that matters.
  """
  changed = _differences(_completed(saved.config), _completed(ours.config))
  bound = [
    text
    for key, text in changed
    if key.split('.')[0] in _BOUND and key not in _UNBOUND
  ]
  there, here = saved.identity.get(FROZEN), ours.identity.get(FROZEN)
  if not bound and there != here and ours.config.get('kind') == 'tokenizer':
    raise UserError(
      f'{folder} was trained with other weights of a perceptual network: the '
      f'{FROZEN} are {there} there and {here} here. Give the networks and '
      'files in losses.networks that the run was started with, or another '
      '--workdir.'
    )
  if not bound and there != here:
    raise UserError(
      f'{folder} was trained on the tokens of another tokenizer, or of this '
      f'one before it was trained further: the {FROZEN} are {there} there and '
      f'{here} here. Give the tokenizer_dir that the run was started with, '
      'unchanged, or another --workdir to train a new generator.'
    )
  for key, text in _differences(saved.identity, ours.identity):
    # Name the changed settings, if any, instead of the fingerprint.
    named = [text for part, text in changed if part.split('.')[0] == key]
    bound.append(f'{"; ".join(named)} ({text})' if named else text)
  # Name the changed settings, if any, instead of the array shapes.
  shown = _SHOWN
  if not bound and (arrays := _differences(saved.arrays, ours.arrays)):
    is_state = all(path.startswith('opt_state') for path, _ in arrays)
    bound = [
      text for key, text in changed if is_state and key.startswith('optim.')
    ]
    if not bound:
      bound, shown = [text for _, text in arrays], 2
  if bound:
    more = len(bound) - shown
    raise UserError(
      f'{folder} belongs to another run: {"; ".join(bound[:shown])}'
      f'{f"; and {more} more" if more > 0 else ""}. Give another --workdir, '
      'or the settings of that run.'
    )
  if changed:
    _logger.warning(
      'Resuming with other settings: %s.%s',
      '; '.join(text for _, text in changed),
      _rates(saved.config, ours.config, step),
    )


def _rates(saved: Mapping[str, Any], ours: Mapping[str, Any], step: int) -> str:
  """Describe the learning rate of the next step if the schedule changes."""
  rates = [_rate(config, step) for config in (saved, ours)]
  if None in rates or rates[0] == rates[1]:
    return ''
  return (
    f' The learning rate of step {step + 1} was {rates[0]:.3g} and is now '
    f'{rates[1]:.3g}.'
  )


def _rate(config: Mapping[str, Any], step: int) -> float | None:
  if not {'optim', 'train'} <= config.keys():
    return None
  try:
    optim = config_lib.build(OptimConfig, config['optim'])
  except UserError:
    return None  # The settings of another release.
  schedule = make_schedule(optim, steps=config['train']['steps'])
  return float(schedule(step))


def _completed(config: Mapping[str, Any]) -> dict[str, Any]:
  """Fill in options of models that an earlier release did not have yet."""
  completed = with_current_names(config)
  for name, kind in _MODELS.items():
    # As JSON, like the settings that were saved.
    defaults = json.loads(json.dumps(config_lib.to_dict(kind())))
    completed[name] = _filled(completed.get(name, {}), defaults)
  return completed


def _filled(
  values: Mapping[str, Any], defaults: Mapping[str, Any]
) -> dict[str, Any]:
  """Return values with defaults for those that are missing, in groups too."""
  filled = {**defaults, **values}
  for name, default in defaults.items():
    if isinstance(default, Mapping) and isinstance(values.get(name), Mapping):
      filled[name] = _filled(values[name], default)
  return filled


def _differences(
  saved: Mapping[str, Any], ours: Mapping[str, Any]
) -> list[tuple[str, str]]:
  there, here = (flatten_dict(dict(tree), sep='.') for tree in (saved, ours))
  return [
    (
      key,
      f'{key} is {there.get(key, "absent")} there '
      f'and {here.get(key, "absent")} here',
    )
    for key in sorted(there.keys() | here.keys())
    if there.get(key) != here.get(key)
  ]
