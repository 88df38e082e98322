"""A SavedModel gives the sampler's frames; most of it needs the extra `tf`."""

import dataclasses
import importlib.util
import json
import subprocess
import sys

import jaxtyping
import pytest

from phenaki_jax.errors import UserError
from phenaki_jax.export.programs import Source
from phenaki_jax.export.saved_model import write_saved_model
from phenaki_jax.sampling.config import SamplingSettings

HAS_TF = importlib.util.find_spec('tensorflow') is not None
SETTINGS = dataclasses.replace(SamplingSettings(), steps=2)


@pytest.fixture(scope='module', autouse=True)
def _no_shape_checks():
  """Turn them off: they cannot compare a symbolic batch with a size of 1."""
  jaxtyping.config.update('jaxtyping_disable', True)
  yield
  jaxtyping.config.update('jaxtyping_disable', False)


def _write(path, sampler):
  source = Source(
    sampler=sampler,
    size=(16, 16),
    fps=8.0,
    context_frames=5,
    settings=SETTINGS,
    vocabulary=sampler.vocabulary.model,
    origin={'model': {'name': 'tiny'}},
    export_again='phenaki export --format savedmodel --out tiny',
  )
  return write_saved_model(path, source)


@pytest.mark.skipif(HAS_TF, reason='the extra tf is installed')
def test_without_the_extra_the_sentence_names_it(tiny_sampler, tmp_path):
  with pytest.raises(UserError, match=r'phenaki-jax\[tf\]'):
    _write(tmp_path / 'model', tiny_sampler)
  assert not (tmp_path / 'model').exists()


@pytest.mark.slow
@pytest.mark.skipif(not HAS_TF, reason='needs the extra tf: tensorflow')
def test_saved_model_is_called_by_another_process_before_it_is_done(
  tiny_sampler, tmp_path
):
  folder = tmp_path / 'model'
  assert _write(folder, tiny_sampler) < 0.001
  manifest = json.loads((folder / 'programs.json').read_text())
  assert manifest['versions']['tensorflow']
  code = (
    'import sys, tensorflow as tf; '
    'model = tf.saved_model.load(sys.argv[1]); '
    'print(sorted(model.signatures)); '
    'print(model.signatures["decode"].structured_input_signature[1])'
  )
  done = subprocess.run(
    [sys.executable, '-I', '-c', code, str(folder)],
    capture_output=True,
    text=True,
    check=True,
  )
  assert "['decode', 'encode', 'sample', 'text']" in done.stdout
  assert 'shape=(None, 5, 2, 2), dtype=tf.int32' in done.stdout
