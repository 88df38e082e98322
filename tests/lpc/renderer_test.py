import dataclasses
import hashlib
import pathlib
import random

import numpy as np
import pytest

from phenaki_jax import lpc
from phenaki_jax.lpc import ground

REAL = pathlib.Path(__file__).parents[3] / 'shared' / 'data' / 'lpc-sheets'
FACTS = lpc.Facts(
  kind='man',
  hair='red',
  hair_style='long',
  outfit='teal',
  pants='red',
  action='walk',
  direction='right',
  place='grass',
)


@pytest.fixture(scope='module')
def sheets(sprite_sheets):
  return lpc.Sheets(sprite_sheets)


def story(*acts, x=32, y=48):
  scenes = [
    lpc.Scene(
      facts=FACTS.replace(action=action, direction=direction),
      prompt='',
      frames=frames,
    )
    for action, direction, frames in acts
  ]
  return lpc.Story(scenes=tuple(scenes), x=x, y=y)


def character(sheets, x, y, frame, size=128, **facts):
  """Blend one character onto the ground, in floating point."""
  cell = np.asarray(sheets.cell(FACTS.replace(**facts), frame)).astype(float)
  image = ground.ground('grass', size).astype(float)
  alpha = cell[..., 3:] / 255
  part = image[y : y + 64, x : x + 64]
  part[:] = cell[..., :3] * alpha + part * (1 - alpha)
  return image


def test_characters_walk_to_the_edge_and_stay_there_for_the_next_scene(sheets):
  film = story(('walk', 'right', 6), ('cast', 'left', 2), ('walk', 'up', 3))
  frames = lpc.render_story(film, sheets, size=128)
  assert frames.shape == (11, 128, 128, 3) and frames.dtype == np.uint8
  for index, x in enumerate((32, 40, 48, 56, 64, 64)):
    expected = character(sheets, x, 48, index)
    np.testing.assert_allclose(frames[index], expected, atol=2)
  for index in (6, 7):
    expected = character(
      sheets, 64, 48, index - 6, action='cast', direction='left'
    )
    np.testing.assert_allclose(frames[index], expected, atol=2)
  last = character(sheets, 64, 32, 2, direction='up')
  np.testing.assert_allclose(frames[10], last, atol=2)


def test_an_image_is_the_last_frame_in_its_style(sheets):
  film = story(('slash', 'down', 4))

  def image(style):
    scene = film.scenes[0]
    facts = scene.facts.replace(style=style)
    scenes = (dataclasses.replace(scene, facts=facts),)
    drawn = dataclasses.replace(film, scenes=scenes)
    return lpc.render_image(drawn, sheets, size=128)

  plain = image('plain')
  last = lpc.render_story(film, sheets, size=128)[-1]
  np.testing.assert_array_equal(plain, last)
  pencil = image('pencil drawing')
  np.testing.assert_array_equal(pencil[..., 0], pencil[..., 1])
  np.testing.assert_array_equal(pencil[..., 0], pencil[..., 2])
  watercolor = image('watercolor painting')
  assert not (watercolor % 16).any()
  # The tufts of grass are washed out.
  assert watercolor[:24, :24].std((0, 1)).max() < 1 < plain[:24, :24].std()


@pytest.mark.slow
@pytest.mark.skipif(
  not REAL.is_dir(), reason=f'the sheets are not beside the checkout: {REAL}'
)
def test_a_seed_draws_the_same_pixels_of_real_sheets():
  real, digest = lpc.Sheets(REAL), hashlib.sha256()
  for name, sample in (
    ('webvid', lpc.sample_clip),
    ('stories', lpc.sample_story),
  ):
    rng = random.Random(f'3 {name}')
    for _ in range(10):
      film = sample(rng, size=128)
      digest.update(lpc.render_story(film, real, size=128).tobytes())
  assert digest.hexdigest() == (
    'e941fab135ce661f73a9b05ca04c8d1d81d2fdb6fce1d258b9cdfbfda1cfa3b8'
  )
