"""Plans of runs that nobody could hold in memory here."""

import dataclasses
import json
import os
import pathlib

import jax
import jax.numpy as jnp
import pytest

from phenaki_jax import rng, sharding
from phenaki_jax.diffusion.denoiser import Denoiser
from phenaki_jax.errors import UserError
from phenaki_jax.nn.config import PortsConfig
from phenaki_jax.runs import experiment, plan
from phenaki_jax.runs.assemble import assemble_abstract
from phenaki_jax.text import config as text_config
from phenaki_jax.text.t5 import T5Encoder

CONFIGS = pathlib.Path(__file__).resolve().parents[2] / 'configs'


@pytest.fixture(scope='module')
def paper():
  return experiment.resolve(str(CONFIGS / 'generator' / 'paper_1p8b.py'))


def test_a_plan_of_the_paper_allocates_nothing(paper):
  before = {id(array) for array in jax.live_arrays()}
  found = plan.plan(paper, chip='v5p', num_chips=64, mfu=0.5)
  assert {id(array) for array in jax.live_arrays()} <= before
  assert found.parameters['generator'] == pytest.approx(1.85e9, rel=0.01)
  assert (found.clips, found.images, found.rows) == (491, 123, 512)
  assert found.tokens == 512 * 1536
  # An average and two moments, all of the size of the parameters.
  memory = found.memory
  assert memory['optimizer'] == pytest.approx(2 * memory['parameters'])
  total = 4 * found.parameters['generator']
  assert memory['parameters'] == pytest.approx(total / 64, rel=0.01)
  total = sum(found.flops.values())
  assert found.seconds == pytest.approx(total / (64 * 0.5 * 459e12))
  assert found.days == pytest.approx(found.seconds * 1e6 / 86400)
  assert found.rates['clips'] == pytest.approx(491 / found.seconds)
  shown = plan.to_text(found)
  assert '491 clips, 123 images; 512 rows' in shown and 'at 50% MFU' in shown


def test_nothing_large_is_whole_on_every_chip(paper):
  """State, frozen tokenizer, batch, and a frozen T5-XXL, on 64 chips."""
  mesh = sharding.described_mesh(paper.mesh, 64)
  run = assemble_abstract(paper, mesh=mesh)
  text = text_config.TextConfig(**text_config.SIZES['xxl'])
  ids = jax.ShapeDtypeStruct((1, 8), jnp.int32)
  boxed = jax.eval_shape(T5Encoder(text).init, rng.described(), ids)
  trees = run.state, run.frozen, run.batch, sharding.describe(boxed, mesh)
  for path, leaf in jax.tree_util.tree_flatten_with_path(trees)[0]:
    if leaf.sharding.is_fully_replicated:
      # The largest is VQ's codebook of 8,192 codes of 32 numbers.
      assert leaf.size <= 8192 * 32, jax.tree_util.keystr(path)


def test_rows_that_chips_do_not_divide_say_what_to_set(paper):
  data = dataclasses.replace(paper.data, row_multiple=1)
  with pytest.raises(UserError, match=r'set data\.row_multiple=64'):
    plan.plan(
      dataclasses.replace(paper, data=data), chip='v4', num_chips=64, mfu=0.5
    )


def test_micro_batches_need_less_memory_for_activations(paper):
  def memory(**train):
    chosen = dataclasses.replace(paper.train, **train)
    run = dataclasses.replace(paper, train=chosen)
    return plan.plan(run, chip='v5p', num_chips=64, mfu=0.5).memory

  whole, parts = memory(), memory(accumulate=4)
  assert parts['activations'] == pytest.approx(whole['activations'] / 4)
  assert parts['gradients'] == 2 * whole['gradients']
  canonical = memory(accumulate=128, canonical=True)
  for name in ('parameters', 'optimizer', 'average'):
    assert canonical[name] == pytest.approx(64 * whole[name], rel=0.01)
  assert canonical['gradients'] == pytest.approx(2 * canonical['parameters'])
  with pytest.raises(UserError, match=r'set data\.row_multiple=1024'):
    memory(accumulate=16)
  with pytest.raises(UserError, match=r'accumulate=32 micro-batches among 64'):
    memory(accumulate=32, canonical=True)


def test_a_reader_is_not_planned():
  reader = experiment.resolve(str(CONFIGS / 'reader' / 'lpc.py:sheets=x'))
  with pytest.raises(UserError, match='a reader trains on one machine'):
    plan.plan(reader, chip='v4', num_chips=1, mfu=0.5)


NEIGHBOURS = (
  *('storydalle.py', 'ar_ldm.py', 'gen1.py', 'make_a_video.py'),
  *('make_a_video.py:low', 'make_a_video.py:high'),
)


@pytest.mark.slow
def test_the_published_shapes_of_the_neighbours_have_their_parameters():
  """Refresh the golden file as `configs_test` says of its own."""
  before = {id(array) for array in jax.live_arrays()}
  counts = {}
  for name in NEIGHBOURS:
    chosen = experiment.resolve(f'{CONFIGS}/neighbours/{name}')
    found = plan.plan(chosen, chip='v5p', num_chips=32, mfu=0.4)
    assert sum(found.memory.values()) < 95 * 2**30, name
    counts[name] = found.parameters
  assert {id(array) for array in jax.live_arrays()} <= before
  golden = pathlib.Path(__file__).parents[1] / 'golden' / 'neighbours.json'
  text = json.dumps(counts, indent=1) + '\n'
  if os.environ.get('PHENAKI_REFRESH_GOLDENS') == '1':
    golden.write_text(text)
  assert golden.read_text() == text
  # 860M of Stable Diffusion 1.x, with layers over time; 700M of unCLIP.
  chosen = experiment.resolve(f'{CONFIGS}/neighbours/ar_ldm.py')
  plain = dataclasses.replace(chosen.diffusion, ports=PortsConfig())
  denoiser = Denoiser(config=plain, text=chosen.text)
  boxed = jax.eval_shape(denoiser.init, rng.described())['unet']
  size = sum(leaf.size for leaf in jax.tree.leaves(boxed))
  assert size == pytest.approx(860e6, rel=0.06)
  assert counts['make_a_video.py:low']['unet'] == pytest.approx(7e8, rel=0.02)


def test_a_diffusion_model_is_planned():
  chosen = experiment.resolve(
    f'{CONFIGS}/diffusion/tiny.py',
    ['data.batch_size=16', 'data.image_share=0.5'],
  )
  found = plan.plan(chosen, chip='v5e', num_chips=4, mfu=0.5)
  assert set(found.parameters) == {'unet', 'text'}
  height, width = chosen.data.size
  frames = 8 * chosen.data.frames + 8
  assert found.tokens == frames * height * width // 4
  assert found.flops['U-Net'] > found.flops['text encoder'] > 0
  remat = dataclasses.replace(chosen.diffusion, remat='full')
  less = dataclasses.replace(chosen, diffusion=remat)
  least = plan.plan(less, chip='v5e', num_chips=4, mfu=0.5)
  assert least.memory['activations'] < found.memory['activations']
