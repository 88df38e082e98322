"""Caches of text vectors hold what the frozen encoder makes of captions."""

import dataclasses
import importlib.util
import pathlib

import jax
import numpy as np
import pytest

from phenaki_jax import config as config_lib
from phenaki_jax import sharding
from phenaki_jax.data.record_cache import CacheInfo, CacheWriter
from phenaki_jax.data.text_cache import TextCache, TextExample
from phenaki_jax.errors import UserError
from phenaki_jax.runs.encode_text import TextRequest, encode_text
from phenaki_jax.runs.experiment import Experiment
from phenaki_jax.sharding import MeshConfig
from phenaki_jax.text.pretrained import load_encoder
from phenaki_jax.text.t5 import T5Encoder
from phenaki_jax.text.vocab import SentencePieceVocabulary

ENCODER = pathlib.Path(__file__).parents[1] / 'golden' / 't5_torch' / 'relu'
# Of few held-out captions: as many are read as batches of evaluation hold.
DATA = {
  **{'size': (8, 8), 'frames': 3, 'context_frames': 1, 'seed': 1},
  'batch_size': 2,
}
EXPERIMENT = config_lib.build(Experiment, {'kind': 'generator', 'data': DATA})


@pytest.fixture(scope='module')
def mesh():
  return sharding.make_mesh(MeshConfig(), devices=jax.devices()[:1])


@pytest.fixture(scope='module')
def request_(tmp_path_factory):
  """Return a request with a vocabulary as large as the encoder's table."""
  path = tmp_path_factory.mktemp('vocabulary') / 'spiece.model'
  SentencePieceVocabulary.learn(['a red circle on grass'], 24).save(path)
  return TextRequest(
    encoder=str(ENCODER), vocabulary=str(path), length=20, captions=100
  )


def content(folder):
  return {
    path.name: path.read_bytes()
    for path in folder.iterdir()
    if path.name != '.lock'
  }


def test_cache_holds_the_vectors_of_the_captions(
  mesh, request_, tmp_path, monkeypatch
):
  info = encode_text(EXPERIMENT, tmp_path / 'a', request_, mesh=mesh)
  assert info.sizes['captions'] % 64 == 0
  cache = TextCache(tmp_path / 'a')
  found = load_encoder(ENCODER, mesh=mesh, max_length=20)
  vocabulary = SentencePieceVocabulary.from_file(request_.vocabulary)
  texts = [
    TextExample.from_record(cache._records[i]).caption for i in (0, 1, 2)
  ]
  assert texts[0] == '' and len(set(texts)) == 3
  ids = np.stack([vocabulary.encode_padded(text, 20) for text in texts])
  encode = jax.jit(T5Encoder(found.config).apply)
  wanted = encode({'params': found.params}, ids)
  for text, expected in zip(texts, wanted, strict=True):
    # The end of text belongs to the caption: without it all vectors change.
    length = min(len(vocabulary.encode(text)) + 1, 20)
    vectors = cache.vectors(text)
    assert vectors.shape == (length, 24)
    np.testing.assert_allclose(vectors, expected[:length], atol=1e-5)

  def stop(self):
    raise KeyboardInterrupt

  monkeypatch.setattr(CacheWriter, 'finish', stop)
  with pytest.raises(KeyboardInterrupt):
    encode_text(EXPERIMENT, tmp_path / 'b', request_, mesh=mesh)
  monkeypatch.undo()
  with pytest.raises(UserError, match='unfinished'):
    TextCache(tmp_path / 'b')
  encode_text(EXPERIMENT, tmp_path / 'b', request_, mesh=mesh)
  assert content(tmp_path / 'a') == content(tmp_path / 'b')


@pytest.mark.skipif(
  importlib.util.find_spec('seqio') is None, reason='needs the extra tf'
)
def test_captions_of_a_seqio_task_have_the_same_vectors(
  mesh, request_, tmp_path
):
  encode_text(EXPERIMENT, tmp_path / 'a', request_, mesh=mesh)
  cache = TextCache(tmp_path / 'a')
  texts = [TextExample.from_record(cache._records[i]).caption for i in range(3)]
  (tmp_path / 'task.py').write_text(
    'from phenaki_jax.text.seqio_task import register\n'
    f'register("captions", {texts[1:]!r}, '
    f'vocabulary={request_.vocabulary!r})\n'
  )
  task = dataclasses.replace(
    request_, captions=None, seqio_task=f'{tmp_path}/task.py:captions'
  )
  info = encode_text(EXPERIMENT, tmp_path / 'b', task, mesh=mesh)
  assert info.sizes['captions'] == 64
  other = TextCache(tmp_path / 'b')
  for text in texts:
    np.testing.assert_array_equal(other.vectors(text), cache.vectors(text))
  with pytest.raises(UserError, match='no caption'):
    other.vectors('a caption of the data that the Task lacks')


def test_vocabulary_and_cache_of_another_encoder_are_refused(
  mesh, request_, tmp_path
):
  large = tmp_path / 'large.model'
  SentencePieceVocabulary.learn(['abcdefghijklmnopqrstuvwxyz' * 3], 60).save(
    large
  )
  values = {**vars(request_), 'vocabulary': str(large)}
  with pytest.raises(UserError, match='but the encoder in'):
    encode_text(EXPERIMENT, tmp_path / 'a', TextRequest(**values), mesh=mesh)
  info = CacheInfo(
    kind='text', settings={}, details={}, counts={'captions': 64}, steps=1
  )
  (tmp_path / 'b').mkdir()
  CacheWriter(tmp_path / 'b', info)
  with pytest.raises(UserError, match='length is .absent. there and 20 here'):
    encode_text(EXPERIMENT, tmp_path / 'b', request_, mesh=mesh)
