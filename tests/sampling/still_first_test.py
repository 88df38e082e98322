"""Clips that start from a still of their prompt, and need no text after it."""

import copy
import dataclasses

import numpy as np
import pytest

from phenaki_jax.errors import UserError
from phenaki_jax.sampling.conditions import with_images
from phenaki_jax.sampling.config import SamplingSettings
from phenaki_jax.sampling.still_first import StillFirst, stills
from phenaki_jax.stories.generate import ScoringMaker

OPTIONS = {
  'size': (16, 16),
  'seeds': (1, 2),
  'settings': SamplingSettings(steps=3, negative='a red circle'),
}
PROMPTS = ['a red circle', 'a blue square']


def test_a_clip_continues_the_still_of_its_prompt(tiny_sampler):
  maker = StillFirst(sampler=tiny_sampler)
  assert isinstance(maker, ScoringMaker)
  assert copy.copy(maker) == maker
  first = stills(tiny_sampler, PROMPTS, **OPTIONS)
  assert first.shape == (2, 1, 16, 16, 3)
  other = stills(tiny_sampler, [PROMPTS[0], 'it turns green'], **OPTIONS)
  np.testing.assert_array_equal(other[0], first[0])
  assert (other[1] != first[1]).any()
  settings = dataclasses.replace(OPTIONS['settings'], guidance=0.0, negative='')
  plain = {**OPTIONS, 'settings': settings, 'context': first}
  expected = tiny_sampler.clips(['', ''], **plain)
  np.testing.assert_array_equal(
    maker.clips(PROMPTS, **OPTIONS, context=None), expected
  )
  # What continues frames is not told by the prompt.
  options = {**OPTIONS, 'context': first}
  np.testing.assert_array_equal(
    maker.clips(['it turns green', ''], **options), expected
  )
  scored = maker.scored_clips(PROMPTS, **OPTIONS)
  np.testing.assert_array_equal(scored.frames, expected)


@pytest.mark.parametrize('frames', [9, 1])
def test_text_is_read_of_images_alone(tiny_sampler, frames):
  maker = StillFirst(sampler=tiny_sampler)
  ids = tiny_sampler.blank(2, frames, OPTIONS['size'])
  given = {'ids': ids, 'known': np.zeros(ids.shape, bool), 'seeds': (1, 2)}
  settings = OPTIONS['settings']
  made = maker.completed(PROMPTS, settings=settings, **given)
  prompts = PROMPTS
  if frames > 1:
    prompts = ['', '']
    settings = dataclasses.replace(settings, guidance=0.0, negative='')
  np.testing.assert_array_equal(
    made, tiny_sampler.completed(prompts, settings=settings, **given)
  )


def test_a_clip_is_guided_towards_its_content(ported_sampler):
  class Seeing(type(ported_sampler)):
    def completed(self, prompts, *, ids, settings, **options):
      seen.append((prompts, settings.guidance, settings.negative))
      return ids

  seen = []
  maker = StillFirst(sampler=Seeing(**vars(ported_sampler)))
  ids = ported_sampler.blank(1, 9, OPTIONS['size'])
  image, shared = ids[0, :1], {'batch': 1, 'latent_frames': 5}
  content = with_images(None, image, **shared, role='content')
  source = with_images(None, image, **shared, role='source')
  for conditions in (content, source, None):
    maker.completed(
      PROMPTS[:1], ids=ids, settings=OPTIONS['settings'], conditions=conditions
    )
  assert seen == [([''], guidance, '') for guidance in (3.0, 0.0, 0.0)]


def test_it_is_otherwise_the_sampler(ported_sampler):
  maker = StillFirst(sampler=ported_sampler)
  assert maker.vocabulary is ported_sampler.vocabulary
  assert maker.clip_frames == ported_sampler.clip_frames
  assert maker.frames_of(2) == ported_sampler.frames_of(2)
  frame = np.zeros((16, 16, 3), np.uint8)
  seeing = maker.with_source(frame)
  assert isinstance(seeing, StillFirst) and 'source' in seeing.images
  assert not hasattr(maker, 'nothing')


@pytest.mark.parametrize('role', ['source', 'character'])
def test_a_still_sees_the_images_of_the_sampler(ported_sampler, role):
  def still(value):
    images = np.full((1, 16, 16, 3), value, np.uint8)
    if role == 'source':
      sampler = ported_sampler.with_source(images[0])
    else:
      sampler = ported_sampler.with_character(images)
    return stills(sampler, PROMPTS, **OPTIONS)

  assert (still(0) != still(255)).any()


def test_learned_positions_have_no_stills(tiny_sampler):
  models = tiny_sampler.models
  learned = dataclasses.replace(models.generator, positions='learned')
  sampler = dataclasses.replace(
    tiny_sampler, models=dataclasses.replace(models, generator=learned)
  )
  with pytest.raises(UserError, match="a single image needs .* 'rotary'"):
    stills(sampler, PROMPTS, **OPTIONS)
