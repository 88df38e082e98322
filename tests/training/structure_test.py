"""A generator makes the content of an image in the shape of another clip."""

import dataclasses

import jax
import learning
import numpy as np
import pytest

from phenaki_jax import rng, sharding
from phenaki_jax.diffusion.config import DiffusionConfig
from phenaki_jax.masked_transformer.config import GeneratorConfig
from phenaki_jax.nn.conditions import ABSENT
from phenaki_jax.nn.config import PortsConfig
from phenaki_jax.sampling.conditions import of_pixels, with_depth, with_images
from phenaki_jax.sampling.config import SamplingSettings
from phenaki_jax.sampling.diffusion_sampler import (
  DiffusionModels,
  DiffusionSampler,
)
from phenaki_jax.text.config import TextConfig
from phenaki_jax.text.vocab import SentencePieceVocabulary
from phenaki_jax.tokenizer.config import TokenizerConfig
from phenaki_jax.training.diffusion_task import DiffusionTask
from phenaki_jax.training.generator_config import GeneratorTaskConfig
from phenaki_jax.training.generator_task import GeneratorTask
from phenaki_jax.training.tokenizer_task import TokenizerTask

WORLD = learning.TOKENIZER
COLOURS = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)
SIDE, FRAMES = 4, 2  # patches in a row; frames
STEPS = 900
DIFFUSION_STEPS = 260
LEVELS = (0, 3, 4)


def _shapes(bits, count):
  """Draw shapes of some of 3 by 3 patches that move, bool [B, T, h, w]."""
  found = np.zeros((count, FRAMES, SIDE, SIDE), bool)
  for clip in found:
    pattern = bits.random((3, 3)) < 0.6
    pattern[1, 1] = True
    row, column = bits.integers(0, SIDE - 2, 2)
    for time, frame in enumerate(clip):
      place = (column + time) % (SIDE - 2)
      frame[row : row + 3, place : place + 3] = pattern
  return found


def _clips(shapes, colours):
  """Draw clips of shapes, and their depth, uint8."""
  near = shapes.repeat(4, 2).repeat(4, 3)
  pixels = near[..., None] * COLOURS[colours][:, None, None, None]
  return pixels.astype(np.uint8), (255 * near).astype(np.uint8)


TEXT = TextConfig(
  vocab_size=32,
  width=16,
  num_layers=1,
  num_heads=2,
  head_dim=8,
  mlp_dim=32,
  max_length=2,
)
PORTS = PortsConfig(
  canvas=True,
  patch=(1, 4, 4),
  memory=('content',),
  memory_every=1,
  scalars=('level',),
)


def _task():
  side = 4 * SIDE
  return GeneratorTask(
    config=GeneratorConfig(
      codebook_size=WORLD.codebook_size,
      code_levels=WORLD.code_levels,
      grid=WORLD.grid(FRAMES, (side, side)),
      width=64,
      num_layers=2,
      num_heads=4,
      mlp_dim=128,
      attention='factorized',
      text_width=0,
      ports=PORTS,
    ),
    text=TEXT,
    tokenizer=WORLD,
    tokenizer_params=sharding.unbox(
      jax.jit(TokenizerTask(config=WORLD).init)(rng.root(2))
    ),
    training=GeneratorTaskConfig(
      prediction_share=0.0,
      structure_share=0.9,
      structure_levels=4,
      content_share=0.9,
    ),
  )


def _draw(bits):
  pixels, depth = _clips(_shapes(bits, 32), bits.integers(0, 3, 32))
  return {
    'pixels': pixels,
    'depth': depth,
    'text': np.tile(np.array([1, 0], np.int32), (32, 1)),
    'num_frames': np.full(32, FRAMES, np.int32),
    'context_frames': np.zeros(32, np.int32),
  }


def _reader_of_tokens(sampler):
  """Return what reads where shapes are, and their colours, in tokens."""
  tokens = sampler.encode(
    _clips(np.ones((3, 1, SIDE, SIDE), bool), np.arange(3))[0]
  )
  tokens = tokens[:, 0, 0, 0]  # of the colours
  assert len(set(tokens)) == 3
  return lambda ids: [ids == token for token in tokens]


def _read_pixels(values):
  """Return where each colour is, in pixels from -1 to 1."""
  shape = (*values.shape[:2], SIDE, 4, SIDE, 4, 3)
  mean = values.reshape(shape).mean((3, 5))
  near = mean.max(-1) > 0
  return [near & (mean.argmax(-1) == colour) for colour in range(3)]


def _measured(sampler, read):
  """Return IoU and colours by level, and both of the ablations."""
  bits, count = np.random.default_rng(1), 40
  shapes, colours = _shapes(bits, count), bits.integers(0, 3, count)
  pixels, depth = _clips(shapes, colours)
  # Images of another shape, in another place and another colour.
  wanted = (colours + bits.integers(1, 3, count)) % 3
  images = _clips(_shapes(bits, count), wanted)[0][:, :1]
  content = sampler.image(images[:, 0])

  def made(level, *, has_image=True, has_depth=True):
    """Return the IoU with the shapes, and the share of patches as wanted."""
    empty = np.zeros(pixels.shape[:-1], bool)
    conditions = of_pixels(sampler.models.ports, pixels, empty)
    conditions = with_depth(conditions, depth / np.float32(255), level)
    each = [
      with_images(
        None, one[None], batch=1, latent_frames=FRAMES, role='content'
      )
      for one in content
    ]
    memory = jax.tree.map(lambda *x: np.concatenate(x), *each).memory
    # What is absent is not left out, so that one program is compiled.
    image, canvas = memory['content'], conditions.canvas
    image = image.replace(visible=image.visible & has_image)
    canvas = canvas.replace(
      depth=canvas.depth * has_depth, has_depth=canvas.has_depth & has_depth
    )
    told = conditions.scalars['level']
    conditions = dataclasses.replace(
      conditions,
      memory={'content': image},
      canvas=canvas,
      # As in training, a clip without depth has no level.
      scalars={'level': told if has_depth else np.full_like(told, ABSENT)},
    )
    ids = sampler.blank(count, FRAMES, (4 * SIDE, 4 * SIDE))
    values = sampler.completed(
      ['a clip'] * count,
      ids=ids,
      known=np.zeros(ids.shape[:4], bool),
      seeds=range(count),
      settings=SamplingSettings(steps=8, order='random', guidance=0.0),
      conditions=conditions,
    )
    found_colours = np.stack(read(values))
    near = found_colours.any(0)
    union = (near | shapes).sum((1, 2, 3))
    found = (near & shapes).sum((1, 2, 3)) / union
    right = found_colours[wanted, np.arange(count)]
    return found.mean(), right.sum() / max(near.sum(), 1)

  by_level = [made(level) for level in LEVELS]
  return {
    'overlap': [round(float(one), 3) for one, _ in by_level],
    'colour': [round(float(other), 3) for _, other in by_level],
    'colour_without_image': float(made(0, has_image=False)[1]),
    'overlap_without_depth': float(made(0, has_depth=False)[0]),
  }


@pytest.mark.slow
def test_shapes_follow_the_depth_and_colours_the_image():
  """Less of the shape is kept at higher levels; without an image, no colour."""
  vocabulary = SentencePieceVocabulary.learn(['a clip'], 32)
  sampler = learning.train(_task(), _draw, steps=STEPS, vocabulary=vocabulary)
  _check(_measured(sampler, _reader_of_tokens(sampler)))


@pytest.mark.slow
def test_so_do_those_of_a_diffusion_model():
  """The same measures as above, of pixels that are denoised."""
  vocabulary = SentencePieceVocabulary.learn(['a clip'], 32)
  config = DiffusionConfig(
    patch=4,
    widths=(32,),
    head_dim=16,
    condition_width=64,
    ports=PORTS,
  )
  generator = _task()
  task = DiffusionTask(
    config=config,
    text=TEXT,
    tokenizer=TokenizerConfig(tubelet=1, patch=(4, 4)),
    training=generator.training,
  )
  sampler = DiffusionSampler(
    models=DiffusionModels(
      diffusion=config, text=TEXT, tokenizer=task.tokenizer, frames=FRAMES
    ),
    params=learning.fit(
      task, _draw, DIFFUSION_STEPS, optimizer='adamw', learning_rate=5e-3
    ),
    tokenizer_params=None,
    vocabulary=vocabulary,
  )
  _check(_measured(sampler, _read_pixels))


def _check(found):
  print(found)
  assert found['overlap'][0] > 0.9 and min(found['colour']) > 0.9, found
  assert found['overlap'] == sorted(found['overlap'], reverse=True), found
  assert found['overlap'][-1] < 0.8, found
  assert found['colour_without_image'] < 0.6, found
  assert found['overlap_without_depth'] < 0.6, found
