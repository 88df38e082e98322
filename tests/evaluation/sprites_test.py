"""A perfect model of the sprite world scores perfectly; faults are found."""

import numpy as np
import pytest

from phenaki_jax import lpc
from phenaki_jax.evaluation import changes, clips, stories
from phenaki_jax.evaluation.sprites import SpriteWorld
from phenaki_jax.lpc import degradation
from phenaki_jax.reader.config import ReaderConfig
from phenaki_jax.reader.reader import FactReading, Reader
from phenaki_jax.sampling.config import SamplingSettings

# What a prompt does not name, and a rendered story needs.
DEFAULTS = {
  'hair': None,
  'hair_style': None,
  'pants': None,
  'direction': 'down',
}
COUNTS = {'frames_per_scene': 8, 'context_frames': 5}


class Painter:
  """Render what prompts say; remember what each frame shows.

  Attributes:
    forgets: facts that a prompt with a new place overwrites.
    jumps: whether a later window starts at a corner.
  """

  clip_frames = 9

  def __init__(self, sheets, *, forgets=None, jumps=False):
    self._sheets = lpc.Sheets(sheets)
    self._forgets = forgets or {}
    self._jumps = jumps
    self.shown = {}

  def frames_of(self, num_latent):
    return 1 + (num_latent - 1) * 2

  def clips(self, prompts, *, size, seeds, settings, context=None):
    contexts = [None] * len(prompts) if context is None else context
    return np.stack(
      [
        self._clip(*each, size[0])
        for each in zip(prompts, contexts, strict=True)
      ]
    )

  def _clip(self, prompt, seen, side):
    named = lpc.parse(prompt)
    if seen is None:
      facts, x, y = lpc.Facts(**{**DEFAULTS, **named}), 32, 32
    else:
      facts, x, y = self.shown[seen[-1].tobytes()]
      if 'place' in named:
        facts = facts.replace(**self._forgets)
      facts = facts.replace(**named)
      if self._jumps:
        x, y = 0, (y + 48) % 64
    count = self.clip_frames - (0 if seen is None else len(seen))
    scene = lpc.Scene(facts=facts, prompt=prompt, frames=count)
    story = lpc.Story(scenes=(scene,), x=x, y=y)
    if facts.style == 'plain':
      frames = lpc.render_story(story, self._sheets, size=128)
    else:
      frames = lpc.render_image(story, self._sheets, size=128)[None]
      frames = np.repeat(frames, count, axis=0)
    if facts.action == 'walk':
      walked = np.multiply(lpc.renderer.STEPS[facts.direction], count)
      x, y = (int(np.clip(at, 0, 64)) for at in np.add((x, y), walked))
    new = degradation.resize(frames, side)
    for frame in new:
      self.shown[frame.tobytes()] = facts, x, y
    return new if seen is None else np.concatenate([seen, new])


class Memory(Reader):
  """Read what the painter, its parameters, remembers of the last frame."""

  def read(self, frames):
    facts = self.params.shown[frames[-1].tobytes()][0]
    return {
      fact: FactReading(value=value, confidence=1.0, is_sure=True)
      for fact, value in facts.as_dict().items()
    }


def _setup(painter):
  return clips.Setup(
    world=SpriteWorld(reader=Memory(config=ReaderConfig(), params=painter)),
    size=(64, 64),
    fps=8.0,
    settings=SamplingSettings(),
    batch_size=4,
  )


def test_perfect_model_has_perfect_scores(sprite_sheets):
  painter = Painter(sprite_sheets)
  setup = _setup(painter)
  report = clips.report_clips(painter, setup, prompts=6)
  assert report.facts.total.accuracy == 1
  # Nothing is hidden in a held-out combination, but the direction of a fall.
  assert report.facts['hair'].asked == report.facts['pants'].asked == 6
  told = stories.report_stories(painter, setup, stories=2, scenes=3, **COUNTS)
  assert told.facts.total.accuracy == 1
  assert set(told.consistency.values()) == {1}
  matrix = changes.report_changes(painter, setup, changes=2, **COUNTS)
  assert tuple(matrix.rows) == ('action', 'direction', 'place')
  assert matrix.facts == setup.world.fact_names
  for row in matrix.rows.values():
    assert row.changed.accuracy == row.all_kept.accuracy == 1
    assert row.clean.accuracy == 1
  only = clips.report_image_only(painter, setup, prompts=1)
  assert list(only.values) == [
    *('hair blue', 'hair pink', 'place snow'),
    *('style pencil drawing', 'style watercolor painting'),
  ]
  assert only.values.total.accuracy == only.others.accuracy == 1


def test_lost_hair_is_found_where_the_place_changes(sprite_sheets):
  painter = Painter(sprite_sheets, forgets={'outfit': 'teal'})
  setup = _setup(painter)
  rows = changes.report_changes(painter, setup, changes=2, **COUNTS).rows
  assert rows['place'].kept['outfit'].right < 2
  assert rows['place'].kept['kind'].right == 2
  assert rows['action'].kept['outfit'].right == 2


def test_jumps_are_found(sprite_sheets):
  painter = Painter(sprite_sheets, jumps=True)
  told = stories.report_stories(
    painter, _setup(painter), stories=1, scenes=3, **COUNTS
  )
  assert told.consistency['smoothness'] == 0
  assert told.consistency['persistence'] == 1


def test_prompts_ask_for_what_they_name():
  world = SpriteWorld(reader=Memory(config=ReaderConfig(), params=None))
  for seed in range(30):
    rng = np.random.default_rng(seed)
    drawn = world.draw(rng, 'heldout')
    assert lpc.parse(drawn.prompt) == {
      **({'direction': 'down'} if 'direction' not in drawn.facts else {}),
      **drawn.facts,
    }
    assert drawn.held_out
    for fact in world.changes:
      before, after = world.draw_change(rng, fact)
      differing = {f for f in before.facts if before.facts[f] != after.facts[f]}
      assert differing == {fact}
      assert lpc.parse(after.prompt)[fact] == after.facts[fact]
      assert ('place' in lpc.parse(after.prompt)) == (fact == 'place')
    for fact, value in world.image_only:
      only = world.draw_with(rng, fact, value)
      assert lpc.parse(only.prompt)[fact] == only.facts[fact] == value
  for seed in range(8):
    story = world.draw_story(np.random.default_rng(seed), 8)
    prompts = [asked.prompt for asked in story]
    for number, asked in enumerate(story, 1):
      assert world.expected(prompts[:number]) == asked.facts
    # A prompt that names a kind is about a new character.
    again = world.expected([*prompts, story[0].prompt])
    assert again == story[0].facts


def test_facts_of_a_character_that_is_back_are_not_in_its_prompt():
  world = SpriteWorld(reader=Memory(config=ReaderConfig(), params=None))
  asked = set()
  for seed in range(30):
    first, *_, last = world.draw_return(np.random.default_rng(seed))
    asked |= set(last.facts)
    assert not set(last.facts) & set(lpc.parse(last.prompt))
    named = lpc.parse(first.prompt)
    assert all(named[fact] == value for fact, value in last.facts.items())
    assert 'outfit' in last.facts
  assert asked == {'kind', 'hair', 'hair_style', 'outfit', 'pants'}


@pytest.mark.parametrize('fps', [8.0, 4.0])
def test_a_step_is_no_jump(fps):
  world = SpriteWorld(
    reader=Memory(config=ReaderConfig(), params=None), fps=fps
  )
  walk = {'action': 'walk', 'direction': 'left'}
  shoot = {'action': 'shoot', 'direction': 'up'}
  step = np.array([-lpc.renderer.SPEED / 128 * 8 / fps, 0.0])
  assert world.jump(step, walk, shoot) == pytest.approx(0)
  assert world.jump(step, shoot, walk) == pytest.approx(0)
  assert world.jump(np.zeros(2), walk, walk) == 0
  assert world.jump(step, shoot, shoot) == pytest.approx(-step[0])
  assert np.isnan(world.jump(np.full(2, np.nan), walk, walk))
