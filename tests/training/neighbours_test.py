"""One generator learns what other systems do; each is compared without it.

A generator of text alone learns a small world. The same is then retro-fitted
with a source frame and a canvas, with which it animates and edits, or with
pictures of a character.
"""

import functools

import jax
import learning
import numpy as np
import pytest
from boxes import (
  CLIPS,
  COLOURS,
  COLUMNS,
  EACH,
  FRAMES,
  IS_HELD_OUT,
  ROWS,
  SHAPES,
  SIZE,
  VOCABULARY,
  caption_of,
  draw,
  films_of,
  kinds_of,
)

from phenaki_jax import rng, sharding
from phenaki_jax.data.config import DataConfig
from phenaki_jax.data.story_sets.exchange import ExchangeWriter
from phenaki_jax.data.story_sets.story import Story
from phenaki_jax.masked_transformer.config import GeneratorConfig
from phenaki_jax.nn.conditions import Conditions, Entries
from phenaki_jax.nn.config import PortsConfig
from phenaki_jax.reader.characters import CharacterReader
from phenaki_jax.reader.config import ReaderConfig
from phenaki_jax.runs import story_set
from phenaki_jax.runs.model import Model
from phenaki_jax.runs.request import Request
from phenaki_jax.sampling.config import SamplingSettings
from phenaki_jax.sampling.sampler import Sampler
from phenaki_jax.stories.edit import Brush, outside
from phenaki_jax.stories.story import ModelDefaults
from phenaki_jax.training.generator_config import GeneratorTaskConfig
from phenaki_jax.training.generator_task import GeneratorTask
from phenaki_jax.training.metrics import finalise
from phenaki_jax.training.tokenizer_task import TokenizerTask

WORLD, TEXT = learning.TOKENIZER, learning.TEXT
STEPS, PORT_STEPS, PROMPT_STEPS, CHARACTER_STEPS = 300, 500, 80, 150
SCENES = 5


def _task(training, *, given=None, **generator):
  """Return the task of a generator of the world, from given parameters."""
  # Parameters of the tokenizer with which each sprite has a token of its own.
  boxed = jax.jit(TokenizerTask(config=WORLD).init)(rng.root(3))
  return GeneratorTask(
    config=GeneratorConfig(
      codebook_size=WORLD.codebook_size,
      code_levels=WORLD.code_levels,
      grid=WORLD.grid(FRAMES, SIZE),
      width=64,
      num_layers=2,
      num_heads=4,
      mlp_dim=128,
      attention='factorized',
      **generator,
    ),
    text=TEXT,
    tokenizer=WORLD,
    tokenizer_params=sharding.unbox(boxed),
    training=GeneratorTaskConfig(prediction_share=0.0, **training),
    given=given or {},
  )


@pytest.fixture(scope='module')
def plain():
  """Train a generator that reads text alone."""
  task = _task({'time_off_clips': 0.125})
  return learning.train(task, draw, steps=STEPS, vocabulary=VOCABULARY)


@pytest.fixture(scope='module')
def fitted(plain):
  """Add a source frame and a canvas to it, and train it further."""
  ports = PortsConfig(
    canvas=True, patch=(1, 4, 4), memory=('source',), memory_every=1
  )
  training = {
    'time_off_clips': 0.125,
    'canvas_animation_share': 0.15,
    'canvas_region_share': 0.45,
    'source_share': 0.5,
  }
  task = _task(training, given=plain.generator_params, ports=ports)
  return learning.train(task, draw, steps=PORT_STEPS, vocabulary=VOCABULARY)


def _sprites(sampler, ids):
  """Return the kinds in tokens: 0 is the background, -1 no token of either."""
  tokens = sampler.encode(films_of(EACH))[:, 0, 0]
  assert len(np.unique(tokens)) == 1 + len(EACH), 'each kind has its own token'
  table = np.full(WORLD.codebook_size, -1)
  table[tokens[:, 0]], table[tokens[:, 1]] = kinds_of(EACH), 0
  return table[ids]


def _sprites_of(sampler, clips):
  """Return the kinds in decoded clips: those that look most alike there."""
  tokens = sampler.encode(films_of(EACH))[:, 0, 0]
  tokens = np.array([tokens[0, 1], *tokens[:, 0]]).reshape(-1, 1, 1, 1)
  looks = sampler.decode(np.tile(tokens, (1, FRAMES, ROWS, COLUMNS)))
  away = np.abs(clips[:, None].astype(int) - looks[None])
  shape = (*away.shape[:3], ROWS, 4, COLUMNS, 4, 3)
  return away.reshape(shape).sum((4, 6, 7)).argmin(1)


def _coloured(sprites, clips):
  """Return which frames show sprites of the colours of clips, and no other."""
  colours = clips[:, 0].reshape(-1, 1, 1, 1)
  is_own = (sprites > 0) & ((sprites - 1) // len(SHAPES) == colours)
  is_sprite = sprites != 0
  return (is_own == is_sprite).all((2, 3)) & is_own.any((2, 3))


def _obeyed(sprites):
  """Return which frames have one sprite, where that before them leads it."""
  moved = sum(
    np.roll(np.where((sprites > 0) & (sprites % 2 == kind), sprites, 0), by, -1)
    for kind, by in ((1, 1), (0, -1))
  )
  is_one = (sprites != 0).sum((2, 3)) == 1
  is_next = (sprites[:, 1:] == moved[:, :-1]).all((2, 3))
  return is_next & is_one[:, 1:] & is_one[:, :-1]


def _made(
  sampler,
  prompts,
  films,
  *,
  sources=None,
  canvas=False,
  tokens=False,
  **settings,
):
  """Make clips of prompts; what is not given is absent, in one program."""
  batch = len(films)
  given = sampler.given(films[:, :1], size=SIZE, batch=batch)
  seen = given.conditions.canvas
  images = sampler.image((films if sources is None else sources)[:, 0])
  conditions = Conditions(
    canvas=seen.replace(known=seen.known & canvas),
    memory={
      'source': Entries(
        values=images.reshape(batch, 1, -1),
        slots=np.zeros((batch, 1), np.int32),
        visible=np.full((batch, FRAMES, 1), sources is not None),
      )
    },
  )
  options = {'steps': 18, 'order': 'random', 'guidance': 0.0, **settings}
  made = sampler.completed(
    prompts,
    ids=given.ids,
    known=given.known & tokens,
    seeds=range(batch),
    settings=SamplingSettings(**options),
    conditions=conditions,
  )
  return _sprites(sampler, made)


HELD_OUT = np.tile(CLIPS[IS_HELD_OUT], (3, 1))


@pytest.mark.slow
def test_a_source_gives_its_colour_to_all_frames(fitted):
  """To a model that was trained without it; of shuffled sources by chance."""
  films = films_of(HELD_OUT)
  prompts = [caption_of(clip, has_colour=False) for clip in HELD_OUT]

  def right(sources):
    """Return the share of frames in the colour of the clip's own source."""
    made = _made(fitted, prompts, films, sources=sources)
    return _coloured(made, HELD_OUT)

  order = np.random.default_rng(1).permutation(len(films))
  own = right(films)
  found = {
    'source': own.mean(),
    'in all frames': own.all(1).mean(),
    'shuffled': right(films[order]).mean(),
    'none': right(None).mean(),
  }
  print(found)
  assert found['source'] > 0.8, found
  assert max(found['shuffled'], found['none']) < 0.4, found


class Films(Sampler):
  """Decodes tokens of sprites as these, and all others as grey.

  The tokenizer is not trained; what it decodes is no context of a next scene.
  """

  def decode(self, ids):
    """Decode ids [B, t, h, w] to uint8 frames [B, T, H, W, 3]."""
    looks = np.full((len(EACH) + 2, 4, 4, 3), 128, np.uint8)
    looks[0], looks[1:-1] = 0, films_of(EACH)[:, 0, :4, :4]
    patches = looks[_sprites(self, ids)].swapaxes(3, 4)
    return patches.reshape(*ids.shape[:2], *SIZE, 3)


class Colours(CharacterReader):
  """Finds the colours of the pixels of frames, in place of characters."""

  def read(self, frames):
    """Return whether each colour is in a frame."""
    colours = np.array(list(COLOURS.values()))
    pixels = frames.reshape(len(frames), -1, 1, 3)
    return (pixels == colours).all(-1).any(1)


def _write(path, clips, colours):
  """Write stories of sprites, whose pictures have other colours.

  The sprite of a story is labelled by its own colour, which no caption names.
  """
  shown = np.concatenate([colours[:, None], clips[:, 1:]], 1)
  with ExchangeWriter(path, name='sprites', characters=tuple(COLOURS)) as file:
    for clip, film in zip(clips, films_of(shown), strict=True):
      story = Story(
        id='-'.join(map(str, clip)),
        split='test',
        captions=(caption_of(clip, has_colour=False),) * SCENES,
        labels=(tuple(int(one == clip[0]) for one in range(4)),) * SCENES,
        load=tuple,
      )
      file.write(story, (film[:1],) * SCENES)
  return str(path)


@pytest.mark.slow
def test_a_story_keeps_the_colour_of_the_picture_that_is_given(
  fitted, tmp_path, monkeypatch
):
  """In the scenes that follow; of pictures of other stories by chance."""
  reader = Colours(config=ReaderConfig(), names=tuple(COLOURS), params=None)
  monkeypatch.setattr(story_set, 'open_reader', lambda path: reader)
  model = Model(
    name='sprites',
    fingerprint='',
    sampler=Films(**vars(fitted)),
    defaults=ModelDefaults(
      size=SIZE,
      fps=8.0,
      context_frames=1,
      clip_frames=FRAMES,
      tubelet=1,
      settings=SamplingSettings(steps=18, order='random', guidance=0.0),
    ),
    data=DataConfig(size=SIZE),
    subset='',
  )
  clips = CLIPS[IS_HELD_OUT]

  def right(name, colours):
    """Return the share of the frames with the story's own colour alone."""
    path = _write(tmp_path / name, clips, colours)
    request = Request(story_set=path, stories=len(clips), reader='colours')
    report = story_set.report_story_set(model, request)
    assert report.measures[0].protocol['task'] == 'continuation'
    found = {one.name: one.value for one in report.measures}
    return found['frame_accuracy']

  others = np.random.default_rng(1).permutation(clips[:, 0])
  found = {
    'given': right('own.h5', clips[:, 0]),
    'of others': right('others.h5', others),
  }
  print(found)
  assert found['given'] > 0.8 and found['of others'] < 0.4, found


def _pictures(bits, clips):
  """Draw two first frames in the colour of each clip, uint8 [B, 2, H, W, 3].

  Their sprites have any shape and place.
  """
  of_colours = CLIPS.reshape(len(COLOURS), -1, 4)
  chosen = bits.integers(0, of_colours.shape[1], (len(clips), 2))
  found = films_of(of_colours[clips[:, :1], chosen].reshape(-1, 4))[:, 0]
  return found.reshape(len(clips), 2, *SIZE, 3)


def _draw_scenes(bits):
  """Draw clips of films whose earlier scenes have the same colour."""
  clips = CLIPS[~IS_HELD_OUT]
  clips = clips[bits.integers(0, len(clips), 32)]
  each = [draw(bits, clip[None], count=1) for clip in clips]
  return {
    **jax.tree.map(lambda *x: np.concatenate(x), *each),
    'history_pixels': _pictures(bits, clips),
    'history_text': np.ones((32, 2, 1), np.int32),
    'history_count': bits.integers(1, 3, 32).astype(np.int32),
  }


@pytest.mark.slow
def test_pictures_give_a_character_to_new_clips(plain):
  """Of any shape and place; of shuffled pictures by chance."""
  ports = PortsConfig(memory=('character',), memory_every=1, memory_slots=2)
  task = _task(
    {'character_share': 0.9}, given=plain.generator_params, ports=ports
  )
  sampler = learning.train(
    task, _draw_scenes, steps=CHARACTER_STEPS, vocabulary=VOCABULARY
  )
  bits, batch = np.random.default_rng(1), len(HELD_OUT)
  pictures = sampler.image(_pictures(bits, HELD_OUT).reshape(-1, *SIZE, 3))
  pictures = pictures.reshape(batch, 2, -1)
  ids = sampler.blank(batch, FRAMES, SIZE)

  def right(pictures, count=2):
    """Return the share of sprites in the colour of the clip's own pictures."""
    entries = Entries(
      values=pictures,
      slots=np.tile(np.arange(2, dtype=np.int32), (batch, 1)),
      visible=np.tile(np.arange(2) < count, (batch, FRAMES, 1)),
    )
    made = sampler.completed(
      [caption_of(clip, has_colour=False) for clip in HELD_OUT],
      ids=ids,
      known=np.zeros(ids.shape, bool),
      seeds=range(batch),
      settings=SamplingSettings(steps=18, order='random', guidance=0.0),
      conditions=Conditions(memory={'character': entries}),
    )
    sprites = _sprites(sampler, made)
    colours = HELD_OUT[:, 0].reshape(-1, 1, 1, 1)
    own = (sprites > 0) & ((sprites - 1) // len(SHAPES) == colours)
    return own.sum() / (sprites != 0).sum()

  found = {
    'two': right(pictures),
    'one': right(pictures, 1),
    'shuffled': right(pictures[bits.permutation(batch)]),
    'none': right(pictures, 0),
  }
  print(found)
  assert min(found['two'], found['one']) > 0.8, found
  assert max(found['shuffled'], found['none']) < 0.4, found


@pytest.mark.slow
def test_an_image_moves_as_its_shape_does(fitted):
  """Of clips that training did not have; the prompt tells nothing."""
  films = films_of(HELD_OUT)
  wanted = _sprites(fitted, fitted.encode(films))

  def right(**given):
    prompts = ['a one'] * len(films)
    made = _made(fitted, prompts, films, temperature=0.0, **given)
    return float((made == wanted).all((1, 2, 3)).mean())

  found = {
    'canvas and tokens': right(canvas=True, tokens=True),
    'canvas alone': right(canvas=True),
    'neither': right(),
  }
  print(found)
  assert min(list(found.values())[:2]) > 0.8 and found['neither'] < 0.1, found


@pytest.mark.slow
def test_a_box_is_made_anew_as_prompted(fitted):
  """A sprite that is nowhere else seen; all other pixels stay, bit for bit."""
  bits, count = np.random.default_rng(2), 32
  left, row = bits.integers(0, COLUMNS - 2, count), bits.integers(0, 2, count)
  shape = bits.integers(0, 2, (2, count))
  colour = bits.integers(0, 4, count)
  colour = np.stack([colour, (colour + bits.integers(1, 4, count)) % 4])
  # The whole way of a sprite is inside a box of three patches.
  old, new = (
    np.stack([colour[i], shape[i], row, left + 2 * shape[i]], -1)
    for i in range(2)
  )
  films = films_of(old)
  left, row = left.tolist(), row.tolist()

  def made(prompts):
    """Return the kinds inside the boxes, [B, T, 1, 3]."""
    found = []
    for i, film in enumerate(films):
      box = (4 * left[i], 4 * row[i], 4 * left[i] + 12, 4 * row[i] + 4)
      settings = SamplingSettings(steps=18, order='random', guidance=0.0)
      brush = Brush(
        sampler=fitted, prompt=prompts[i], settings=settings, seed=i
      )
      filled = brush.fill(film, box)
      kept = outside(box, film.shape[:3])
      np.testing.assert_array_equal(filled[kept], film[kept])
      inside = _sprites_of(fitted, filled[None])[0]
      found.append(inside[:, row[i] : row[i] + 1, left[i] : left[i] + 3])
    return np.stack(found)

  def right(sprites):
    """Return the share of the sprites that have the colours of the prompts."""
    colours = new[:, 0].reshape(-1, 1, 1, 1)
    own = (sprites > 0) & ((sprites - 1) // len(SHAPES) == colours)
    return own.sum() / (sprites != 0).sum()

  prompts = [caption_of(clip) for clip in new]
  own = made(prompts)
  kinds = kinds_of(new).reshape(-1, 1, 1, 1)
  found = {
    'colour': right(own),
    'shape, too': (own == kinds).sum() / (own != 0).sum(),
    'frames with a sprite': (own != 0).any((2, 3)).mean(),
    'shuffled': right(made([prompts[i] for i in bits.permutation(count)])),
  }
  print(found)
  assert found['colour'] > 0.8 and found['shuffled'] < 0.4, found
  assert found['shape, too'] > 0.8, found
  assert found['frames with a sprite'] > 0.5, found


@pytest.mark.slow
def test_frames_agree_more_with_more_temporal_guidance(plain):
  """Of clips that are made from nothing: more pairs of frames obey the law."""
  ids = plain.blank(288, FRAMES, SIZE)

  def coherent(scale):
    made = plain.completed(
      [''] * len(ids),
      ids=ids,
      known=np.zeros(ids.shape, bool),
      seeds=range(len(ids)),
      settings=SamplingSettings(
        steps=18, order='random', guidance=0.0, time_guidance=scale
      ),
    )
    return _obeyed(_sprites(plain, made)).mean()

  found = [coherent(scale) for scale in (0.0, 1.0, 2.0)]
  print(found)
  assert found[0] < 0.05 and found[0] < found[1] < found[2], found


@pytest.mark.slow
def test_a_prompt_is_tuned_for_stories_of_one_colour(plain):
  """Its colour, which no caption tells; others become less likely."""
  training = {'trained': 'prompt', 'text_dropout': 0.0}
  task = _task(training, given=plain.generator_params, prompt=4)
  is_blue = CLIPS[:, 0] == list(COLOURS).index('blue')
  stories = functools.partial(draw, named=(0.0, 0.7))
  tuned = learning.fit(
    task,
    functools.partial(stories, clips=CLIPS[is_blue & ~IS_HELD_OUT]),
    PROMPT_STEPS,
    optimizer='adamw',
    learning_rate=0.1,
  )

  def loss(params, clips):
    """Return that of stories, with the prompt if there is one."""
    own = task if 'prompt' in params else _task(training)
    batch = {'clips': stories(np.random.default_rng(3), clips, count=256)}
    metrics = jax.jit(own.evaluate)(params, own.frozen, batch, rng.root(5))
    return round(finalise(metrics)['loss'], 3)

  held_out = CLIPS[is_blue & IS_HELD_OUT]
  others = CLIPS[~is_blue & IS_HELD_OUT]
  size = {
    name: sum(leaf.size for leaf in jax.tree.leaves(tree))
    for name, tree in tuned.items()
  }
  found = {
    'without': loss(plain.generator_params, held_out),
    'tuned': loss(tuned, held_out),
    'others without': loss(plain.generator_params, others),
    'others tuned': loss(tuned, others),
    'share': size['prompt'] / sum(size.values()),
  }
  print(found)
  assert found['tuned'] < 0.8 * found['without'], found
  assert found['others tuned'] > found['others without'], found
  assert found['share'] < 0.02, found
