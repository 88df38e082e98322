"""What to do with a finished run."""

import os
import shlex

from phenaki_jax import config as config_lib
from phenaki_jax.errors import UserError
from phenaki_jax.runs.experiment import Experiment


def next_step(experiment: Experiment, config: str, workdir: str) -> str:
  """Return a sentence with the command that comes after a training.

  Args:
    experiment: of the run.
    config: where it is described, `FILE` or `FILE:ARG`. Of a tokenizer, the
      generator on the same data is the file of that name in the folder
      `generator` beside its own, if there is one. It is given those entries of
      ARG that it takes.
    workdir: the run directory.
  """
  out = shlex.quote(workdir)
  match experiment.kind:
    case 'tokenizer':
      file, arg = config_lib.split(config)
      folder, name = os.path.split(file)
      named = os.path.normpath(os.path.join(folder, '..', 'generator', name))
      what = 'train a generator on its tokens'
      if os.path.isfile(named):
        entries = arg.split(',') if arg else []
        taken = [one for one in entries if _is_taken(named, one)]
        if refused := [one for one in entries if one not in taken]:
          what += f' (its config does not take {", ".join(refused)})'
        named += f':{",".join(taken)}' * bool(taken)
      else:
        named = 'FILE'
        what += ', with the config FILE of one on the same data'
      following = shlex.quote(workdir.rstrip('/') + '_generator')
      return (
        f'{what}: phenaki train --config {shlex.quote(named)} --workdir '
        f'{following} --set tokenizer_dir={out}'
      )
    case 'diffusion' if experiment.diffusion.values == 'residual':
      return (
        f'enlarge a clip: phenaki edit enlarge CLIP --model {out} --out '
        'large.mp4'
      )
    case 'reader':
      stories = experiment.characters.stories
      more = f' --stories {shlex.quote(stories)}' if stories else ''
      return f'measure it: phenaki reader --reader {out}{more}'
  return (
    f'generate a story video: phenaki story --model {out} --prompt "..." '
    '--prompt "..." --out story.mp4'
  )


def _is_taken(file: str, entry: str) -> bool:
  """Return whether a config takes an entry of the argument of another one."""
  try:
    config_lib.load(f'{file}:{entry}')
  except UserError:
    return False
  return True
