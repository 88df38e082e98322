"""Known pixels and the tokens that hold them stay, whatever is made."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from phenaki_jax.errors import UserError
from phenaki_jax.masked_transformer.structure import blurred
from phenaki_jax.sampling.config import SamplingSettings
from phenaki_jax.sampling.sampler import Sampler
from phenaki_jax.stories.edit import (
  Brush,
  Structure,
  content_of,
  known_tokens,
  same_patches,
)

SIZE = (16, 16)


def _frames(count, seed=0, size=SIZE):
  rng = np.random.default_rng(seed)
  return rng.integers(0, 256, (count, *size, 3)).astype(np.uint8)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spy(Sampler):
  """Records which tokens were known, their ids, and what came of them."""

  calls: list
  conditions: list
  rates: list

  def uncover(self, prompts, *, ids, known, **options):
    state = super().uncover(prompts, ids=ids, known=known, **options)
    self.calls.append((known, ids, np.asarray(state.ids).reshape(ids.shape)))
    self.conditions.append(options.get('conditions'))
    self.rates.append(options.get('fps'))
    return state


def _spy(sampler):
  fields = {
    field.name: getattr(sampler, field.name)
    for field in dataclasses.fields(sampler)
  }
  return Spy(**fields, calls=[], conditions=[], rates=[])


@pytest.fixture
def spy(tiny_sampler):
  return _spy(tiny_sampler)


@pytest.fixture
def seeing(ported_sampler):
  """Spy on a model with a canvas."""
  return _spy(ported_sampler)


def _drawing(sampler):
  """Return a brush whose program is that of the command's tests."""
  settings = SamplingSettings(steps=2, guidance=0.0)
  return _brush(sampler, fps=8.0, settings=settings)


def _brush(sampler, **options):
  options.setdefault('settings', SamplingSettings(steps=3, guidance=0.0))
  return Brush(sampler=sampler, prompt='a red', **options)


def _check_tokens(spy):
  for known, before, after in spy.calls:
    np.testing.assert_array_equal(before[known], after[known])
    assert not known.all()


def test_an_image_is_the_first_frame_of_its_film(spy):
  image, done = _frames(1), []
  film = _brush(spy, on_frames=done.append).continue_(image, 12)
  assert film.shape == (13, *SIZE, 3) and film.dtype == np.uint8
  np.testing.assert_array_equal(film[:1], image)
  assert (film[1:] != image).any((1, 2, 3)).all()
  _check_tokens(spy)
  first, second = (known for known, _, _ in spy.calls)
  assert first[0].all((1, 2)).tolist() == [True, False, False, False, False]
  # The second window sees five frames.
  assert second[0].all((1, 2)).tolist() == [True, True, True, False, False]
  assert sum(done) == 12
  again = _brush(spy).continue_(image, 12)
  np.testing.assert_array_equal(again, film)
  assert (_brush(spy, seed=1).continue_(image, 12) != film).any()


@pytest.mark.parametrize('count', [2, 6, 20])
def test_a_clip_is_continued_from_its_last_frames(spy, count):
  clip = _frames(count)
  film = _brush(spy).continue_(clip, 4)
  assert len(film) == count + 4
  np.testing.assert_array_equal(film[:count], clip)
  _check_tokens(spy)
  known = spy.calls[0][0][0]
  seen = {2: 1, 6: 5, 20: 5}[count]
  assert known.all((1, 2)).sum() == 1 + (seen - 1) // 2


def test_frames_are_made_between_given_ones(spy):
  given = _frames(3)
  film = _brush(spy).interpolate(given, 3)
  assert len(film) == 9
  np.testing.assert_array_equal(film[::4], given)
  _check_tokens(spy)
  assert len(spy.calls) == 2
  # Both ends are known: the first latent frame, and those of the second image.
  known = spy.calls[0][0][0].all((1, 2))
  assert known.tolist() == [True, False, False, True, True]


def test_what_stands_still_is_known_in_between(spy):
  given = _frames(2)
  given[1, :, :8] = given[0, :, :8]
  film = _brush(spy).interpolate(given, 1)
  np.testing.assert_array_equal(film[1, :, :8], given[0, :, :8])
  assert (film[1, :, 8:] != given[0, :, 8:]).any()
  _check_tokens(spy)


def test_only_the_box_is_made_anew(spy):
  clip = _frames(12)
  box = (5, 8, 16, 16)
  film = _brush(spy).fill(clip, box)
  inside = np.zeros(SIZE, bool)
  inside[8:16, 5:16] = True
  np.testing.assert_array_equal(film[:, ~inside], clip[:, ~inside])
  assert (film[:, inside] != clip[:, inside]).any((1, 2)).all()
  _check_tokens(spy)
  # The lower patches lie in the box in part or whole.
  known = spy.calls[0][0][0]
  assert known[:, 0].all() and not known[:, 1].any()


def test_new_pixels_surround_the_old_ones(spy):
  clip = _frames(9)
  film = _brush(spy).extend(clip, (8, 0, 0, 16))
  assert film.shape == (9, 32, 24, 3)
  np.testing.assert_array_equal(film[:, :16, 8:], clip)
  _check_tokens(spy)
  known = spy.calls[0][0][0]
  expected = np.zeros((4, 3), bool)
  expected[:2, 1:] = True
  assert (known == expected).all()


def _canvas(seeing, call=0):
  canvas = seeing.conditions[call].canvas
  return np.asarray(canvas.rgb)[0], np.asarray(canvas.known)[0]


def test_a_box_is_made_from_the_canvas_alone(seeing):
  """No token is exact, and nothing that was in the box matters."""
  clip, box = _frames(9), (5, 8, 16, 16)
  inside = np.zeros(SIZE, bool)
  inside[8:16, 5:16] = True
  film = _drawing(seeing).fill(clip, box)
  np.testing.assert_array_equal(film[:, ~inside], clip[:, ~inside])
  assert not seeing.calls[0][0].any()
  rgb, known = _canvas(seeing)
  assert (known == ~inside).all()
  np.testing.assert_array_equal(rgb[:, ~inside], clip[:, ~inside])
  other = clip.copy()
  other[:, inside] = 255 - other[:, inside]
  np.testing.assert_array_equal(_drawing(seeing).fill(other, box), film)
  other = clip.copy()
  other[:, ~inside] = 255 - other[:, ~inside]
  assert (_drawing(seeing).fill(other, box)[:, inside] != film[:, inside]).any()


def test_an_image_is_animated_from_its_tokens_and_the_canvas(seeing):
  image = _frames(1)
  film = _drawing(seeing).continue_(image, 8)
  np.testing.assert_array_equal(film[:1], image)
  known, _, after = seeing.calls[0]
  assert known[0].all((1, 2)).tolist() == [True, *[False] * 4]
  tokens = seeing.encode(np.concatenate([image] * 9)[None])[:, 0]
  np.testing.assert_array_equal(after[:, 0], tokens)
  rgb, shown = _canvas(seeing)
  assert shown[0].all() and not shown[1:].any()
  np.testing.assert_array_equal(rgb[0], image[0])
  assert seeing.rates == [8.0]


def test_frames_on_the_canvas_are_the_given_ones(seeing):
  """A clip of 9 frames has room for three of them, and what follows for two."""
  given = _frames(4)
  film = _drawing(seeing).interpolate(given, 3)
  assert len(film) == 13
  np.testing.assert_array_equal(film[::4], given)
  assert (film[2] != film[1]).any()
  assert len(seeing.calls) == 2
  for call, frames in enumerate(([0, 1, 2], [2, 3])):
    rgb, known = _canvas(seeing, call)
    places = [4 * i for i in range(len(frames))]
    assert known.any((1, 2)).nonzero()[0].tolist() == places
    np.testing.assert_array_equal(rgb[places], given[frames])
    tokens, before, after = seeing.calls[call]
    # Only the tokens of the first frame are exact.
    assert tokens[0].all((1, 2)).tolist() == [True, *[False] * 4]
    assert tokens.sum() == tokens[0, 0].sum()
    np.testing.assert_array_equal(before[:, 0], after[:, 0])


def _restyling(seeing, seed=2):
  """Return a brush with an image of the content."""
  image = _frames(1, seed=seed)[0]
  brush = _drawing(seeing)
  return dataclasses.replace(brush, content=content_of(seeing, image))


def test_a_clip_is_made_anew_from_its_depth_and_an_image(seeing):
  """Its own pixels have no effect inside the mask, and stay outside."""
  clip, level = _frames(12), 1
  depth = np.random.default_rng(5).random((12, *SIZE)).astype(np.float32)
  structure = Structure(depth=depth, level=level)
  inside = np.zeros(clip.shape[:3], bool)
  inside[:, 4:12, :8] = True
  brush = _restyling(seeing)
  film = brush.restyle(clip, structure, inside)
  np.testing.assert_array_equal(film[~inside], clip[~inside])
  assert (film[inside] != clip[inside]).any()
  first, second = seeing.conditions
  for told, start, seen in ((first, 0, 9), (second, 4, 8)):
    assert told.scalars['level'].tolist() == [level]
    wanted = blurred(
      jnp.asarray(depth[None, start : start + seen]), jnp.full(1, float(level))
    )
    np.testing.assert_allclose(told.canvas.depth[:, :seen], wanted, atol=1e-6)
    assert told.canvas.has_depth.all()
    assert not told.canvas.rgb[0][~np.asarray(told.canvas.known[0])].any()
    assert told.memory['content'].visible.all()
  # The second window sees the last frames of the first.
  assert (
    second.canvas.known[0, :5].all() and not seeing.calls[1][0][0, 3:].any()
  )
  # What stood inside has no effect; depth, level and image have one.
  other = np.where(inside[..., None], 255 - clip, clip)
  np.testing.assert_array_equal(brush.restyle(other, structure, inside), film)
  for changed in (
    brush.restyle(clip, dataclasses.replace(structure, level=3), inside),
    brush.restyle(
      clip, dataclasses.replace(structure, depth=1 - depth), inside
    ),
    _restyling(seeing, seed=7).restyle(clip, structure, inside),
  ):
    assert (changed[inside] != film[inside]).any()
    np.testing.assert_array_equal(changed[~inside], clip[~inside])


def test_a_model_that_reads_no_depth_and_no_image_says_so(tiny_sampler):
  structure = Structure(depth=np.zeros((3, *SIZE), np.float32))
  with pytest.raises(UserError, match='reads no depth; .*task.structure_share'):
    _brush(tiny_sampler).restyle(_frames(3), structure)
  with pytest.raises(UserError, match='reads no image of the content'):
    content_of(tiny_sampler, _frames(1)[0])


def test_tokens_are_known_if_all_their_pixels_are():
  rng = np.random.default_rng(0)
  for _ in range(20):
    known = rng.random((5, 4, 6)) < 0.9
    found = known_tokens(known, (2, 3), 2)
    for t, h, w in np.ndindex(3, 2, 2):
      frames = slice(0, 1) if t == 0 else slice(2 * t - 1, 2 * t + 1)
      block = known[frames, 2 * h : 2 * h + 2, 3 * w : 3 * w + 3]
      assert found[t, h, w] == block.all()


def test_patches_that_are_the_same():
  one, other = _frames(1)[0], _frames(1)[0]
  other[3, 3] ^= 1
  same = same_patches(one, other, (8, 8))
  assert not same[:8, :8].any() and same[8:].all() and same[:, 8:].all()


@pytest.mark.parametrize(
  ('act', 'words'),
  [
    (lambda b, f: b.fill(f, (0, 0, 17, 4)), 'not inside frames of 16x16'),
    (lambda b, f: b.fill(f, (4, 4, 4, 8)), 'left,top,right,bottom'),
    (lambda b, f: b.extend(f, (0, 0, 0, 0)), 'at least 0'),
    (lambda b, f: b.extend(f, (3, 0, 0, 0)), 'multiple'),
    (lambda b, f: b.interpolate(f[:1], 1), 'one frame'),
    (lambda b, f: b.interpolate(f, 7), 'room for 1 to 6'),
    (lambda b, f: b.continue_(f, 2000), 'at most 2000'),
  ],
)
def test_edits_that_do_not_fit_are_refused(tiny_sampler, act, words):
  with pytest.raises(UserError, match=words):
    act(_brush(tiny_sampler), _frames(3))
