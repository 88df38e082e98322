"""Which options each format of `phenaki export` reads, and which it needs."""

from collections.abc import Mapping
from typing import Any

from phenaki_jax.errors import UserError

# What other formats have no place for.
_FORMATS = {
  **dict.fromkeys(('dtype', 'scores', 'note', 'license'), ('bundle',)),
  'steps': ('stablehlo', 'savedmodel'),
}


def check_options(form: str, options: Mapping[str, Any]) -> None:
  """Check that a format has a place for all that is given.

  Args:
    form: 'bundle', 'stablehlo' or 'savedmodel'.
    options: of `phenaki export`, by name; those not given are None or ''.

  Raises:
    UserError: an option is for another format or is missing, or programs cannot
      be written to `out`.
  """
  for name, formats in _FORMATS.items():
    if options[name] and form not in formats:
      raise UserError(
        f'--{name} is for --format {" or ".join(formats)}, not for {form}; '
        'leave it out, or change the format'
      )
  if form == 'bundle':
    if not options['run_dir'] or options['model']:
      raise UserError(
        'a bundle is made of a run; give --run, the --workdir of a trained '
        'generator or diffusion model, instead of --model'
      )
    return
  if options['run_dir']:
    raise UserError(
      f'--run is for bundles; give --model {options["run_dir"]} with --format '
      f'{form}'
    )
  from phenaki_jax.export.programs import replaceable

  replaceable(options['out'])
