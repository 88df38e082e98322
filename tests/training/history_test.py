"""Training clips see the scenes before theirs, and nothing else of a story."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import learning
import numpy as np
import pytest

from phenaki_jax import rng, sharding
from phenaki_jax.diffusion.config import DiffusionConfig
from phenaki_jax.masked_transformer.config import GeneratorConfig
from phenaki_jax.nn.config import PortsConfig
from phenaki_jax.sampling.config import SamplingSettings
from phenaki_jax.sampling.diffusion_sampler import (
  DiffusionModels,
  DiffusionSampler,
)
from phenaki_jax.sampling.history import History
from phenaki_jax.text.config import TextConfig
from phenaki_jax.text.vocab import SentencePieceVocabulary
from phenaki_jax.tokenizer.config import TokenizerConfig
from phenaki_jax.training import history
from phenaki_jax.training.diffusion_task import DiffusionTask
from phenaki_jax.training.generator_config import GeneratorTaskConfig
from phenaki_jax.training.generator_task import GeneratorTask
from phenaki_jax.training.rows import Layout
from phenaki_jax.training.tokenizer_task import TokenizerTask

CLIPS, SLOTS = 4, 3
BITS = np.random.default_rng(0)
COUNTS = np.array([0, 1, 2, 3], np.int32)
CLIP_ARRAYS = {
  'pixels': BITS.integers(0, 256, (CLIPS, 3, 8, 8, 3)).astype(np.uint8),
  'text': BITS.integers(2, 32, (CLIPS, 4)).astype(np.int32),
  'num_frames': np.full(CLIPS, 3, np.int32),
  'context_frames': np.zeros(CLIPS, np.int32),
  'history_pixels': BITS.integers(0, 256, (CLIPS, SLOTS, 8, 8, 3)).astype(
    np.uint8
  ),
  'history_text': BITS.integers(2, 32, (CLIPS, SLOTS, 4)).astype(np.int32),
  'history_count': COUNTS,
}


def _means(pixels):
  """Return one token for each frame: its first value, of 0 to 255."""
  return ((pixels[..., :1, :1, 0] + 1) * 127.5).round().astype(jnp.int32)


def test_slots_hold_tokens_and_captions_of_the_clips_own_story():
  arrays = jax.tree.map(jnp.asarray, CLIP_ARRAYS)
  clips = history.tokenized(arrays, _means, None)
  np.testing.assert_array_equal(
    clips['history'][..., 0], CLIP_ARRAYS['history_pixels'][..., 0, 0, 0]
  )
  found = history.entries(clips, rng.root(0), share=1.0, latent_frames=2)
  np.testing.assert_array_equal(found.captions, CLIP_ARRAYS['history_text'])
  seen = np.arange(SLOTS)[None] < COUNTS[:, None]
  np.testing.assert_array_equal(
    found.visible, np.repeat(seen[:, None], 2, axis=1)
  )
  many = {
    name: jnp.asarray(np.repeat(x, 100, axis=0)) for name, x in clips.items()
  }
  some = history.entries(many, rng.root(0), share=0.7, latent_frames=1)
  shown = np.asarray(some.visible[:, 0, 0])
  assert not shown[:100].any() and 0.6 < shown[100:].mean() < 0.8
  none = history.entries(clips, rng.root(0), share=0.0, latent_frames=1)
  assert not none.visible.any()
  # Pictures of a character are the same frames, without captions; which clips
  # see them is drawn apart.
  options = {'share': 0.7, 'latent_frames': 1, 'role': 'character'}
  pictures = history.entries(many, rng.root(0), **options)
  np.testing.assert_array_equal(pictures.values, some.values)
  assert pictures.captions is None
  seen = np.asarray(pictures.visible[:, 0, 0])
  assert not seen[:100].any() and 0.6 < seen[100:].mean() < 0.8
  assert (seen != shown).any()


def test_a_frozen_encoder_gives_vectors():
  clips = history.tokenized(
    jax.tree.map(jnp.asarray, CLIP_ARRAYS),
    _means,
    lambda ids: jnp.stack([ids, 2 * ids], -1),
  )
  found = history.entries(clips, rng.root(0), share=1.0, latent_frames=2)
  ids = CLIP_ARRAYS['history_text']
  np.testing.assert_array_equal(found.captions, np.stack([ids, 2 * ids], -1))
  np.testing.assert_array_equal(found.spoken, ids > 0)


@pytest.mark.parametrize('role', ['history', 'character'])
def test_the_loss_depends_on_earlier_scenes_alone(role):
  tokenizer = TokenizerConfig(
    patch=(4, 4),
    width=16,
    num_heads=2,
    mlp_dim=16,
    spatial_layers=0,
    temporal_layers=0,
  )
  ports = PortsConfig(
    memory=(role,),
    memory_every=1,
    memory_slots=SLOTS,
    story=role == 'history',
  )
  task = GeneratorTask(
    config=GeneratorConfig(
      codebook_size=tokenizer.codebook_size,
      grid=tokenizer.grid(3, (8, 8)),
      width=16,
      num_layers=1,
      num_heads=2,
      mlp_dim=16,
      ports=ports,
    ),
    text=TextConfig(
      vocab_size=32,
      width=16,
      num_layers=1,
      num_heads=2,
      head_dim=8,
      mlp_dim=16,
      max_length=4,
    ),
    tokenizer=tokenizer,
    tokenizer_params={},
    training=GeneratorTaskConfig(text_dropout=0.0, **{f'{role}_share': 1.0}),
    layout=Layout(num_clips=CLIPS, num_images=1, length=2),
  )
  bits = np.random.default_rng(1)

  def drawn(shapes):
    return jax.tree.map(
      lambda leaf: jnp.asarray(bits.normal(0, 0.4, leaf.shape), jnp.float32),
      sharding.unbox(shapes),
    )

  params = drawn(jax.eval_shape(task.init, rng.described()))
  frozen = drawn(jax.eval_shape(task.init_frozen, rng.described()))
  images = {
    'pixels': CLIP_ARRAYS['pixels'][:1, 0],
    'text': CLIP_ARRAYS['text'][:1],
  }

  @jax.jit
  def logits(clips):
    batch = {'clips': clips, 'images': jax.tree.map(jnp.asarray, images)}
    rows = task.rows(frozen, batch, rng.root(0))
    found = task.logits(params, rows, rng.root(0), deterministic=True)
    return found, rows.conditions.memory[role].visible

  first, visible = map(np.asarray, logits(CLIP_ARRAYS))
  assert not visible[CLIPS:].any(), 'images see none'
  for name, change in (('history_pixels', 255), ('history_text', 33)):
    for slot in range(SLOTS):
      other = CLIP_ARRAYS[name].copy()
      other[:, slot] = change - other[:, slot]
      found = np.asarray(logits({**CLIP_ARRAYS, name: other})[0])
      changed = (found != first).any((1, 2, 3, 4))
      # The captions are no pictures.
      is_read = (slot < COUNTS) & (
        (role, name) != ('character', 'history_text')
      )
      np.testing.assert_array_equal(changed, [*is_read, False])
  plain = dataclasses.replace(task, training=GeneratorTaskConfig())
  rows = jax.eval_shape(
    plain.rows, frozen, {'clips': CLIP_ARRAYS}, rng.described()
  )
  assert rows.conditions is None


# Four patches of one colour. A token depends on its own patch alone.
WORLD = learning.TOKENIZER
COLOURS = {
  'red': (255, 0, 0),
  'green': (0, 255, 0),
  'blue': (0, 0, 255),
  'white': (255, 255, 255),
}
SHAPES = ('circle', 'square')
STEPS, DIFFUSION_STEPS = 300, 500


def _stories(bits, count, named=0.5):
  """Draw stories of a circle and a square, one of which is back.

  The colours of a share of them are named by the captions of their scenes;
  those of the others are seen in the first frames, which are else black. The
  last prompt names the shape alone.

  Returns:
    First frames and captions of the earlier scenes, prompts, and last frames.
  """
  palette = np.array(list(COLOURS.values()), np.uint8)
  names = list(COLOURS)
  order = bits.permuted(np.tile(np.arange(2), (count, 1)), axis=1)
  colours = bits.integers(0, 4, (count, 2))
  is_named = bits.random((count, 2)) < named
  back = bits.integers(0, 2, count)
  flat = np.where(is_named[..., None], 0, palette[colours])
  captions = [
    tuple(
      f'a {names[colours[row, slot]]} {SHAPES[order[row, slot]]}'
      if is_named[row, slot]
      else f'a {SHAPES[order[row, slot]]}'
      for slot in range(2)
    )
    for row in range(count)
  ]
  rows = np.arange(count)
  prompts = [f'the {SHAPES[shape]}' for shape in order[rows, back]]
  last = palette[colours[rows, back]]

  def filled(values):
    shape = (*values.shape[:-1], 8, 8, 3)
    return np.broadcast_to(values[..., None, None, :], shape).astype(np.uint8)

  return filled(flat), captions, prompts, filled(last)


VOCABULARY = SentencePieceVocabulary.learn(
  [f'{a} {c} {s}' for a in ('a', 'the') for c in COLOURS for s in SHAPES], 40
)
TEXT = learning.TEXT
PORTS = PortsConfig(memory=('history',), memory_every=1, memory_slots=2)
TRAINING = GeneratorTaskConfig(
  prediction_share=0.0, text_dropout=0.0, history_share=0.9
)


def _draw(bits, named=0.5):
  def encoded(texts):
    return np.stack([VOCABULARY.encode_padded(one, 8) for one in texts])

  frames, captions, prompts, last = _stories(bits, 64, named)
  return {
    'pixels': last[:, None],
    'text': encoded(prompts),
    'num_frames': np.ones(64, np.int32),
    'context_frames': np.zeros(64, np.int32),
    'history_pixels': frames,
    'history_text': np.stack([encoded(two) for two in captions]),
    'history_count': np.full(64, 2, np.int32),
  }


def _check(sampler, read, named=0.5):
  """Check last frames with the history, that of other stories, and none.

  Args:
    sampler: of the trained model.
    read: returns what shows the colours of the patches in values.
    named: see `_stories`.
  """
  drawn = _stories(np.random.default_rng(1), 200, named)
  frames, captions, prompts, last = drawn
  wanted = read(sampler.encode(last[:, None]))
  assert len(np.unique(wanted)) == 4, 'each colour has a value of its own'

  def right(captions, frames=frames):
    """Return the share of the last frames whose patches are all right."""
    history = History(frames=frames, captions=tuple(captions))
    given = sampler.given(None, size=(8, 8), batch=200, history=history)
    made = sampler.completed(
      prompts,
      ids=given.ids,
      known=given.known,
      seeds=range(200),
      settings=SamplingSettings(steps=4, guidance=0.0),
      conditions=given.conditions,
    )
    return float((read(made) == wanted).all((1, 2, 3)).mean())

  found = {
    'history': right(captions),
    'of others': right(captions[::-1], frames[::-1]),
    'without': right(((),) * 200),
  }
  print(found)
  assert found['history'] > 0.8, found
  assert max(found['of others'], found['without']) < 0.4, found


def _task(kind, ports):
  """Return the task of a generator of the kind `GeneratorTask`."""
  return kind(
    config=GeneratorConfig(
      codebook_size=WORLD.codebook_size,
      code_levels=WORLD.code_levels,
      grid=WORLD.grid(1, (8, 8)),
      width=64,
      num_layers=2,
      num_heads=4,
      mlp_dim=128,
      ports=ports,
    ),
    text=TEXT,
    tokenizer=WORLD,
    tokenizer_params=sharding.unbox(
      jax.jit(TokenizerTask(config=WORLD).init)(rng.root(2))
    ),
    training=TRAINING,
  )


@pytest.mark.slow
def test_what_an_early_scene_alone_tells_holds_later():
  """A colour in an early frame or caption; without history it is chance."""
  sampler = learning.train(
    _task(GeneratorTask, PORTS),
    _draw,
    steps=STEPS,
    vocabulary=VOCABULARY,
    adam_learning_rate=1e-2,
  )
  _check(sampler, lambda ids: ids)


def _of_memory(params):
  """Return a tree that says which parameters attend to the history."""
  return jax.tree_util.tree_map_with_path(
    lambda path, _: bool({'memory', 'captions'} & {one.key for one in path}),
    params,
  )


class StoryTask(GeneratorTask):
  """Trains all but the attention to the history, which is zero at first."""

  def loss(self, params, *args, **options):
    """Compute the loss, which tells nothing of that attention."""
    params = jax.tree.map(
      lambda leaf, is_fixed: jax.lax.stop_gradient(leaf) if is_fixed else leaf,
      params,
      _of_memory(params),
    )
    return super().loss(params, *args, **options)


@pytest.mark.slow
def test_what_early_captions_tell_holds_by_the_story_encoder_alone():
  """Nothing else reads the captions, and nothing the frames."""
  ports = dataclasses.replace(PORTS, story=True)
  sampler = learning.train(
    _task(StoryTask, ports),
    functools.partial(_draw, named=1.0),
    steps=STEPS,
    vocabulary=VOCABULARY,
    adam_learning_rate=1e-2,
  )
  for block in sampler.generator_params['generator']['blocks'].values():
    for name in ('memory', 'captions'):
      assert not np.any(block[name]['out']['kernel'])
  _check(sampler, lambda ids: ids, named=1.0)


@pytest.mark.slow
def test_so_it_does_for_a_diffusion_model():
  """The same measures as above, of pixels that are denoised."""
  config = DiffusionConfig(
    patch=4, widths=(32,), head_dim=16, condition_width=64, ports=PORTS
  )
  task = DiffusionTask(
    config=config,
    text=TEXT,
    tokenizer=TokenizerConfig(tubelet=1, patch=(4, 4)),
    training=TRAINING,
  )
  sampler = DiffusionSampler(
    models=DiffusionModels(
      diffusion=config, text=TEXT, tokenizer=task.tokenizer, frames=1
    ),
    params=learning.fit(
      task,
      _draw,
      DIFFUSION_STEPS,
      optimizer='muon',
      learning_rate=5e-3,
      adam_learning_rate=1e-2,
    ),
    tokenizer_params=None,
    vocabulary=VOCABULARY,
  )

  def colours(pixels):
    """Return a number for the colour of each patch, from pixels of -1 to 1."""
    mean = pixels.reshape(-1, 1, 2, 4, 2, 4, 3).mean((3, 5))
    return (mean > 0) @ np.array([1, 2, 4])

  _check(sampler, colours)
