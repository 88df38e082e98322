"""What the units of a sweep's folder have in common, beside their settings.

A unit is known by its settings. Two things change its results and are not among
them: the number of examples whose tokens are shared, and the content of the
tokenizer. They are kept in the folder, so that one table holds units of one
kind.
"""

from collections.abc import Iterable

from etils import epath

from phenaki_jax import config as config_lib
from phenaki_jax.errors import UserError
from phenaki_jax.files.atomic import replace_file
from phenaki_jax.runs.ablate_unit import UNITS, Unit
from phenaki_jax.runs.trained_tokenizer import tokenizer_digest

_FILE = 'shared.json'


@config_lib.validated
class Shared:
  """The content of `shared.json`.

  Attributes:
    cached: most clips, and most images, whose tokens are shared; 0 if the units
      train on pixels.
    tokenizers: digests of the trained tokenizers, by `tokenizer_dir`.
  """

  cached: int
  tokenizers: dict[str, str]

  @classmethod
  def of(cls, units: Iterable[Unit], *, cached: int) -> 'Shared':
    """Return what units would share; their tokenizers are trained."""
    places = {unit.experiment.tokenizer_dir for unit in units}
    digests = {place: tokenizer_digest(place) for place in sorted(places)}
    return cls(cached=cached, tokenizers=digests)

  def check(self, out: epath.PathLike) -> 'Shared':
    """Return what the folder `out` has when these units are added to it.

    A folder without units may have anything.

    Raises:
      UserError: its units share something else.
    """
    path = epath.Path(out) / _FILE
    if not ((epath.Path(out) / UNITS).is_dir() and path.is_file()):
      return self
    found = config_lib.from_json(Shared, path.read_text())
    if found.cached != self.cached:
      raise UserError(
        f'--cached is {self.cached}, but the units in {out} are of --cached '
        f'{found.cached}; give that number, or name another --out'
      )
    for place, digest in self.tokenizers.items():
      if found.tokenizers.get(place, digest) != digest:
        raise UserError(
          f'the tokenizer in {place} was trained further or again since the '
          f'units in {out} were begun; restore it, or name another --out'
        )
    return Shared(
      cached=self.cached, tokenizers={**found.tokenizers, **self.tokenizers}
    )

  def keep(self, out: epath.PathLike) -> None:
    """Write the file, unless the folder has units that were made without it.

    Raises:
      UserError: the units of the folder share something else.
    """
    # Looked for first: another process writes the file before it adds a unit.
    has_units = (epath.Path(out) / UNITS).is_dir()
    path = epath.Path(out) / _FILE
    if path.is_file() or not has_units:
      replace_file(path, config_lib.to_json(self.check(out)).encode())
