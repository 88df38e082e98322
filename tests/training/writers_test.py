"""Each writer stores its kinds of results and can be rewound."""

import io
import json
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image
from tensorboardX.proto.event_pb2 import Event

from phenaki_jax.errors import UserError
from phenaki_jax.training import writers
from phenaki_jax.training.config import WandbConfig
from phenaki_jax.training.writers import (
  FileWriter,
  JsonlWriter,
  TensorBoardWriter,
  WandbWriter,
  rank,
)

IMAGE = np.full((4, 6, 3), 200, np.uint8)
VIDEO = np.stack([np.full((4, 6, 3), v, np.uint8) for v in (0, 90, 255)])
RESULTS = {'loss': np.float32(0.5), 'grid': IMAGE, 'story/first': VIDEO}


def test_rank_distinguishes_numbers_images_and_videos():
  assert [rank(value) for value in RESULTS.values()] == [0, 3, 4]
  assert rank(3) == 0


@pytest.mark.parametrize(
  'value', [IMAGE.astype(np.float32), np.zeros(3), 'text', IMAGE[..., :1]]
)
def test_another_kind_is_refused(value):
  with pytest.raises(ValueError, match='cannot be written'):
    rank(value)


def test_jsonl_holds_a_line_per_step(tmp_path):
  path = tmp_path / 'run' / 'metrics.jsonl'
  writer = JsonlWriter(path)
  writer.rewind(0)
  writer.write(1, RESULTS)
  writer.write(2, {'grid': IMAGE})
  writer.close()
  assert path.read_text() == '{"step": 1, "loss": 0.5}\n'


def test_jsonl_says_null_where_a_number_is_not_finite(tmp_path):
  writer = JsonlWriter(tmp_path / 'metrics.jsonl')
  writer.write(1, {'psnr': float('inf'), 'loss': 2})
  (line,) = (tmp_path / 'metrics.jsonl').read_text().splitlines()
  assert json.loads(line) == {'step': 1, 'psnr': None, 'loss': 2.0}


def test_jsonl_drops_later_steps_and_half_a_line(tmp_path):
  path = tmp_path / 'metrics.jsonl'
  writer = JsonlWriter(path)
  for step in (5, 10, 15):
    writer.write(step, {'loss': step / 10})
  with path.open('a') as file:
    file.write('{"step": 20, "lo')
  JsonlWriter(path).rewind(10)
  steps = [json.loads(line)['step'] for line in path.read_text().splitlines()]
  assert steps == [5, 10]


def test_run_directory_may_be_a_bucket(bucket):
  path = bucket / 'run' / 'metrics.jsonl'
  for step in (5, 10, 15):
    JsonlWriter(path).write(step, {'loss': step / 10})
  JsonlWriter(path).rewind(10)
  steps = [json.loads(line)['step'] for line in path.read_text().splitlines()]
  assert steps == [5, 10]
  FileWriter(bucket / 'run' / 'samples').write(10, RESULTS)
  names = {entry.name for entry in (bucket / 'run' / 'samples').iterdir()}
  assert names == {'grid_0000010.png', 'story_first_0000010.gif'}


def _events(folder):
  """Read TensorBoard's records: length, two checksums, a message."""
  events = []
  for path in sorted(folder.iterdir()):
    content = path.read_bytes()
    while content:
      size = int.from_bytes(content[:8], 'little')
      events.append(Event.FromString(content[12 : 12 + size]))
      content = content[16 + size :]
  return events


def test_tensorboard_holds_numbers_images_and_moving_videos(tmp_path):
  writer = TensorBoardWriter(tmp_path / 'tb', fps=10.0)
  writer.rewind(0)
  writer.write(7, RESULTS)
  writer.close()
  values = {
    value.tag: (event.step, value)
    for event in _events(tmp_path / 'tb')
    for value in event.summary.value
  }
  assert set(values) == set(RESULTS)
  assert {step for step, _ in values.values()} == {7}
  assert values['loss'][1].simple_value == 0.5
  pictures = {}
  for name in ('grid', 'story/first'):
    image = values[name][1].image
    assert (image.height, image.width) == (4, 6)
    pictures[name] = Image.open(io.BytesIO(image.encoded_image_string))
  np.testing.assert_array_equal(np.asarray(pictures['grid']), IMAGE)
  assert pictures['story/first'].n_frames == 3


def test_tensorboard_hides_steps_that_come_again(tmp_path):
  for start, step in ((0, 9), (5, 6)):
    writer = TensorBoardWriter(tmp_path)
    writer.rewind(start)
    writer.write(step, {'loss': 1.0})
    writer.close()
  purges = [
    event.step
    for event in _events(tmp_path)
    if event.session_log.status == event.session_log.START
  ]
  # TensorBoard drops what an earlier file holds from this step on.
  assert 6 in purges


def test_files_are_named_by_result_and_step(tmp_path):
  folder = tmp_path / 'run' / 'samples'
  writer = FileWriter(folder, fps=4.0)
  writer.rewind(0)
  writer.write(40, {'loss': 0.5})
  assert not folder.exists()
  # A process that is killed while it replaces a file leaves a folder.
  (folder / '.grid_0000040.png.part-0a1b2c3d').mkdir(parents=True)
  writer.rewind(0)
  writer.write(40, RESULTS)
  writer.close()
  names = ['grid_0000040.png', 'story_first_0000040.gif']
  assert sorted(path.name for path in folder.iterdir()) == names
  with Image.open(folder / names[0]) as image:
    np.testing.assert_array_equal(np.asarray(image), IMAGE)
  with Image.open(folder / names[1]) as video:
    assert (video.n_frames, video.info['duration']) == (3, 250)


def _finished(path):
  """Return the records of a run that W&B keeps until `wandb sync`.

  Another process writes the last of them, `exit`, in its own time.
  """
  for _ in range(600):
    records = _wandb_records(path)
    if records and records[-1].WhichOneof('record_type') == 'exit':
      return records
    time.sleep(0.1)
  raise TimeoutError(path)


def _wandb_records(path):
  """Read what there is: chunks in blocks of 32 KB.

  A chunk has a checksum, a length and a kind.
  """
  from wandb.proto import wandb_internal_pb2

  content, at, data, found = path.read_bytes(), 7, b'', []
  while at < len(content):
    if (left := -at % 2**15) < 7 and left:
      at += left
      continue
    size, kind = (
      int.from_bytes(content[at + 4 : at + 6], 'little'),
      content[at + 6],
    )
    data += content[at + 7 : at + 7 + size]
    at += 7 + size
    if kind in (1, 4):  # a whole record, or the last chunk of one
      found.append(wandb_internal_pb2.Record.FromString(data))
      data = b''
  return found


@pytest.fixture
def offline(monkeypatch):
  monkeypatch.setenv('WANDB_MODE', 'offline')
  monkeypatch.setenv('WANDB_SILENT', 'true')


def test_wandb_gets_each_result_of_a_resumed_run_once(tmp_path, offline):
  config = WandbConfig(project='stories', group='table2', name='half-seed0')
  # The first start is killed after step 15, with a checkpoint of step 10.
  for start, steps in ((0, (5, 10, 15)), (10, (15, 20))):
    writer = WandbWriter(
      tmp_path, config=config, settings={'seed': 0, 'data': {'fps': 4.0}}
    )
    writer.rewind(start)
    writer.rewind(start)  # The state may be lost while a run goes on.
    for step in steps:
      writer.write(step, {'train/loss': step / 10})
    writer.write(steps[-1], {'heldout/loss': float('inf'), **RESULTS})
    writer.close()
  first, second = sorted((tmp_path / 'wandb').glob('offline-run-*/*.wandb'))
  runs, sent = [], []
  for record in (*_finished(first), *_finished(second)):
    if record.WhichOneof('record_type') == 'run':
      runs.append(record.run)
    elif record.WhichOneof('record_type') == 'history':
      row = {
        item.nested_key[0]: json.loads(item.value_json)
        for item in record.history.item
      }
      step = row.pop('step')
      sent += [(name, step) for name in row if not name.startswith('_')]
  assert {(r.project, r.run_group, r.display_name) for r in runs} == {
    ('stories', 'table2', 'half-seed0')
  }
  assert len({run.run_id for run in runs}) == 1
  evaluated = ('heldout/loss', 'loss', 'grid', 'story/first')
  assert sorted(sent) == sorted(
    [
      *(('train/loss', step) for step in (5, 10, 15, 20)),
      *((name, step) for name in evaluated for step in (15, 20)),
    ]
  )
  names = {path.suffix for path in tmp_path.glob('wandb/*/files/media/*/*')}
  names |= {path.suffix for path in tmp_path.glob('wandb/*/files/media/*/*/*')}
  assert {'.png', '.gif'} <= names


def test_a_missing_package_of_wandb_is_named(monkeypatch):
  writers.check_wandb(WandbConfig(project='stories'))
  monkeypatch.setitem(sys.modules, 'wandb', None)
  writers.check_wandb(WandbConfig(group='table2'))
  with pytest.raises(UserError, match='=stories needs wandb; run'):
    writers.check_wandb(WandbConfig(project='stories'))


def test_writers_need_no_tensorflow(tmp_path):
  code = (
    'import sys, numpy\n'
    'from phenaki_jax.training.writers import TensorBoardWriter\n'
    'w = TensorBoardWriter(sys.argv[1])\n'
    "w.write(1, {'a': 1.0}); w.close()\n"
    "assert 'tensorflow' not in sys.modules\n"
  )
  subprocess.run(
    [sys.executable, '-c', code, str(tmp_path)], check=True, timeout=120
  )
