"""The sprite world as a world of the evaluation, read by a network."""

import dataclasses
import random
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from phenaki_jax import lpc
from phenaki_jax.evaluation.figures import find_figures
from phenaki_jax.evaluation.world import Asked, Reading
from phenaki_jax.lpc import facts as facts_lib
from phenaki_jax.lpc import grammar, renderer
from phenaki_jax.lpc.random_story import STORY_ACTIONS
from phenaki_jax.reader.reader import Reader
from phenaki_jax.types import Split, VideoU8

_SIZE = 128  # side of the frames of the data sets, in pixels
_HELD_OUT_SHARE = 0.1  # as in the sprite world
_SURE_SHARE = 0.5  # of the facts of a clean clip


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpriteWorld:
  """A `World`.

  Attributes:
    reader: reads the facts of clips.
    fps: frames per second of the clips.
  """

  reader: Reader
  fps: float = renderer.FPS

  name = 'LPC'
  fact_names = facts_lib.FACT_NAMES
  persistent = (*facts_lib.FACT_NAMES[:5], 'place', 'style')
  changes = ('action', 'direction', 'place')
  image_only = tuple(
    (fact, value)
    for fact, values in facts_lib.IMAGE_ONLY.items()
    for value in values
  )

  def describe(self) -> dict[str, object]:
    """Return the digest of the reader."""
    return {'reader': self.reader.fingerprint}

  def read(self, frames: VideoU8) -> Reading:
    """Read a clip.

    A frame is clean if it shows one character, and the reader is sure of at
    least half of the facts of the clip.
    """
    facts = self.reader.read(frames)
    place = facts['place'].value or facts_lib.PLACES[0]
    figures = find_figures(frames, place)
    is_sure = np.mean([one.is_sure for one in facts.values()]) >= _SURE_SHARE
    return Reading(
      facts=facts,
      x=figures.x,
      y=figures.y,
      box=figures.box,
      clean=(figures.count == 1) & is_sure,
    )

  def expected(self, prompts: Sequence[str]) -> dict[str, str]:
    """Return the facts after the last of the prompts of one take.

    A prompt that names a kind describes a new character.
    """
    facts: dict[str, str] = {}
    for prompt in prompts:
      named = grammar.parse(prompt)
      facts = named if 'kind' in named else facts | named
    if facts.get('action') == 'fall':
      del facts['direction']
    return facts

  def draw(self, rng: np.random.Generator, split: Split) -> Asked:
    """Draw a prompt of a split."""
    source = _random(rng)
    facts = _clip_facts(source, split)
    return _asked(facts, grammar.prompt(facts, source))

  def draw_with(self, rng: np.random.Generator, fact: str, value: str) -> Asked:
    """Draw the facts of a training clip and replace one of them."""
    source = _random(rng)
    while True:
      facts = _clip_facts(source, 'train')
      if getattr(facts, fact) is not None:
        facts = facts.replace(**{fact: value})
        return _asked(facts, grammar.prompt(facts, source))

  def draw_story(
    self, rng: np.random.Generator, scenes: int
  ) -> tuple[Asked, ...]:
    """Draw a story of one character at one place, held out or not."""
    source = _random(rng)
    story = lpc.sample_story(
      source, size=_SIZE, held_out=_is_rare(source), scenes=scenes
    )
    return tuple(_asked(scene.facts, scene.prompt) for scene in story.scenes)

  def draw_change(
    self, rng: np.random.Generator, fact: str
  ) -> tuple[Asked, Asked]:
    """Draw two scenes that differ in one fact."""
    source = _random(rng)
    before = _clip_facts(source, 'all')
    while before.action not in STORY_ACTIONS:
      before = _clip_facts(source, 'all')
    values = STORY_ACTIONS if fact == 'action' else facts_lib.clip_values(fact)
    others = [value for value in values if value != getattr(before, fact)]
    after = before.replace(**{fact: source.choice(others)})
    return (
      _asked(before, grammar.prompt(before, source)),
      _asked(after, grammar.continuation(after, source, previous=before)),
    )

  def jump(
    self,
    moved: Float[np.ndarray, '2'],
    before: Mapping[str, str],
    after: Mapping[str, str],
  ) -> float:
    """Return the distance from rest, or from a step of either scene."""
    normal = [np.zeros(2)]
    for facts in (before, after):
      if facts['action'] == 'walk':
        step = np.array(renderer.STEPS[facts['direction']], float)
        normal.append(step / _SIZE * renderer.FPS / self.fps)
    return float(min(np.linalg.norm(step - moved) for step in normal))


def _random(rng: np.random.Generator) -> random.Random:
  """Return a generator of the sprite world."""
  return random.Random(int(rng.integers(2**63)))


def _is_rare(source: random.Random) -> bool:
  """Draw whether a combination is held out."""
  return source.random() < _HELD_OUT_SHARE


def _clip_facts(source: random.Random, split: Split) -> facts_lib.Facts:
  """Draw the facts of a clip; each of a held-out one is visible."""
  held_out = _is_rare(source) if split == 'all' else split == 'heldout'
  while True:
    story = lpc.sample_clip(source, size=_SIZE, held_out=held_out)
    facts = story.scenes[0].facts
    if split != 'heldout' or lpc.is_held_out(facts):
      return facts


def _asked(facts: facts_lib.Facts, prompt: str) -> Asked:
  """Return the facts that a prompt or an earlier one names."""
  named = {f: v for f, v in facts.as_dict().items() if v is not None}
  if facts.action == 'fall':
    del named['direction']
  return Asked(facts=named, prompt=prompt, held_out=lpc.is_held_out(facts))
