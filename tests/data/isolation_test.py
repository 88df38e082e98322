"""Examination in a child process, with limits that hold."""

import os
import signal

import numpy as np
import pytest

from phenaki_jax.data import isolation, schema
from phenaki_jax.data.sources import files


def record(name, kind='image'):
  return schema.Record(key=name, kind=kind, caption='x', path=name)


@pytest.fixture
def reader(tmp_path, good_clips, good_images, media):
  (tmp_path / 'clip').write_bytes(good_clips[0])
  (tmp_path / 'image').write_bytes(good_images[0])
  (tmp_path / 'half').write_bytes(good_clips[0][:900])
  large = np.zeros((1200, 1600, 3), np.uint8)
  (tmp_path / 'large').write_bytes(media.image(large))
  return files.FileReader(tmp_path)


@pytest.fixture
def isolated(reader):
  found = isolation.IsolatedReader(reader)
  yield found
  found.close()


def test_results_and_errors_are_those_of_the_reader(reader, isolated):
  for name, kind in (('clip', 'clip'), ('image', 'image'), ('large', 'image')):
    one = record(name, kind)
    assert isolated.examine(one) == reader.examine(one)
  for name, kind in (('half', 'clip'), ('clip', 'image'), ('none', 'clip')):
    with pytest.raises(schema.DecodeError) as expected:
      reader.examine(record(name, kind))
    with pytest.raises(schema.DecodeError) as found:
      isolated.examine(record(name, kind))
    assert found.value.reason == expected.value.reason
    assert found.value.detail == expected.value.detail


def test_a_lost_child_costs_one_record(isolated):
  isolated.examine(record('image'))
  (child,) = isolated._children
  os.kill(child._process.pid, signal.SIGKILL)
  with pytest.raises(schema.DecodeError, match='decoder_stopped: exit code -9'):
    isolated.examine(record('image'))
  assert isolated.examine(record('image')).num_frames == 1


class Unreachable(files.FileReader):
  """Reads a file of a network that fails."""

  def read(self, record):
    raise ConnectionError(f'{record.path} cannot be read: reset')


def test_a_failure_of_the_network_is_none_of_the_record(reader):
  isolated = isolation.IsolatedReader(Unreachable(reader.folder))
  for _ in range(2):  # The child lives on.
    with pytest.raises(ConnectionError, match='^image cannot be read: reset$'):
      isolated.examine(record('image'))
  isolated.close()


def unreachable():
  raise ConnectionError('the table cannot be read: reset')


def test_a_reader_that_cannot_be_opened_is_none_of_the_record(
  reader, monkeypatch
):
  monkeypatch.setattr(reader, 'opener', lambda: unreachable)
  isolated = isolation.IsolatedReader(reader)
  with pytest.raises(ConnectionError, match='^the table cannot be read: reset'):
    isolated.examine(record('image'))
  isolated.close()


def test_memory_is_bounded(reader):
  limited = isolation.IsolatedReader(reader, isolation.Limits(memory=4 * 2**20))
  assert limited.examine(record('image')).width == 48
  # 6 MB decoded, or more.
  with pytest.raises(schema.DecodeError):
    limited.examine(record('large'))
  assert limited.examine(record('image')).width == 48
  limited.close()


def test_time_is_bounded(reader):
  limited = isolation.IsolatedReader(reader, isolation.Limits(seconds=1.0))
  limited.examine(record('image'))
  (child,) = limited._children
  os.kill(child._process.pid, signal.SIGSTOP)  # As if it never came to an end.
  with pytest.raises(schema.DecodeError, match='it took too long'):
    limited.examine(record('image'))
  assert limited.examine(record('image')).width == 48
  limited.close()
