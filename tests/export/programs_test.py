"""Programs give what the sampler gives, here and without this package."""

import dataclasses
import json
import subprocess
import sys

import jax
import jaxtyping
import numpy as np
import pytest
import safetensors.numpy
from jax import export as jax_export

from phenaki_jax.errors import UserError
from phenaki_jax.export import loader
from phenaki_jax.export.programs import (
  PLATFORMS,
  Source,
  check_on_cpu,
  compare,
  lower,
  make_programs,
  write_programs,
)
from phenaki_jax.nn.config import PortsConfig
from phenaki_jax.sampling.config import SamplingSettings

SETTINGS = dataclasses.replace(SamplingSettings(), steps=2)
SHAPE = {'size': (16, 16), 'context_frames': 5}
# Imports of these fail, as where only jax is installed.
BLOCKED = """
import sys

class Blocked:
  def find_spec(self, name, path=None, target=None):
    if name.partition('.')[0] in ('phenaki_jax', 'flax', 'optax', 'orbax'):
      raise ImportError('blocked: ' + name)

sys.meta_path.insert(0, Blocked())
sys.path.insert(0, sys.argv[1])
import load
load.main(*sys.argv[2:])
"""


@pytest.fixture(scope='module', autouse=True)
def _no_shape_checks():
  """Turn them off: they cannot compare a symbolic batch with a size of 1."""
  jaxtyping.config.update('jaxtyping_disable', True)
  yield
  jaxtyping.config.update('jaxtyping_disable', False)


@pytest.fixture(scope='module')
def programs(tiny_sampler):
  return make_programs(tiny_sampler.models, SETTINGS, **SHAPE)


def test_program_is_for_all_platforms_and_any_batch(tiny_sampler, programs):
  program = programs['encode']
  weights = getattr(tiny_sampler, f'{program.weights}_params')
  blob = lower(program, weights).serialize()
  exported = jax_export.deserialize(blob)
  assert exported.platforms == PLATFORMS
  assert str(exported.in_avals[-1].shape[0]) == 'b'
  frames = np.random.default_rng(0).integers(0, 256, (3, 5, 16, 16, 3))
  frames = frames.astype(np.uint8)
  found = jax.jit(exported.call)(weights, frames)
  np.testing.assert_array_equal(found, tiny_sampler.encode(frames))


def test_program_without_guidance_makes_one_pass(tiny_sampler, programs):
  settings = dataclasses.replace(SETTINGS, guidance=0.0)
  alone = make_programs(tiny_sampler.models, settings, **SHAPE)
  prompts, seeds = ['a red circle', 'it turns green'], [1, 2**32 - 1]
  ids = np.zeros((2, *tiny_sampler.models.generator.grid), np.int32)
  known = np.zeros(ids.shape, bool)
  weights = tiny_sampler.generator_params
  inputs = [
    *alone['text'].function(weights, tiny_sampler.texts(prompts)),
    *(ids, known, np.array(seeds, np.uint32)),
    np.tile(np.float32([0.0, 1.0, 4.5]), (2, 1)),
  ]
  exported = lower(alone['sample'], weights, ['cpu'])
  np.testing.assert_array_equal(
    exported.call(weights, *inputs),
    tiny_sampler.completed(
      prompts, ids=ids, known=known, seeds=seeds, settings=settings
    ),
  )
  one, two = (
    jax.jit(of['sample'].function).lower(weights, *inputs).cost_analysis()
    for of in (alone, programs)
  )
  assert one['flops'] < 0.6 * two['flops']


def test_loader_refuses_guidance_that_was_not_exported():
  programs = object.__new__(loader.Programs)
  programs.manifest = {'sampling': {'guidance': 0.0}}
  with pytest.raises(ValueError, match='guidance is 3, .* exported with 0'):
    programs.clips(['a red circle'], seeds=[1], guidance=3)


@pytest.fixture(scope='module')
def source(tiny_sampler):
  return Source(
    sampler=tiny_sampler,
    **SHAPE,
    fps=8.0,
    settings=SETTINGS,
    vocabulary=tiny_sampler.vocabulary.model,
    origin={'model': {'name': 'tiny'}},
    export_again='phenaki export --format stablehlo --out tiny',
  )


@pytest.fixture(scope='module')
def folder(source, tmp_path_factory):
  path = tmp_path_factory.mktemp('programs') / 'tiny'
  assert write_programs(path, source) < 0.001
  return path


@pytest.mark.slow
def test_programs_run_without_this_package_and_flax(source, folder):
  command = [sys.executable, '-I', '-c', BLOCKED, str(folder)]
  assert compare(command, source) < 0.001


@pytest.mark.slow
def test_loader_reads_prompts_and_names_a_changed_file(
  tiny_sampler, folder, tmp_path
):
  programs = loader.Programs(folder)
  assert programs.manifest['versions']['jax'] == jax.__version__
  assert programs.manifest['versions']['calling_convention'] >= 9
  prompts, seeds = ['a red circle', 'it turns green ' * 9], [1, 2]
  found = programs.clips(prompts, seeds=seeds)
  expected = tiny_sampler.clips(
    prompts, size=(16, 16), seeds=seeds, settings=SETTINGS
  )
  np.testing.assert_allclose(found.astype(int), expected, atol=1)
  # Its own guidance and temperature are inputs, not compiled in.
  greedy = programs.clips(prompts, seeds=seeds, guidance=0, temperature=0)
  assert (greedy != found).any()
  path = folder / 'decode.export'
  path.write_bytes(path.read_bytes()[:-1] + b'x')
  with pytest.raises(ValueError, match='decode.export differs.*export again'):
    loader.Programs(folder)


@pytest.mark.slow
def test_export_that_fails_elsewhere_is_refused(source):
  command = [sys.executable, '-c', 'raise SystemExit("no such operation")']
  with pytest.raises(UserError, match='no such operation'):
    compare(command, source)
  black = (
    'import sys, numpy, safetensors.numpy as s; '
    'x = numpy.zeros((2, 9, 16, 16, 3), numpy.uint8); '
    's.save_file({"first": x, "second": x}, sys.argv[2])'
  )
  with pytest.raises(UserError, match='nothing was written'):
    compare([sys.executable, '-c', black], source)


def test_process_that_hangs_is_ended(source):
  command = [sys.executable, '-I', '-S', '-c', 'import time; time.sleep(60)']
  with pytest.raises(UserError, match=r'within 0\.2 seconds'):
    compare(command, source, seconds=0.2)


def test_checking_process_runs_on_the_cpu(source, monkeypatch):
  monkeypatch.setenv('JAX_PLATFORMS', 'cuda')
  code = 'import os; raise SystemExit("on " + os.environ["JAX_PLATFORMS"])'
  command = [sys.executable, '-I', '-S', '-c', code]
  with pytest.raises(UserError, match='written: on cpu'):
    compare(command, source)


def test_export_on_an_accelerator_names_the_variable(monkeypatch):
  monkeypatch.setattr(jax, 'default_backend', lambda: 'gpu')
  with pytest.raises(UserError, match='jax runs on gpu.*JAX_PLATFORMS=cpu'):
    check_on_cpu()


def test_foreign_folder_is_kept(source, tmp_path):
  (tmp_path / 'notes.txt').write_text('mine')
  with pytest.raises(UserError, match='something else'):
    write_programs(tmp_path, source)
  assert (tmp_path / 'notes.txt').read_text() == 'mine'


def test_loader_converts_names_and_halves():
  flat = {'a/b': np.ones(2, np.float16), 'a/c/d': np.ones(1, np.int8)}
  tree = loader._nested(safetensors.numpy.load(safetensors.numpy.save(flat)))
  assert tree['a']['b'].dtype == np.float32
  assert tree['a']['c']['d'].dtype == np.int8


def test_loader_names_the_command_for_another_platform(tmp_path):
  manifest = {'platforms': ['tpu'], 'export_again': 'phenaki export --out x'}
  (tmp_path / loader.MANIFEST).write_text(json.dumps(manifest))
  with pytest.raises(ValueError, match='not for cpu.*phenaki export --out x'):
    loader.Programs(tmp_path)


def test_loader_imports_only_what_it_says():
  code = (
    'import sys; sys.modules["jax"] = sys.modules["jax.export"] = sys; '
    'import runpy; runpy.run_path(sys.argv[1]); '
    'print([m for m in ("flax", "phenaki_jax", "tensorflow") '
    'if m in sys.modules])'
  )
  done = subprocess.run(
    [sys.executable, '-I', '-c', code, loader.__file__],
    capture_output=True,
    text=True,
    check=True,
  )
  assert done.stdout == '[]\n'


@pytest.mark.parametrize('setting', [{'negative': 'a'}, {'time_guidance': 2.0}])
def test_settings_that_programs_do_not_take_are_refused(tiny_sampler, setting):
  (name,) = setting
  settings = dataclasses.replace(SETTINGS, **setting)
  with pytest.raises(UserError, match=f'sampling.{name} is .* do not take'):
    make_programs(tiny_sampler.models, settings, **SHAPE)


def test_programs_leave_a_history_out(tiny_sampler, programs):
  ports = PortsConfig(memory=('history',), memory_every=1, memory_slots=1)
  models = tiny_sampler.models
  generator = dataclasses.replace(models.generator, ports=ports)
  models = dataclasses.replace(models, generator=generator)
  assert dataclasses.replace(tiny_sampler, models=models).history_slots == 1
  weights = tiny_sampler.generator_params
  ids = np.ones((2, models.text.max_length), np.int32)
  vectors, masks = programs['text'].function(weights, ids)
  inputs = [
    *(vectors, masks, np.zeros((2, *generator.grid), np.int32)),
    np.zeros((2, *generator.grid), bool),
    *(np.array([1, 2], np.uint32), np.zeros((2, 3), np.float32)),
  ]
  with_history, without = (
    jax.jit(made['sample'].function).lower(weights, *inputs).as_text()
    for made in (make_programs(models, SETTINGS, **SHAPE), programs)
  )
  assert with_history == without


@pytest.mark.parametrize('port', ['canvas', 'memory', 'scalars'])
def test_generators_with_a_port_are_refused(ported_sampler, port):
  models = ported_sampler.models
  ports = models.generator.ports
  own = {port: getattr(ports, port)}
  alone = PortsConfig(patch=ports.patch, memory_every=1, **own)
  generator = dataclasses.replace(models.generator, ports=alone)
  models = dataclasses.replace(models, generator=generator)
  source = Source(
    sampler=dataclasses.replace(ported_sampler, models=models),
    **SHAPE,
    fps=8.0,
    settings=SETTINGS,
    vocabulary=b'',
    origin={},
    export_again='',
  )
  # Both formats take their programs from here.
  with pytest.raises(UserError, match='has ports .* do not take'):
    source.programs()
