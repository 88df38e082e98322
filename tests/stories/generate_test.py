import dataclasses

import numpy as np
import pytest

from phenaki_jax.errors import UserError
from phenaki_jax.sampling import sampler as sampler_lib
from phenaki_jax.sampling.config import SamplingSettings
from phenaki_jax.stories.generate import generate, generate_batch
from phenaki_jax.stories.kept_scenes import KeptScenes
from phenaki_jax.stories.story import ModelDefaults, Scene, Story, resolve

SIZE = (16, 16)


def _defaults(maker):
  return ModelDefaults(
    size=SIZE,
    fps=8.0,
    context_frames=5,
    clip_frames=maker.clip_frames,
    tubelet=maker.frames_of(2) - maker.frames_of(1),
    settings=SamplingSettings(steps=2),
  )


class Counter:
  """A model whose frames are numbered, and that records its calls.

  A frame shows one grey value: the number of frames generated before it. A
  clip with a context begins with the context's values.
  """

  def __init__(self, clip_frames=9, tubelet=2):
    self.clip_frames = clip_frames
    self._tubelet = tubelet
    self._next = 0
    self.calls = []

  def frames_of(self, num_latent):
    return 1 + (num_latent - 1) * self._tubelet

  def clips(self, prompts, *, size, seeds, settings, context=None):
    seen = 0 if context is None else context.shape[1]
    values = None if context is None else context[0, :, 0, 0, 0].tolist()
    self.calls.append((list(prompts), list(seeds), values))
    new = self.clip_frames - seen
    grey = (np.arange(self._next, self._next + new) % 256).astype(np.uint8)
    self._next += new
    frames = np.broadcast_to(
      grey[None, :, None, None, None], (len(prompts), new, *size, 3)
    )
    if context is not None:
      frames = np.concatenate([context, frames], axis=1)
    return frames


def _story(maker, *scenes, **story):
  scenes = tuple(
    Scene(**{'prompt': f'scene {i}', **scene}) for i, scene in enumerate(scenes)
  )
  return resolve(Story(scenes=scenes, **story), _defaults(maker))


def _film(maker, story, **options):
  parts = list(generate(maker, story, **options))
  return [
    np.concatenate([part.frames for part in parts if part.scene == i])
    for i in range(len(story.scenes))
  ]


def _contexts(maker):
  return [context for _, _, context in maker.calls]


def test_first_window_is_one_clip_and_later_ones_see_the_last_frames():
  maker = Counter()
  film = _film(maker, _story(maker, {'frames': 17}))
  assert _contexts(maker) == [None, [4, 5, 6, 7, 8], [8, 9, 10, 11, 12]]
  assert film[0][:, 0, 0, 0].tolist() == list(range(17))


def test_context_frames_are_frames_of_the_story():
  maker = Counter()
  film = _film(maker, _story(maker, {'frames': 11}, {'frames': 3}))
  # The second window generated frames 9 to 12, of which two were kept.
  assert _contexts(maker)[2] == [6, 7, 8, 9, 10]
  assert film[1][:, 0, 0, 0].tolist() == [13, 14, 15]


def test_cut_sees_nothing_of_the_scenes_before():
  maker = Counter()
  scenes = [{'frames': 9}, {'frames': 11, 'cut': True}, {'frames': 1}]
  _film(maker, _story(maker, *scenes))
  assert _contexts(maker) == [
    None,
    None,
    [13, 14, 15, 16, 17],
    [15, 16, 17, 18, 19],
  ]


@pytest.mark.parametrize(
  ('frames', 'context'),
  [(1, [0]), (2, [1]), (3, [0, 1, 2]), (4, [1, 2, 3]), (5, [0, 1, 2, 3, 4])],
)
def test_short_first_scene_gives_the_longest_context_there_is(frames, context):
  maker = Counter()
  _film(maker, _story(maker, {'frames': frames}, {'frames': 4}))
  assert _contexts(maker)[1] == context


def test_context_grows_over_several_short_scenes():
  maker = Counter()
  _film(maker, _story(maker, *[{'frames': 2}] * 4))
  # Kept: 0 1 | 9 10 | 17 18, of which two, four and five can be used.
  assert _contexts(maker) == [None, [1], [1, 9, 10], [1, 9, 10, 17, 18]]


def test_other_tubelets_and_lengths():
  maker = Counter(clip_frames=13, tubelet=4)
  story = _story(maker, {'frames': 30}, {'frames': 6})
  film = _film(maker, story)
  assert [len(part) for part in film] == [30, 6]
  assert [c and len(c) for c in _contexts(maker)] == [None, 5, 5, 5, 5]


@pytest.mark.parametrize('context', [1, 3, 5, 7])
def test_possible_contexts_are_used(context):
  maker = Counter()
  _film(maker, _story(maker, {'frames': 12}, context_frames=context))
  assert {len(c) for c in _contexts(maker)[1:]} == {context}


def test_reroll_leaves_earlier_seeds_alone():
  calls = []
  for seed in (None, 5):
    maker = Counter()
    scene = {'frames': 13, **({} if seed is None else {'seed': seed})}
    _film(maker, _story(maker, {'frames': 13}, scene, {'frames': 13}, seed=3))
    calls.append([seeds for _, seeds, _ in maker.calls])
  before, after = calls
  changed = [i for i in range(len(before)) if before[i] != after[i]]
  assert changed == [2, 3, 4, 5]  # the windows of scene 2 of 3


def test_frames_are_yielded_before_the_rest_is_generated():
  maker = Counter()
  film = generate(maker, _story(maker, {'frames': 5000}))
  for count in range(1, 20):
    part = next(film)
    assert len(maker.calls) == count
    assert len(part.frames) <= maker.clip_frames


def test_memory_does_not_grow_with_the_story():
  import tracemalloc

  def peak(frames):
    maker = Counter()
    story = _story(maker, {'frames': frames}, size=(64, 64))
    tracemalloc.start()
    for part in generate(maker, story):
      del part
      maker.calls.clear()
    result = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return result

  assert peak(4000) < 1.1 * peak(40)


def test_real_model_same_seed_same_story_other_seed_another(tiny_sampler):
  scenes = [{'frames': 9}, {'frames': 6}]
  films = [
    _film(tiny_sampler, _story(tiny_sampler, *scenes, seed=seed))
    for seed in (1, 1, 2)
  ]
  for scene in range(2):
    np.testing.assert_array_equal(films[0][scene], films[1][scene])
    assert (films[0][scene] != films[2][scene]).any()


def test_real_model_reroll_of_scene_three_keeps_one_and_two(tiny_sampler):
  films = []
  for seed in (None, 99):
    third = {'frames': 5, **({} if seed is None else {'seed': seed})}
    story = _story(
      tiny_sampler, {'frames': 9}, {'frames': 5}, third, {'frames': 5}
    )
    films.append(_film(tiny_sampler, story))
  for scene in (0, 1):
    np.testing.assert_array_equal(films[0][scene], films[1][scene])
  for scene in (2, 3):
    assert (films[0][scene] != films[1][scene]).any()


def test_real_model_prompt_and_context_matter(tiny_sampler):
  first = {'frames': 9, 'prompt': 'a red circle', 'temperature': 0}
  second = [
    {'prompt': 'a blue square'},
    {'prompt': 'it turns green'},
    {'prompt': 'a blue square', 'cut': True},
  ]
  one, other, cut = (
    _film(
      tiny_sampler,
      _story(tiny_sampler, first, {'frames': 4, 'temperature': 0, **scene}),
    )
    for scene in second
  )
  np.testing.assert_array_equal(one[0], other[0])
  assert (one[1] != other[1]).any()
  assert (one[1] != cut[1]).any()


def test_real_model_compiles_once_for_all_scenes(tiny_sampler):
  functions = (
    sampler_lib.encode_pixels,
    sampler_lib.uncover_tokens,
    sampler_lib.decode_tokens,
  )
  _film(tiny_sampler, _story(tiny_sampler, {'frames': 10}))
  before = [function._cache_size() for function in functions]
  story = _story(
    tiny_sampler,
    {'frames': 17},
    {'frames': 3, 'guidance': 1.0},
    {'frames': 12, 'temperature': 0.5, 'prompt': 'a longer prompt than most'},
    {'frames': 10, 'cut': True, 'seed': 5},
  )
  _film(tiny_sampler, story)
  assert [function._cache_size() for function in functions] == before


def test_batch_equals_single_stories():
  class Seeded(Counter):
    """A model whose clips depend only on their seed, prompt and context."""

    def clips(self, prompts, *, size, seeds, settings, context=None):
      clips = []
      for i, (prompt, seed) in enumerate(zip(prompts, seeds, strict=True)):
        past = 0 if context is None else int(context[i].sum())
        rng = np.random.default_rng([seed, past, *prompt.encode()])
        shape = (self.clip_frames, *size, 3)
        clips.append(rng.integers(0, 256, shape).astype(np.uint8))
      clips = np.stack(clips)
      if context is not None:
        clips[:, : context.shape[1]] = context
      return clips

  maker = Seeded()
  stories = [
    _story(maker, {'frames': 11}, {'frames': 6, 'prompt': name}, seed=i)
    for i, name in enumerate('abc')
  ]
  together = list(generate_batch(maker, stories))
  for i, story in enumerate(stories):
    alone = list(generate(maker, story))
    assert len(alone) == len(together)
    for one, all_of_them in zip(alone, together, strict=True):
      np.testing.assert_array_equal(one.frames, all_of_them.frames[i])


def test_stories_of_other_lengths_are_refused_in_a_batch():
  maker = Counter()
  stories = [_story(maker, {'frames': n}) for n in (3, 4)]
  with pytest.raises(ValueError, match='one by one'):
    list(generate_batch(maker, stories))


class Broken(Exception):
  pass


def test_interrupted_story_equals_an_uninterrupted_one(tiny_sampler, tmp_path):
  story = _story(tiny_sampler, {'frames': 11}, {'frames': 6}, {'frames': 9})
  unbroken = _film(tiny_sampler, story)
  kept = KeptScenes(tmp_path)
  chunks = generate(tiny_sampler, story, kept=kept)
  with pytest.raises(Broken):
    for part in chunks:
      if part.scene == 2:
        raise Broken
  chunks.close()
  assert len(list(tmp_path.glob('*.json'))) == 2
  assert not list(tmp_path.glob('*.part'))
  maker = Counter()  # Its frames differ from those of the kept scenes.
  half = _film(
    maker, dataclasses.replace(story, scenes=story.scenes[:2]), kept=kept
  )
  assert not maker.calls
  resumed = _film(tiny_sampler, story, kept=kept)
  for i in range(3):
    np.testing.assert_array_equal(unbroken[i], resumed[i])
    if i < 2:
      np.testing.assert_array_equal(unbroken[i], half[i])


def test_kept_scene_is_used_only_if_everything_is_the_same(tmp_path):
  origin = {'model': 'a'}
  scenes = [{'frames': 3}, {'frames': 3}, {'frames': 3, 'cut': True}]

  def made(scenes, origin=origin, **story):
    maker = Counter()
    story = _story(maker, *scenes, **story)
    _film(maker, story, kept=KeptScenes(tmp_path), origin=origin)
    return [prompts[0] for prompts, _, _ in maker.calls]

  everything = ['scene 0', 'scene 1', 'scene 2']
  assert made(scenes) == everything
  assert made(scenes) == []
  assert made(scenes, fps=30) == []  # It changes no frame.
  # Later scenes saw the changed scene, up to the next cut.
  changed = [{'frames': 3, 'seed': 8}, *scenes[1:]]
  assert made(changed) == everything[:2]
  assert made([scenes[0], {'frames': 4}, scenes[2]]) == ['scene 1']
  assert made(scenes, seed=4) == everything
  assert made(scenes, size=(24, 16)) == everything
  assert made(scenes, context_frames=3) == everything
  assert made(scenes, origin={'model': 'b'}) == everything


def test_the_frame_rate_reaches_a_model_that_reads_it(tmp_path):
  class Timed(Counter):
    reads_fps = True

    def clips(self, prompts, *, fps, **options):
      rates.append(fps)
      return super().clips(prompts, **options)

  rates = []
  for fps in (4, 4, 8):
    maker = Timed()
    story = _story(maker, {'frames': 3}, fps=fps)
    _film(maker, story, kept=KeptScenes(tmp_path), origin={})
  # A scene that is kept is of one rate.
  assert rates == [4, 8]
  with pytest.raises(UserError, match='the same size, fps'):
    list(
      generate_batch(
        maker, [_story(maker, {'frames': 3}, fps=fps) for fps in (4, 8)]
      )
    )


def test_damaged_kept_scene_is_generated_again(tmp_path, caplog):
  maker = Counter()
  story = _story(maker, {'frames': 3}, {'frames': 3})
  first = _film(maker, story, kept=KeptScenes(tmp_path))
  path = sorted(tmp_path.glob('*.npy'))[0]
  content = bytearray(path.read_bytes())
  content[-1] ^= 1
  path.write_bytes(content)
  again = Counter()
  film = _film(again, story, kept=KeptScenes(tmp_path))
  assert len(again.calls) == 1
  assert 'damaged' in caplog.text
  assert len(film) == len(first)
