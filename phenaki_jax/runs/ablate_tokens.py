"""The tokens that the units of a sweep share.

The examples of each kind come in the same order whatever their share in a
batch, so that one cache serves all ratios. It is written before the first unit
starts.
"""

import dataclasses
from collections.abc import Iterable, Mapping

from etils import epath

from phenaki_jax import config as config_lib
from phenaki_jax.data.pipeline import NOT_IN_FINGERPRINT, OF_THE_BATCH
from phenaki_jax.data.record_cache import CACHE_FILE, CacheInfo
from phenaki_jax.data.token_cache import KIND
from phenaki_jax.files.digests import digest_json
from phenaki_jax.runs.ablate_unit import Unit, as_options
from phenaki_jax.runs.experiment import Experiment

# Examples of a kind that are encoded at once.
_ROWS = 32


@dataclasses.dataclass(frozen=True, kw_only=True)
class SharedTokens:
  """A cache of tokens for some units.

  Attributes:
    folder: of the cache.
    units: the units that are trained on it.
    most: most examples of a kind; fewer if no unit takes as many.
  """

  folder: epath.Path
  units: tuple[Unit, ...]
  most: int

  @property
  def command(self) -> list[str]:
    """Return the arguments of `phenaki` that write the cache."""
    unit = self.units[0]
    kinds = len(self._needs)
    share = {1: float('images' in self._needs), 2: 0.5}[kinds]
    names = (*(f'data.{name}' for name in OF_THE_BATCH), 'seed')
    kept = [
      text
      for text in unit.overrides
      if text.partition('=')[0] not in names and not text.startswith('wandb.')
    ]
    return [
      *('encode', '--tokens', '--config', unit.config),
      *('--out', str(self.folder), '--steps', str(self._steps)),
      *as_options(
        [
          *kept,
          f'data.batch_size={kinds * _ROWS}',
          f'data.image_share={share:g}',
        ]
      ),
    ]

  def is_written(self) -> bool:
    """Return whether the cache is complete and large enough."""
    if not (self.folder / CACHE_FILE).is_file():
      return False
    info = CacheInfo.read(self.folder, KIND)
    return info.is_complete and info.steps >= self._steps

  @property
  def _needs(self) -> Mapping[str, int]:
    """Return the most examples of each kind that a unit takes."""
    needs: dict[str, int] = {}
    for unit in self.units:
      for part, count in unit.composition.counts.items():
        total = count * unit.experiment.train.steps
        needs[part] = max(needs.get(part, 0), total)
    return needs

  @property
  def _steps(self) -> int:
    return -(-min(self.most, max(self._needs.values())) // _ROWS)


def share_tokens(
  units: Iterable[Unit], out: epath.PathLike, *, most: int
) -> dict[str, SharedTokens]:
  """Return the cache of each unit, by the unit's name.

  Args:
    units: of a sweep.
    out: folder of the sweep.
    most: most clips, and most images, of a cache.
  """
  groups: dict[str, list[Unit]] = {}
  for unit in units:
    groups.setdefault(_key(unit.experiment), []).append(unit)
  found: dict[str, SharedTokens] = {}
  for key, members in groups.items():
    tokens = SharedTokens(
      folder=epath.Path(out) / 'tokens' / key, units=tuple(members), most=most
    )
    found |= {unit.name: tokens for unit in members}
  return found


def _key(experiment: Experiment) -> str:
  """Return a digest of what determines the tokens of the examples."""
  data = config_lib.to_dict(experiment.data)
  for name in (*NOT_IN_FINGERPRINT, *OF_THE_BATCH):
    data.pop(name, None)
  uses_reencoded = experiment.task.reencoded_context > 0
  settings = [data, experiment.tokenizer_dir, uses_reencoded]
  return digest_json(settings)[:8]
