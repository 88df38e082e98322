"""Measures of generated clips that need no real ones: IS and CLIP's cosines."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Float

from phenaki_jax.evaluation.consistency import (
  frame_consistency,
  prompt_consistency,
)
from phenaki_jax.evaluation.distribution import Features
from phenaki_jax.evaluation.frechet import Moments
from phenaki_jax.evaluation.inception_score import PARTS, ClassScores
from phenaki_jax.evaluation.measure import Measure, network_name, warn_of_few

_Sum = TypeVar('_Sum', Moments, ClassScores)


@runtime_checkable
class Classifier(Protocol):
  """`Features` that also tell the classes of frames."""

  def probabilities(
    self, vectors: Float[np.ndarray, 'vectors features']
  ) -> Float[np.ndarray, 'vectors classes']:
    """Return the probabilities of the classes of frames with these vectors."""


@runtime_checkable
class TextFeatures(Protocol):
  """`Features` that may map texts to the same space as frames."""

  def embed(self, text: str) -> Float[np.ndarray, ' features'] | None:
    """Return the vector of a text; None if the network reads no texts."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class OwnMeasures:
  """What the vectors of generated clips give; `+` merges two sets of clips.

  Attributes:
    clips: number of clips.
    classes: of the frames; None if the network is no `Classifier`.
    frames: consistency of the frames of each clip; None without a network of
      `TextFeatures`, or if the clips are single frames.
    prompts: similarity of each clip with its prompt; None without prompts.
  """

  clips: int
  classes: ClassScores | None = None
  frames: Moments | None = None
  prompts: Moments | None = None

  @classmethod
  def of(
    cls,
    features: Features,
    vectors: Float[np.ndarray, 'vectors features'],
    *,
    number: int,
    prompt: str | None = None,
  ) -> 'OwnMeasures':
    """Measure the clip with a number, from 0, by its vectors."""
    classes = frames = prompts = None
    if isinstance(features, Classifier):
      classes = ClassScores.of(features.probabilities(vectors), number=number)
    if isinstance(features, TextFeatures):
      if len(vectors) > 1:
        frames = _of(frame_consistency(vectors))
      text = None if prompt is None else features.embed(prompt)
      if text is not None:
        prompts = _of(prompt_consistency(vectors, text))
    return cls(clips=1, classes=classes, frames=frames, prompts=prompts)

  def __add__(self, other: 'OwnMeasures') -> 'OwnMeasures':
    """Merge two sets of clips."""
    return OwnMeasures(
      clips=self.clips + other.clips,
      classes=_add(self.classes, other.classes),
      frames=_add(self.frames, other.frames),
      prompts=_add(self.prompts, other.prompts),
    )

  def measures(
    self, features: Features, *, protocol: Mapping[str, Any]
  ) -> tuple[Measure, ...]:
    """Return the measures that the network and the clips allow.

    Args:
      features: what the vectors are of.
      protocol: what else the numbers depend on: frames, size, frame rate.
    """
    network = features.describe()
    where = network_name(network)
    stamp = {**protocol, **network, 'samples': {'generated': self.clips}}
    found = []
    if self.classes is not None:
      frames = int(self.classes.counts.sum())
      warn_of_few('is', (frames,))
      mean, deviation = self.classes.score()
      found.append(
        Measure(
          name=f'is@{where}',
          value=mean,
          error=deviation,
          protocol={
            **stamp,
            'vectors': {'generated': frames},
            'repeats': int((self.classes.counts > 0).sum()),
            'parts': PARTS,
            'error_is': 'standard deviation over the parts',
          },
        )
      )
    cosines = {'clipsim': self.prompts, 'frame_consistency': self.frames}
    for name, moments in cosines.items():
      if moments is not None:
        warn_of_few(name, (moments.count,))
        found.append(
          Measure(
            name=f'{name}@{where}',
            value=float(moments.mean[0]),
            error=_error(moments),
            protocol={**stamp, 'repeats': 1, 'error_is': 'standard error'},
          )
        )
    return tuple(found)


def _of(value: float) -> Moments:
  return Moments.of(np.full((1, 1), value))


def _add(one: _Sum | None, other: _Sum | None) -> _Sum | None:
  if one is None or other is None:
    return other if one is None else one
  return one + other


def _error(moments: Moments) -> float:
  if moments.count < 2:
    return math.nan
  return math.sqrt(moments.covariance[0, 0] / moments.count)
