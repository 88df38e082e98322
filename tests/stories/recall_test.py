"""A story fills the slots of its history by itself, the same when resumed."""

import dataclasses

import numpy as np
import pytest

from phenaki_jax.sampling.config import SamplingSettings
from phenaki_jax.stories.generate import generate, generate_batch
from phenaki_jax.stories.kept_scenes import KeptScenes
from phenaki_jax.stories.recall import Recall
from phenaki_jax.stories.seeds import reroll, scene_keys
from phenaki_jax.stories.story import ModelDefaults, Scene, Story, resolve

SIZE = (8, 8)
PROMPTS = (
  'a red circle moves left',
  'a blue square goes up',
  'it stands still',
  'it moves right',
  'the circle is back',
)


class Maker:
  """A model whose frames follow from seed, prompt and history."""

  clip_frames = 5

  def __init__(self, slots=2):
    self.history_slots = slots
    self.seen = []

  def frames_of(self, num_latent):
    return 2 * num_latent - 1

  def clips(
    self, prompts, *, size, seeds, settings, context=None, history=None
  ):
    rows = []
    for row, (prompt, seed) in enumerate(zip(prompts, seeds, strict=True)):
      shown = history.of(row) if history else None
      if shown:
        self.seen.append((prompt, shown.captions[0], shown.frames[0].copy()))
      content = (prompt, shown.frames.tobytes() if shown else b'')
      number = seed + sum(map(ord, prompt)) + sum(content[1])
      rng = np.random.default_rng(number)
      rows.append(rng.integers(0, 256, (5, *size, 3)).astype(np.uint8))
    return np.stack(rows)


def _story(prompts=PROMPTS, **fields):
  scenes = [Scene(prompt=prompt, frames=7) for prompt in prompts]
  defaults = ModelDefaults(
    size=SIZE,
    fps=8.0,
    context_frames=1,
    clip_frames=5,
    tubelet=2,
    settings=SamplingSettings(steps=1),
  )
  return resolve(Story(scenes=tuple(scenes), seed=1, **fields), defaults)


def _film(maker, story, **options):
  chunks = list(generate(maker, story, **options))
  return [
    np.concatenate([c.frames for c in chunks if c.scene == number])
    for number in range(len(story.scenes))
  ]


def test_slots_hold_first_frames_and_prompts_of_chosen_scenes():
  maker = Maker()
  film = _film(maker, _story())
  by_prompt = dict(zip(PROMPTS, film, strict=True))
  # Two windows of each scene see the same.
  assert [prompt for prompt, _, _ in maker.seen] == [
    prompt for prompt in PROMPTS for _ in range(2)
  ]
  for number, (prompt, captions, frames) in enumerate(maker.seen):
    earlier = PROMPTS[: number // 2]
    assert set(captions) <= set(earlier)
    assert len(captions) == min(2, len(earlier))
    for slot, caption in enumerate(captions):
      np.testing.assert_array_equal(frames[slot], by_prompt[caption][0])
    assert not frames[len(captions) :].any()
    if prompt == PROMPTS[-1]:
      assert PROMPTS[0] in captions


def test_a_resumed_story_has_the_same_slots(tmp_path):
  unbroken = Maker()
  film = _film(unbroken, _story())
  kept = KeptScenes(tmp_path)
  chunks = generate(Maker(), _story(), kept=kept)
  next(chunk for chunk in chunks if chunk.scene == 3)
  chunks.close()
  resumed = Maker()
  again = _film(resumed, _story(), kept=kept)
  assert [prompt for prompt, _, _ in resumed.seen] == [
    prompt for prompt in PROMPTS[3:] for _ in range(2)
  ]
  for one, other in zip(unbroken.seen[-4:], resumed.seen, strict=True):
    assert one[:2] == other[:2]
    np.testing.assert_array_equal(one[2], other[2])
  for one, other in zip(film, again, strict=True):
    np.testing.assert_array_equal(one, other)


def test_a_scene_is_made_again_if_a_scene_of_its_history_is_another(tmp_path):
  cuts = tuple(
    dataclasses.replace(scene, cut=True) for scene in _story().scenes
  )
  story = dataclasses.replace(_story(), scenes=cuts)
  kept = KeptScenes(tmp_path)
  _film(Maker(), story, kept=kept)
  other = reroll(story, [2])
  maker = Maker()
  _film(maker, other, kept=kept)
  made = {prompt for prompt, _, _ in maker.seen}
  # By cuts alone, no scene would depend on another.
  old, new = (scene_keys(one, {}, slots=2) for one in (story, other))
  changed = {
    prompt for prompt, a, b in zip(PROMPTS, old, new, strict=True) if a != b
  }
  assert made == changed
  assert made >= {'it stands still', 'it moves right'}
  assert PROMPTS[0] not in made
  plain = [scene_keys(one, {}) for one in (story, other)]
  same = [a == b for a, b in zip(*plain, strict=True)]
  assert same == [True, False, True, True, True]


def test_a_batch_remembers_each_story_on_its_own():
  others = tuple(reversed(PROMPTS))
  stories = [_story(), _story(others)]
  together = list(generate_batch(Maker(), stories))
  for row, story in enumerate(stories):
    alone = list(generate(Maker(), story))
    for one, other in zip(together, alone, strict=True):
      np.testing.assert_array_equal(one.frames[row], other.frames)


def test_memory_does_not_grow_with_the_story():
  # All are recalled at the end, most of them when they are forgotten.
  names = [f'name {number}' for number in range(60)]
  prompts = [*names, *reversed(names)]
  recall = Recall(Maker(slots=2), [_story(prompts)])
  for scene in range(len(prompts)):
    history = recall.of(scene)
    assert history.frames.shape[1] == 2
    recall.add(scene, np.full((1, *SIZE, 3), scene, np.uint8))
    assert recall.num_frames <= 32


@pytest.mark.parametrize('slots', [0, None])
def test_a_model_without_slots_is_given_no_history(slots):
  maker = Maker(slots)
  if slots is None:
    del maker.history_slots
  _film(maker, _story())
  assert not maker.seen
