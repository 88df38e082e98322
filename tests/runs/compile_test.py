"""Compile small runs for pods that are not there."""

import dataclasses
import importlib.util
import pathlib

import pytest

from phenaki_jax import sharding
from phenaki_jax.errors import UserError
from phenaki_jax.planning import chips, program
from phenaki_jax.planning.program import Collective, Memory
from phenaki_jax.runs import compile as compile_lib
from phenaki_jax.runs import experiment
from phenaki_jax.runs.assemble import assemble_abstract

CONFIGS = pathlib.Path(__file__).resolve().parents[2] / 'configs'
SMALL = [
  *('data.size=64,64', 'data.batch_size=8', 'data.row_multiple=4'),
  *('data.image_share=0.3', 'generator.num_layers=2', 'generator.width=128'),
  *('generator.num_heads=2', 'generator.mlp_dim=256', 'text.max_length=16'),
  *('tokenizer.width=64', 'tokenizer.mlp_dim=128', 'tokenizer.num_heads=2'),
  *('tokenizer.spatial_layers=1', 'tokenizer.temporal_layers=1'),
  *('tokenizer.vq_codes=256', 'sampling.steps=2'),
]

needs_libtpu = pytest.mark.skipif(
  importlib.util.find_spec('libtpu') is None, reason='without the extra tpu'
)


def _paper(overrides=()):
  path = CONFIGS / 'generator' / 'paper_1p8b.py'
  return experiment.resolve(str(path), [*SMALL, *overrides])


@pytest.mark.slow
@needs_libtpu
def test_the_step_of_a_small_pod_fits_and_reuses_its_state():
  """Splash attention, remat, sharding and donation, as libtpu compiles them."""
  chosen = _paper(['generator.attention_kernel=splash'])
  (report,) = compile_lib.compile_run(chosen, topology='v5e:2x2')
  assert report.fits and report.num_chips == 4
  assert 0.99 < report.donated <= 1
  assert report.collectives['all-gather'].count > 0
  assert 'fits' in compile_lib.to_text(report)


@pytest.mark.slow
@needs_libtpu
def test_a_step_that_does_not_fit_is_a_report(monkeypatch):
  chip = dataclasses.replace(chips.CHIPS['v5e'], memory=1e6)
  monkeypatch.setattr(chips, 'CHIPS', {**chips.CHIPS, 'v5e': chip})
  chosen = _paper(['generator.num_layers=1'])
  (report,) = compile_lib.compile_run(
    chosen, topology='v5e:2x2', programs=('sampler',)
  )
  assert not report.fits and report.donated is None


@pytest.mark.slow
@pytest.mark.unoptimized
def test_the_sampler_compiles_from_descriptions():
  """With the T5 encoder whose width the generator reads, on virtual devices."""
  overrides = ['data.row_multiple=8', 'generator.text_width=512']
  chosen = _paper([*overrides, 'generator.num_layers=1'])
  run = assemble_abstract(chosen, mesh=sharding.make_mesh(chosen.mesh))
  found = program.memory(compile_lib.lower_sampler(run).compile())
  # 8 chips hold an eighth of the generator and of T5-small, in float32.
  assert found.arguments > 35e6 * 4 / 8


def test_what_the_compiler_needed_is_read_from_its_refusal():
  message = 'RESOURCE_EXHAUSTED: Used 72.46G of 30.75G hbm. Exceeded by 41.7G.'
  assert compile_lib._needed(message) == pytest.approx(72.46 * 2**30)
  assert compile_lib._needed('INTERNAL: something else') is None


def test_a_report_is_text():
  report = compile_lib.Report(
    program='step',
    topology='v4:2x2x1',
    num_chips=4,
    mesh={'data': 1, 'fsdp': 4, 'tensor': 1},
    remat='matmuls',
    fits=True,
    needed=3.0 * 2**30,
    available=30.0 * 2**30,
    memory=Memory(
      arguments=2**30,
      results=2**30,
      temporary=2 * 2**30,
      aliased=2**30,
      peak=3 * 2**30,
    ),
    donated=1.0,
    flops=2e12,
    collectives={'all-gather': Collective(count=3, bytes=2**29)},
    compiler_flags={},
    seconds=12.0,
  )
  lines = compile_lib.to_text(report).splitlines()
  assert lines[0] == 'step for v4:2x2x1, 4 chips, remat matmuls: fits'
  assert '3.00 of 30.00 GiB, 90% free' in lines[1]
  assert any('all-gather' in x and '3, 0.500 GiB' in x for x in lines)


def test_a_tokenizer_has_no_sampler():
  tokenizer = experiment.resolve(str(CONFIGS / 'tokenizer' / 'tiny.py'))
  with pytest.raises(UserError, match='a tokenizer has no sampler'):
    next(
      compile_lib.compile_run(
        tokenizer, topology='v5e:2x2', programs=('sampler',)
      )
    )


def test_the_programs_of_diffusion_lower_from_descriptions():
  chosen = experiment.resolve(
    f'{CONFIGS}/diffusion/tiny.py',
    [
      *('data.batch_size=16', 'data.image_share=0.5', 'data.size=16,16'),
      *('data.frames=3', 'data.context_frames=1', 'task.prediction_frames=1'),
      *('diffusion.widths=8,', 'diffusion.head_dim=8', 'sampling.steps=2'),
      *('diffusion.remat=full', 'text.num_layers=1'),
    ],
  )
  run = assemble_abstract(chosen, mesh=sharding.make_mesh(chosen.mesh))
  assert 'f32[8,3,8,8,8]' in run.lower().as_text('hlo')
  assert 'while' in compile_lib.lower_sampler(run).as_text('hlo')
  # A run whose captions are vectors of a cache has no text encoder.
  text = dataclasses.replace(chosen.text, source='vectors')
  cached = dataclasses.replace(chosen, text=text)
  run = assemble_abstract(cached, mesh=sharding.make_mesh(chosen.mesh))
  assert 'text' not in run.state.params
  assert 'while' in compile_lib.lower_sampler(run).as_text('hlo')


@pytest.mark.slow
def test_the_programs_of_a_neighbour_lower_from_its_description():
  """With all ports of Gen-1 and the whole network that estimates depth."""
  chosen = experiment.resolve(
    f'{CONFIGS}/neighbours/gen1.py',
    [
      *('data.size=64,64', 'data.batch_size=72', 'sampling.steps=2'),
      *('diffusion.widths=8,16', 'diffusion.head_dim=8', 'diffusion.blocks=1'),
      *('diffusion.attention=1', 'diffusion.condition_width=8'),
      *('text.num_layers=1', 'tokenizer.spatial_layers=1'),
    ],
  )
  run = assemble_abstract(chosen, mesh=sharding.make_mesh(chosen.mesh))
  assert 'f32[64,8,8,8,4]' in run.lower().as_text('hlo')
  assert 'while' in compile_lib.lower_sampler(run).as_text('hlo')


def test_super_resolution_has_no_sampler():
  chosen = experiment.resolve(
    f'{CONFIGS}/diffusion/super_resolution.py:storyworld'
  )
  with pytest.raises(UserError, match='a model that enlarges clips has no'):
    next(
      compile_lib.compile_run(chosen, topology='v5e:2x2', programs=('sampler',))
    )
