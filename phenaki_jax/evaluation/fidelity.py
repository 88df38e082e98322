"""How close the reconstructions of a tokenizer are to held-out clips.

Beside the similarity of whole frames (see `evaluation.reconstruction`), it
measures the bounding box of the object or character, whose errors are a small
part of an average over the whole frame, and whether the facts can still be
read.
"""

import collections
import dataclasses
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from phenaki_jax.evaluation.counts import Counts, Table
from phenaki_jax.evaluation.reconstruction import MAX_PSNR, compare
from phenaki_jax.evaluation.world import World
from phenaki_jax.types import VideoU8


@dataclasses.dataclass(frozen=True, kw_only=True)
class FidelityReport:
  """How close reconstructions are to the originals.

  Attributes:
    clips: number of clips.
    means: of 'psnr' in dB and 'ssim' over all frames, of 'psnr_first' over
      first frames and 'psnr_later' over all others, of 'psnr_box' over the
      boxes of the frames that have one, and of other distances by name. What
      nothing is known of is left out.
    positions: mean PSNR of the frames at each position, in dB.
    facts: by fact, how often a value that was surely read in the original is
      read in the reconstruction.
    samples: the first few, as (original, reconstruction).
    protocol: what the numbers depend on, as JSON values.
  """

  clips: int
  means: dict[str, float]
  positions: tuple[float, ...]
  facts: Table
  samples: tuple[tuple[np.ndarray, np.ndarray], ...]
  protocol: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def report_fidelity(
  reconstruct: Callable[[np.ndarray], np.ndarray],
  batches: Iterable[Mapping[str, np.ndarray]],
  *,
  world: World | None,
  distances: Mapping[
    str, Callable[[VideoU8, VideoU8], Float[np.ndarray, ' frames']]
  ] = MappingProxyType({}),
  protocol: Mapping[str, Any] = MappingProxyType({}),
  shown: int = 4,
  on_done: Callable[[int], object] = lambda count: None,
) -> FidelityReport:
  """Reconstruct held-out clips, and compare them with the originals.

  Args:
    reconstruct: maps frames, uint8 [B, T, H, W, 3], to decoded ones.
    batches: the `clips` parts of batches, of which every clip is one scene.
    world: finds the object and reads the facts; None leaves both out.
    distances: by name, other distances of the frames of two clips.
    protocol: what the numbers depend on, as JSON values.
    shown: number of clips in the report.
    on_done: called with the number of clips finished since the last call.
  """
  found: dict[str, list[float]] = collections.defaultdict(list)
  positions: dict[int, list[float]] = collections.defaultdict(list)
  facts = {} if world is None else dict.fromkeys(world.fact_names, Counts())
  samples: list[tuple[np.ndarray, np.ndarray]] = []
  clips = 0
  for batch in batches:
    decoded = reconstruct(batch['pixels'])
    similar: dict[str, Any] = {
      name: np.asarray(values)
      for name, values in compare(
        jnp.asarray(batch['pixels']), jnp.asarray(decoded)
      ).items()
    }
    for row, frames in enumerate(batch['num_frames']):
      original, copy = (x[row, :frames] for x in (batch['pixels'], decoded))
      for name, values in similar.items():
        found[name] += values[row, :frames].tolist()
      for place, value in enumerate(similar['psnr'][row, :frames].tolist()):
        positions[place].append(value)
        found['psnr_later' if place else 'psnr_first'].append(value)
      for name, distance in distances.items():
        found[name] += distance(original, copy).tolist()
      if world is not None:
        before, after = world.read(original), world.read(copy)
        found['psnr_box'] += psnr_inside(original, copy, before.box)
        for fact, read in before.facts.items():
          if read.is_sure:
            again = after.facts[fact]
            facts[fact] += Counts(
              asked=1,
              right=int(again.value == read.value),
              unsure=int(not again.is_sure),
            )
      if len(samples) < shown:
        samples.append((original, copy))
    clips += len(batch['num_frames'])
    on_done(len(batch['num_frames']))
  return FidelityReport(
    clips=clips,
    means={name: float(np.mean(v)) for name, v in found.items() if v},
    positions=tuple(float(np.mean(v)) for _, v in sorted(positions.items())),
    facts=Table({fact: n for fact, n in facts.items() if n.asked}),
    samples=tuple(samples),
    protocol=protocol,
  )


def psnr_inside(
  a: VideoU8, b: VideoU8, box: Bool[np.ndarray, 'T H W']
) -> list[float]:
  """Return the PSNR of the pixels of each frame's box, in dB, 0 to 100.

  Frames without such pixels are left out.
  """
  errors: Float[np.ndarray, 'T H W'] = (
    (a.astype(np.float64) - b.astype(np.float64)) ** 2
  ).mean(-1)
  least = 255.0**2 / 10 ** (MAX_PSNR / 10)
  return [
    float(10 * np.log10(255.0**2 / max(error[inside].mean(), least)))
    for error, inside in zip(errors, box, strict=True)
    if inside.any()
  ]
