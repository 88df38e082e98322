"""Remarks on a story: requests that the film cannot satisfy."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class Remark:
  """One remark.

  Attributes:
    sentence: the remark, for people.
    scene: number of the scene, from 1; None for the whole story.
    unknown: words of the prompt that no training caption had, each with words
      of similar spelling that the captions had.
    unread: the end of the prompt that the model does not read.
  """

  sentence: str
  scene: int | None = None
  unknown: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)
  unread: str = ''

  def to_json(self) -> dict[str, Any]:
    """Return the attributes that are set, as JSON values."""
    return {k: v for k, v in dataclasses.asdict(self).items() if v}
