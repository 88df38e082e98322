"""The composition of a batch and the order in which sources are drawn.

Both follow from the config alone. They are the same in every batch and on
every process, so shapes are static and no process waits for another. An image
has the tokens of one latent frame and a clip those of all its latent frames,
so the share of images in tokens is much lower than their share in examples.
"""

import dataclasses
import fractions
import math
from collections.abc import Sequence

# Largest share of empty latent frames in a batch with a row multiple.
MAX_PADDING = 0.01


@dataclasses.dataclass(frozen=True, kw_only=True)
class Composition:
  """The numbers of clips and images in every batch.

  Attributes:
    num_clips, num_images: examples of a batch, over all processes.
  """

  num_clips: int
  num_images: int

  @property
  def counts(self) -> dict[str, int]:
    """Return the number of examples of each part that has any."""
    counts = {'clips': self.num_clips, 'images': self.num_images}
    return {part: count for part, count in counts.items() if count}

  @property
  def image_share(self) -> float:
    """Return the realised share of images in examples."""
    return self.num_images / (self.num_clips + self.num_images)

  def latent_frames(self, of_clip: int) -> int:
    """Return the latent frames of a batch; an image has one.

    Args:
      of_clip: latent frames of a clip.
    """
    return self.num_images + self.num_clips * of_clip

  def token_share(self, of_clip: int) -> float:
    """Return the share of images in visual tokens; see `latent_frames`."""
    return self.num_images / self.latent_frames(of_clip)

  def num_rows(self, latent_frames: int) -> int:
    """Return the number of token rows: one per clip, images are packed.

    Args:
      latent_frames: latent frames of a clip, and images of a row.
    """
    return self.num_clips + math.ceil(self.num_images / latent_frames)


def compose(
  *,
  batch_size: int,
  image_share: float,
  row_multiple: int = 1,
  latent_frames: int = 1,
) -> Composition:
  """Divide a batch into clips and images.

  With a row multiple, the batch is that whose number of rows (see
  `Composition.num_rows`) is the multiple nearest to that of `batch_size`
  examples, and whose share of images is the nearest possible. At most 1% of the
  latent frames of its rows are empty.

  Args:
    batch_size: examples of a batch, over all processes.
    image_share: requested share of images, 0 to 1.
    row_multiple: a number that divides the number of rows.
    latent_frames: latent frames of a clip.
  """
  num_images = round(image_share * batch_size)
  made = Composition(num_clips=batch_size - num_images, num_images=num_images)
  if row_multiple == 1:
    return made
  size = made.num_clips + num_images / latent_frames
  num_rows = row_multiple * max(1, round(size / row_multiple))
  found = []
  for packed in range(num_rows + 1):
    for empty in range(latent_frames if packed else 1):
      if empty > MAX_PADDING * num_rows * latent_frames:
        break
      found.append(
        Composition(
          num_clips=num_rows - packed,
          num_images=packed * latent_frames - empty,
        )
      )
  return min(found, key=lambda one: abs(one.image_share - image_share))


@dataclasses.dataclass(frozen=True, kw_only=True)
class SourceShare:
  """The share of one source among the examples of one kind.

  Attributes:
    name: of the source.
    requested: its share of the weights of all sources.
    realised: its share of the examples; it differs from the requested share
      where a source has no example of the kind.
  """

  name: str
  requested: float
  realised: float


def integer_weights(weights: Sequence[float]) -> tuple[int, ...]:
  """Return the smallest integers in exactly the given proportions.

  `grain.MapDataset.mix` rounds them to 1% of the smallest weight instead.

  Args:
    weights: positive; each stands for its decimal notation.
  """
  exact = [fractions.Fraction(repr(weight)) for weight in weights]
  scale = math.lcm(*(weight.denominator for weight in exact))
  integers = [int(weight * scale) for weight in exact]
  divisor = math.gcd(*integers)
  return tuple(weight // divisor for weight in integers)


def taken(position: int, weights: Sequence[int]) -> list[int]:
  """Return how many positions before one each source has; see `source_at`."""
  counts, left, rest = [], position, sum(weights)
  for weight in weights:
    others = left * (rest - weight) // rest if rest else 0
    counts.append(left - others)
    left, rest = others, rest - weight
  return counts


def source_at(position: int, weights: Sequence[int]) -> tuple[int, int]:
  """Choose the source of a position of a mixture.

  The sources are interleaved evenly. Any `sum(weights)` consecutive positions
  from a multiple of that sum on hold `weights[i]` examples of source i.

  Args:
    position: in the mixture, from 0.
    weights: integer weight of each source, 0 for a source that is never drawn.

  Returns:
    The index of the source, and the position within it.
  """
  # `first` and `last` count the positions before and up to this one that are
  # left to the sources not yet considered, as in grain's own mixture.
  first, last, rest = position, position + 1, sum(weights)
  for number, weight in enumerate(weights):
    others = [count * (rest - weight) // rest for count in (first, last)]
    if last - others[1] > first - others[0]:
      return number, first - others[0]
    first, last = others
    rest -= weight
  raise AssertionError('the last source takes all remaining positions')
