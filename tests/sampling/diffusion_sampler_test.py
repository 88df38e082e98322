"""Clips of a diffusion model: reproducible, guided, true to their context."""

import dataclasses

import jax
import numpy as np
import pytest

from phenaki_jax import sharding
from phenaki_jax.diffusion.config import DiffusionConfig
from phenaki_jax.diffusion.denoiser import Denoiser
from phenaki_jax.errors import UserError
from phenaki_jax.nn.config import PortsConfig
from phenaki_jax.sampling.config import SamplingSettings
from phenaki_jax.sampling.diffusion_sampler import (
  DiffusionModels,
  DiffusionSampler,
  denoise,
)
from phenaki_jax.sampling.history import History
from phenaki_jax.sampling.still_first import StillFirst
from phenaki_jax.stories.edit import Brush, Structure
from phenaki_jax.stories.generate import ClipMaker
from phenaki_jax.tokenizer.config import TokenizerConfig

SIZE = (8, 8)
FAST = SamplingSettings(steps=2, guidance=2.0)
PROMPTS = ['a red circle', 'a blue square']


def _sampler(tiny_sampler, tokenizer, frames, *, fps=0.0, **options):
  config = DiffusionConfig(
    widths=(8,), head_dim=8, condition_width=8, **options
  )
  text = tiny_sampler.models.text
  denoiser = Denoiser(config=config, text=text)
  shapes = sharding.unbox(jax.eval_shape(denoiser.init, jax.random.key(0)))
  bits = np.random.default_rng(0)
  return DiffusionSampler(
    models=DiffusionModels(
      diffusion=config, text=text, tokenizer=tokenizer, frames=frames
    ),
    params=jax.tree.map(
      lambda leaf: bits.normal(0, 0.3, leaf.shape).astype(np.float32), shapes
    ),
    tokenizer_params=tiny_sampler.tokenizer_params,
    vocabulary=tiny_sampler.vocabulary,
    fps=fps,
  )


@pytest.fixture(scope='module')
def sampler(tiny_sampler):
  tokenizer = TokenizerConfig(tubelet=1, patch=(1, 1))
  return _sampler(tiny_sampler, tokenizer, 3)


@pytest.fixture(scope='module')
def ported(tiny_sampler):
  ports = PortsConfig(
    canvas=True,
    patch=(1, 1, 1),
    memory=('source', 'history', 'character'),
    memory_every=1,
    memory_slots=2,
    scalars=('fps',),
  )
  tokenizer = TokenizerConfig(tubelet=1, patch=(1, 1))
  made = _sampler(tiny_sampler, tokenizer, 3, ports=ports, fps=8.0)
  # Otherwise images hardly matter beside all else that is drawn.
  return dataclasses.replace(
    made,
    params=jax.tree_util.tree_map_with_path(
      lambda path, leaf: (
        100 * leaf
        if {'memory', 'out'} <= {entry.key for entry in path}
        else leaf
      ),
      made.params,
    ),
  )


def _clips(sampler, prompts=tuple(PROMPTS), seeds=(1, 2), **options):
  options = {'size': SIZE, 'settings': FAST, **options}
  return sampler.clips(prompts, seeds=seeds, **options)


def _context(frames, size=SIZE):
  bits = np.random.default_rng(0)
  return bits.integers(0, 256, (2, frames, *size, 3)).astype(np.uint8)


@pytest.mark.slow
@pytest.mark.unoptimized
def test_a_clip_depends_on_its_own_seed_and_prompt_only(sampler):
  assert isinstance(sampler, ClipMaker)
  clips = _clips(sampler)
  assert clips.shape == (2, 3, *SIZE, 3) and clips.dtype == np.uint8
  turned = _clips(sampler, PROMPTS[::-1], seeds=(2, 1))
  np.testing.assert_array_equal(turned[::-1], clips)
  other = _clips(sampler, [PROMPTS[0], 'it turns green'])
  np.testing.assert_array_equal(other[0], clips[0])
  assert (other[1] != clips[1]).any()
  other = _clips(sampler, seeds=(1, 3))
  np.testing.assert_array_equal(other[0], clips[0])
  assert (other[1] != clips[1]).any()


@pytest.mark.slow
@pytest.mark.unoptimized
def test_guidance_is_linear_in_what_is_predicted(sampler):
  """With one step, the values are linear in the scale."""
  values = {}
  for guidance in (0.0, 1.0, 3.0):
    settings = dataclasses.replace(FAST, steps=1, guidance=guidance)
    found = _clips(sampler, settings=settings).astype(int)
    values[guidance] = np.where((found > 0) & (found < 255), found, np.nan)
  expected = values[0.0] + 3 * (values[1.0] - values[0.0])
  inside = np.isfinite(expected + values[3.0])
  assert inside.sum() > 100
  assert np.abs(expected - values[3.0])[inside].max() <= 4
  assert np.nanmax(np.abs(values[3.0] - values[0.0])) > 10
  # So are they in that of the temporal guidance, of which 1 is none.
  for scale in (0.0, 1.5):
    settings = dataclasses.replace(FAST, steps=1, time_guidance=scale)
    values[scale] = _clips(sampler, settings=settings).astype(int)
  middle = _clips(sampler, settings=dataclasses.replace(FAST, steps=1))
  expected = values[0.0] + (values[1.5] - values[0.0]) / 1.5
  inside = [(one > 0) & (one < 255) for one in (values[0.0], values[1.5])]
  inside = inside[0] & inside[1] & (middle > 0) & (middle < 255)
  assert inside.sum() > 100
  assert np.abs(expected - middle)[inside].max() <= 4
  assert np.abs(values[0.0] - middle).max() > 10
  away = dataclasses.replace(FAST, negative='it turns green')
  assert (_clips(sampler, settings=away) != _clips(sampler)).any()


@pytest.mark.slow
@pytest.mark.unoptimized
def test_a_clip_begins_with_its_context(sampler):
  context = _context(2)
  clips = _clips(sampler, context=context)
  np.testing.assert_array_equal(clips[:, :2], context)
  assert (clips[:, 2:] != _clips(sampler)[:, 2:]).any()
  before = denoise._cache_size()
  _clips(sampler, context=context[:, :1])
  assert denoise._cache_size() == before


@pytest.mark.slow
@pytest.mark.unoptimized
def test_latents_are_decoded_with_their_context(tiny_sampler):
  tokenizer = tiny_sampler.models.tokenizer
  sampler = _sampler(
    tiny_sampler, tokenizer, 5, values='latents', channels=2, scale=0.5
  )
  context = _context(3, (16, 16))
  clips = _clips(sampler, size=(16, 16), context=context)
  assert clips.shape == (2, 5, 16, 16, 3)
  assert (sampler.frames_of(2), sampler.clip_frames) == (3, 5)
  rebuilt = tiny_sampler.decode(tiny_sampler.encode(context))
  difference = np.abs(clips[:, :3].astype(int) - rebuilt.astype(int))
  assert difference.max() <= 1


def test_a_scene_reads_its_source_and_earlier_scenes_alone(ported):
  """Scene l reads slot j of its history only if j < l, to the last bit."""
  bits = np.random.default_rng(2)
  frames = bits.integers(0, 256, (1, 2, *SIZE, 3), np.uint8)
  other = frames.copy()
  other[:, 1] = 255 - other[:, 1]
  source = bits.integers(0, 256, (*SIZE, 3), np.uint8)
  settings = dataclasses.replace(FAST, guidance=0.0)

  def made(frames, captions, source=source, maker=ported, settings=settings):
    return _clips(
      maker.with_source(source),
      ['it turns green'],
      seeds=[1],
      history=History(frames=frames, captions=(captions,)),
      settings=settings,
    )

  expected = made(frames, ('a red circle',))
  np.testing.assert_array_equal(made(other, ('a red circle',)), expected)
  assert (made(255 - frames, ('a red circle',)) != expected).any()
  assert (made(frames, ('a blue square',)) != expected).any()
  assert (made(frames, ('a red circle',), 255 - source) != expected).any()
  shown = ported.with_character(frames[0])
  assert (made(frames, ('a red circle',), maker=shown) != expected).any()
  slower = dataclasses.replace(ported, fps=2.0)
  assert (made(frames, ('a red circle',), maker=slower) != expected).any()
  empty = made(frames, ())
  np.testing.assert_array_equal(made(255 - frames, ()), empty)
  assert (empty != expected).any()
  # Away from its own prompt, only the history is left to guide.
  away = dataclasses.replace(FAST, guidance=5.0, negative='it turns green')
  guided = made(frames, ('a red circle',), settings=away)
  assert np.abs(guided.astype(int) - expected).max() > 8
  unmoved = made(frames, (), settings=away)
  assert np.abs(unmoved.astype(int) - empty).max() <= 1


def test_a_model_of_clips_without_captions_starts_from_their_noise(ported):
  bits = np.random.default_rng(0)
  clip = bits.integers(0, 256, (3, *SIZE, 3)).astype(np.uint8)
  depth = bits.random((3, *SIZE)).astype(np.float32)
  settings = dataclasses.replace(FAST, guidance=0.0)

  def made(sampler, frames=clip):
    brush = Brush(sampler=sampler, prompt='', settings=settings, fps=8.0)
    return brush.restyle(clip, Structure(depth=depth, frames=frames))

  expected = made(ported)
  np.testing.assert_array_equal(made(StillFirst(sampler=ported)), expected)
  assert (made(ported, None) != expected).any()


def test_a_model_without_ports_reads_no_source(sampler):
  with pytest.raises(UserError, match='set diffusion.ports.memory=source'):
    sampler.with_source(_context(1)[0, 0])
  assert sampler.history_slots == 0


@pytest.mark.parametrize(
  ('options', 'words'),
  [
    ({'seeds': (1,)}, '2 prompts and 1 seeds'),
    ({'context': _context(3)}, 'with K below the clip length of 3'),
    ({'context': _context(1, (4, 8))}, r'give uint8 \[2, K, 8, 8, 3\]'),
  ],
)
def test_misfits_are_refused(sampler, options, words):
  with pytest.raises(UserError, match=words):
    _clips(sampler, **options)
