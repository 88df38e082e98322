"""Readings have probabilities, and do not depend on how frames are padded."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from phenaki_jax import sharding
from phenaki_jax.errors import UserError
from phenaki_jax.lpc import degradation
from phenaki_jax.lpc.facts import FACT_NAMES, VALUES
from phenaki_jax.reader import reader as reader_lib
from phenaki_jax.reader.config import ReaderConfig
from phenaki_jax.reader.network import FrameReader, join_frames

CONFIG = ReaderConfig(side=16, widths=(8, 8, 16), features=16)


@pytest.fixture(scope='module')
def reader():
  frames = jnp.zeros((1, 16, 16, 3), np.uint8)
  boxed = jax.eval_shape(FrameReader(CONFIG).init, jax.random.key(0), frames)
  rng = np.random.default_rng(0)
  params = jax.tree.map(
    lambda leaf: jnp.asarray(rng.normal(0, 0.5, leaf.shape), jnp.float32),
    sharding.unbox(boxed)['params'],
  )
  return reader_lib.Reader(config=CONFIG, params=params)


def _frames(count, side=16, seed=0):
  rng = np.random.default_rng(seed)
  return rng.integers(0, 256, (count, side, side, 3)).astype(np.uint8)


def test_reading_has_a_value_and_a_probability_of_each_fact(reader):
  reading = reader.read(_frames(3))
  assert tuple(reading) == FACT_NAMES
  for fact, read in reading.items():
    assert read.value is None or read.value in VALUES[fact]
    classes = 1 + len(VALUES[fact])
    assert 1 / classes <= read.confidence <= 1
    assert read.is_sure
  for fact, part in reader.probabilities(_frames(3)).items():
    assert part.sum() == pytest.approx(1, abs=1e-5)
    assert part.max() == pytest.approx(reading[fact].confidence)


@pytest.mark.parametrize('count', [1, 3, 9, 12])
def test_reading_does_not_depend_on_padding_or_on_other_clips(reader, count):
  clips = np.stack([_frames(count, seed=seed) for seed in range(3)])
  logits, weights = jax.jit(FrameReader(CONFIG).apply)(
    {'params': reader.params}, clips.reshape(-1, 16, 16, 3)
  )
  joined = join_frames(
    logits.reshape(3, count, -1), weights.reshape(3, count, -1)
  )
  for row, clip in enumerate(clips):
    for fact, part in reader.probabilities(clip).items():
      np.testing.assert_allclose(
        part, jax.nn.softmax(joined[fact][row]), atol=1e-4
      )


def test_repeated_frames_read_as_one_frame(reader):
  frame = _frames(1)
  one = reader.probabilities(frame)
  many = reader.probabilities(np.repeat(frame, 5, axis=0))
  for fact, part in one.items():
    np.testing.assert_allclose(many[fact], part, atol=1e-5)


def test_frames_of_another_size_are_resized(reader):
  large = _frames(2, side=24)
  small = degradation.resize(large, 16)
  assert small.shape == (2, 16, 16, 3)
  assert reader.read(large) == reader.read(small)


def test_reading_below_its_threshold_is_unsure(reader):
  frames = _frames(2)
  found = reader.read(frames)['kind'].confidence
  for threshold, is_sure in ((found - 1e-3, True), (found + 1e-3, False)):
    other = dataclasses.replace(reader, thresholds={'kind': threshold})
    reading = other.read(frames)
    assert reading['kind'].is_sure == is_sure
    assert reading['hair'].is_sure


def test_saved_reader_reads_the_same(reader, tmp_path):
  path = tmp_path / 'reader.safetensors'
  sure = dataclasses.replace(reader, thresholds={'hair': 0.5})
  sure.save(path)
  loaded = reader_lib.load(path)
  assert loaded.config == CONFIG
  assert loaded.thresholds == {'hair': 0.5}
  expected = sure.probabilities(_frames(3))
  for fact, part in loaded.probabilities(_frames(3)).items():
    np.testing.assert_allclose(part, expected[fact], atol=0.02)


def test_other_frames_and_files_are_refused(reader, tmp_path):
  two = _frames(2)
  for frames in (two.astype(np.float32), two[0], two[:0]):
    with pytest.raises(UserError, match='give uint8 RGB frames'):
      reader.read(frames)
  path = tmp_path / 'text.safetensors'
  path.write_text('no weights')
  for name in (path, tmp_path / 'missing'):
    with pytest.raises(UserError, match='holds no reader'):
      reader_lib.load(name)


def test_fingerprint_is_of_the_content(reader, tmp_path):
  reader = dataclasses.replace(reader, thresholds={'kind': 0.5, 'hair': 0.25})
  reader.save(tmp_path / 'a')
  # A file may have its metadata in any order.
  found = {reader_lib.load(tmp_path / 'a').fingerprint for _ in range(4)}
  assert len(found) == 1
  other = dataclasses.replace(reader, thresholds={'kind': 0.75, 'hair': 0.25})
  assert other.fingerprint not in found
