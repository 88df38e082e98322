"""Training data of several shapes, of which every batch has one.

The shape of step k is a pure function of the config and k, the same on every
process, and each shape is compiled once. The shapes are interleaved evenly by
their weights, as the sources of a mixture are. A bucket reads all data, in an
order of its own.
"""

import collections
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence

from phenaki_jax.data import config as config_lib
from phenaki_jax.data import mixture
from phenaki_jax.data import spec as spec_lib
from phenaki_jax.data.loader import Loader
from phenaki_jax.data.pipeline import Pipeline


class Buckets(Loader):
  """Loads this process' rows of every batch, whose shapes differ.

  Attributes:
    pipelines: the data of each bucket.
    fingerprint: as of `Pipeline`.
  """

  def __init__(
    self,
    config: config_lib.DataConfig,
    opener: Callable[[config_lib.DataConfig], Pipeline],
  ):
    """Open the data of each bucket.

    Args:
      config: with buckets.
      opener: opens data of one shape.
    """
    super().__init__(config)
    self.pipelines = [opener(one) for one in config.of_buckets()]
    self._weights = mixture.integer_weights([b.weight for b in config.buckets])
    parts = [[one.fingerprint for one in self.pipelines], self._weights]
    self.fingerprint = hashlib.sha256(json.dumps(parts).encode()).hexdigest()

  def bucket(self, step: int) -> tuple[int, int]:
    """Return the bucket of a step, and how many steps before were of it."""
    return mixture.source_at(step, self._weights)

  def batch(self, step: int) -> spec_lib.Batch:
    """Return this process' rows of the global batch of `step`."""
    number, place = self.bucket(step)
    return self.pipelines[number].batch(place)

  def captions(self, limit: int) -> Iterator[str]:
    """Yield the captions of up to `limit` examples, the same of all buckets."""
    return self.pipelines[0].captions(limit)

  def describe(self, latent_frames: int) -> str:
    """Describe every bucket; each has latent frames of its own, or none."""
    lines = []
    for one, weight in zip(self.pipelines, self._weights, strict=True):
      height, width = one.config.size
      lines += [
        f'{weight / sum(self._weights):.3g} of the steps have clips of '
        f'{one.config.frames} frames of {height} x {width} pixels.',
        one.describe(one.latent_frames if latent_frames else 0),
      ]
    return '\n'.join(lines)

  def seen(
    self, step: int, tokens: Sequence[Mapping[str, int]]
  ) -> dict[str, float]:
    """Return what the steps before one have trained on; see `seen.seen`.

    Args:
      step: number of steps.
      tokens: visual tokens of one example, by part, for each bucket; empty
        for a model without tokens.
    """
    examples: collections.Counter[str] = collections.Counter()
    visual: collections.Counter[str] = collections.Counter()
    steps = mixture.taken(step, self._weights)
    for one, times, each in zip(self.pipelines, steps, tokens, strict=True):
      for part, count in one.composition.counts.items():
        examples[part] += times * count
        visual[part] += times * count * each[part] if each else 0
    values = {f'{part}_seen': float(count) for part, count in examples.items()}
    values['image_share'] = examples['images'] / examples.total()
    if all(tokens):
      values['tokens_seen'] = float(visual.total())
      values['image_token_share'] = visual['images'] / visual.total()
    return values

  @property
  def replaced(self) -> int:
    """Return how many broken examples this process has replaced."""
    return sum(one.replaced for one in self.pipelines)
