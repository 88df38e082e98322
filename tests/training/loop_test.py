"""What the loop writes, where it stops, and that resuming changes nothing."""

import ctypes
import gc
import os
import re
import signal

import jax
import numpy as np
import pytest
import real
import toy

from phenaki_jax import rng as rngs
from phenaki_jax import sharding
from phenaki_jax.runs import goodput
from phenaki_jax.training import loop
from phenaki_jax.training.checkpoints import load_params
from phenaki_jax.training.config import TrainConfig
from phenaki_jax.training.optim import make_optimizer
from phenaki_jax.training.state import (
  abstract_state,
  boxed_params,
  create_state,
)
from phenaki_jax.training.step import make_step


@pytest.fixture(scope='module')
def unbroken(tmp_path_factory):
  """Train twelve steps without a stop."""
  folder = tmp_path_factory.mktemp('unbroken')
  assert toy.train(folder, evaluators=[toy.Sampler()]) == loop.FINISHED
  return folder


def _assert_same_run(folder, other):
  assert toy.records(folder) == toy.records(other)
  for item in ('params', 'ema'):
    one, two = (load_params(f, item=item) for f in (folder, other))
    assert one.step == two.step
    jax.tree.map(np.testing.assert_array_equal, one.params, two.params)


def test_a_run_leaves_records_samples_and_checkpoints(unbroken):
  records = toy.records(unbroken)
  kinds = [(line['step'], 'train/loss' in line) for line in records]
  # A record every five steps, an evaluation every three, and both at the end.
  logged = [(5, True), (10, True), (12, True)]
  seen = [(3, False), (6, False), (9, False), (12, False)]
  assert sorted(kinds) == sorted(logged + seen)
  assert records[1]['train/loss'] > records[-2]['train/loss']
  names = {p.name for p in (unbroken / 'checkpoints').iterdir()}
  assert names == {'8', '12'}
  assert load_params(unbroken).config == toy.EXPERIMENT


def test_the_time_of_a_run_is_recorded(unbroken):
  (events,) = goodput.read(unbroken)
  # An evaluation every three steps, and a save every four and at the end.
  kinds = [e['event'] for e in events if e['event'] != 'steps']
  assert kinds == [
    *('start', 'prepare', 'restore', 'compile', 'evaluate', 'save'),
    *('evaluate', 'save', 'evaluate', 'save', 'evaluate'),
  ]
  ranges = [(e['first'], e['last']) for e in events if e['event'] == 'steps']
  assert [step for a, b in ranges for step in range(a, b + 1)] == [
    *range(1, 13)
  ]
  times = [e['time'] for e in events]
  assert times == sorted(times)


def test_an_evaluator_without_an_interval_does_not_run(tmp_path):
  waiting = toy.Sampler()
  waiting.every = 0
  toy.train(tmp_path, steps=3, evaluators=[waiting])
  assert not any('eval/first' in line for line in toy.records(tmp_path))


def test_a_record_is_the_mean_of_its_steps(tmp_path, unbroken):
  toy.train(tmp_path, config=TrainConfig(steps=12, log_every=1))
  losses = [line['train/loss'] for line in toy.records(tmp_path)]
  means = {
    line['step']: line['train/loss']
    for line in toy.records(unbroken)
    if 'train/loss' in line
  }
  assert means == {
    5: pytest.approx(np.mean(losses[:5]), rel=1e-12),
    10: pytest.approx(np.mean(losses[5:10]), rel=1e-12),
    12: pytest.approx(np.mean(losses[10:]), rel=1e-12),
  }


@pytest.mark.parametrize(
  'number', [signal.SIGTERM, signal.SIGHUP, signal.SIGINT]
)
@pytest.mark.parametrize('at', [0, 6])
def test_a_signal_saves_and_the_run_resumes_unchanged(
  tmp_path, unbroken, number, at, capsys
):
  def hit(start):
    for step, batch in enumerate(toy.batches(start), start):
      if step == at:
        os.kill(os.getpid(), number)
      yield batch

  sampler = [toy.Sampler()]
  code = toy.train(tmp_path, stream=hit, evaluators=sampler)
  assert code == loop.PREEMPTED == 75
  assert f'saved after step {at + 1} of 12' in capsys.readouterr().err
  assert load_params(tmp_path).step == at + 1
  assert toy.train(tmp_path, evaluators=sampler) == loop.FINISHED
  assert f'after step {at + 1}.' in capsys.readouterr().err
  _assert_same_run(tmp_path, unbroken)


@pytest.mark.slow
@pytest.mark.unoptimized
def test_a_run_moves_over_devices(tmp_path, unbroken):
  def hit(stop):
    def stream(start):
      for step, batch in enumerate(toy.batches(start), start):
        if step == stop:
          os.kill(os.getpid(), signal.SIGTERM)
        yield batch

    return stream

  plan = [(8, 2), (4, 5), (1, 8), (8, -1)]
  for devices, stop in plan:
    config = sharding.MeshConfig(data=1, fsdp=min(devices, 4), tensor=-1)
    mesh = sharding.make_mesh(config, devices=jax.devices()[:devices])
    code = toy.train(tmp_path, stream=hit(stop), mesh=mesh)
    assert code == (loop.PREEMPTED if stop > 0 else loop.FINISHED)
  one, two = (
    {r['step']: r['train/loss'] for r in toy.records(f) if 'train/loss' in r}
    for f in (tmp_path, unbroken)
  )
  assert list(one) == [5, 10, 12]
  assert one == pytest.approx(two, rel=1e-5)


def test_a_signal_cuts_an_evaluation_short(tmp_path):
  sampler = toy.Sampler(at=6, number=signal.SIGTERM)
  assert toy.train(tmp_path, evaluators=[sampler]) == loop.PREEMPTED
  assert load_params(tmp_path).step == 7
  last = toy.records(tmp_path)[-1]
  # The value being computed is kept; the following ones are skipped.
  assert last['step'] == 6
  assert 'eval/second' in last and 'eval/third' not in last


def test_the_last_evaluation_is_finished_on_the_next_start(
  tmp_path, unbroken, capsys
):
  first = toy.Sampler()
  second = toy.Sampler(at=12, number=signal.SIGTERM)
  samplers = [first, second]
  assert toy.train(tmp_path, evaluators=samplers) == loop.PREEMPTED
  assert 'Run the same command to finish it' in capsys.readouterr().err
  assert load_params(tmp_path).step == 12
  # A process that is killed while it replaces a file leaves a folder.
  left = tmp_path / '.evaluation_pending.json.part-0a1b2c3d'
  left.mkdir()
  again = [_Counted(), _Counted()]
  assert toy.train(tmp_path, evaluators=again) == loop.FINISHED
  assert 'Finishing the evaluation of step 12' in capsys.readouterr().err
  assert [sampler.steps for sampler in again] == [[], [12]]
  assert not left.exists()
  evaluated = [
    line
    for line in toy.records(tmp_path)
    if line['step'] == 12 and 'eval/third' in line
  ]
  assert len(evaluated) == 2
  assert evaluated[0] == toy.records(unbroken)[-1]
  assert toy.train(tmp_path, evaluators=again) == loop.FINISHED
  assert [sampler.steps for sampler in again] == [[], [12]]


class _Counted(toy.Sampler):
  def __init__(self):
    super().__init__()
    self.steps = []

  def run(self, step, state):
    self.steps.append(step)
    yield from super().run(step, state)


def test_a_crash_loses_only_the_steps_since_the_checkpoint(tmp_path, unbroken):
  def broken(start):
    for step, batch in enumerate(toy.batches(start), start):
      if step == 6:
        raise OSError('the disk with the clips is gone')
      yield batch

  sampler = [toy.Sampler()]
  with pytest.raises(OSError, match='is gone'):
    toy.train(tmp_path, stream=broken, evaluators=sampler)
  assert load_params(tmp_path).step == 4
  assert toy.train(tmp_path, evaluators=sampler) == loop.FINISHED
  _assert_same_run(tmp_path, unbroken)
  found = goodput.measure(goodput.read(tmp_path))
  assert (found.starts, found.steps, found.lost) == (2, 12, 2)


def _by_hand(batches):
  """Apply the steps of some batches, by number, and of no others."""
  task, optim = toy.ToyTask(), toy.OPTIM
  mesh = sharding.make_mesh(sharding.MeshConfig(), devices=jax.devices()[:1])
  optimizer = make_optimizer(optim, steps=12, params=boxed_params(task))
  root = rngs.root(3)
  with jax.set_mesh(mesh):
    abstract = abstract_state(task, optimizer, mesh)
    state = create_state(task, optimizer, abstract, rngs.stream(root, 'init'))
    step = jax.jit(make_step(task, optimizer, ema_decay=optim.ema_decay))
    for number in range(12):
      if number in batches:
        state, _ = step(state, toy.batch(number), root, task.frozen)
      else:
        state = state.replace(step=state.step + 1)
  return state


def _spoiled(*bad):
  def stream(start):
    step = start
    while True:
      yield toy.batch(step, spoil_at=step if step in bad else -1)
      step += 1

  return stream


def test_a_gradient_that_is_not_finite_skips_exactly_one_step(tmp_path, caplog):
  # A checkpoint is written after that step.
  assert toy.train(tmp_path, stream=_spoiled(7)) == loop.FINISHED
  assert 'Step 8 is not finite (average' not in caplog.text
  assert re.findall('Step 8 .*It is skipped', caplog.text)
  assert caplog.text.count('is skipped') == 1
  expected = _by_hand(set(range(12)) - {7})
  for item in ('params', 'ema'):
    found = load_params(tmp_path, item=item).params
    jax.tree.map(np.testing.assert_array_equal, found, getattr(expected, item))
  shares = {r['step']: r['train/nonfinite'] for r in toy.records(tmp_path)}
  assert shares == {5: 0.0, 10: 0.2, 12: 0.0}
  assert all(np.isfinite(r['train/loss']) for r in toy.records(tmp_path))


def test_a_range_of_bad_batches_is_skipped_the_same_way_twice(tmp_path):
  for name in ('a', 'b'):
    # In the second run the state is lost in between.
    extra = [Corrupting(8)] if name == 'b' else [toy.Sampler()]
    folder = tmp_path / name
    toy.train(folder, stream=_spoiled(5, 6, 8), evaluators=extra)
  _assert_same_run(tmp_path / 'a', tmp_path / 'b')


def test_many_steps_that_are_not_finite_stop_the_run(tmp_path):
  bad = _spoiled(*range(6, 40))
  with pytest.raises(FloatingPointError, match=r'Step 17 .*\(loss, spoil'):
    toy.train(tmp_path, steps=30, stream=bad)
  # The steps before are kept.
  assert load_params(tmp_path).step == 16


class Corrupting(toy.Sampler):
  """Overwrite a parameter in memory at a step, as a defective chip might."""

  def __init__(self, at, item='params', often=False):
    super().__init__()
    self.broken_at, self.item, self.often = at, item, often
    self.every = 1

  def run(self, step, state):
    if step % toy.Sampler.every == 0:
      yield from super().run(step, state)
    if step == self.broken_at:
      self.broken_at = step if self.often else -1
      leaf = getattr(state, self.item)['bias']
      nan = np.float32(np.nan).tobytes()
      ctypes.memmove(leaf.unsafe_buffer_pointer(), nan, 4)


@pytest.mark.parametrize(('at', 'item'), [(1, 'ema'), (6, 'params')])
def test_a_state_that_is_not_finite_is_rolled_back(
  tmp_path, unbroken, at, item, caplog, capsys
):
  evaluators = [Corrupting(at, item)]
  assert toy.train(tmp_path, evaluators=evaluators) == loop.FINISHED
  assert f'not finite before step {at + 1}' in caplog.text
  back = {1: 0, 6: 4}[at]
  assert f'Repeating the steps after step {back}' in capsys.readouterr().err
  found = goodput.measure(goodput.read(tmp_path))
  assert (found.starts, found.steps, found.lost) == (1, 12, at + 1 - back)
  _assert_same_run(tmp_path, unbroken)


def test_a_lost_state_is_dropped_before_another_is_read(tmp_path, monkeypatch):
  """A large state fits the memory once."""
  held, told = [], []

  class Counting(loop.Checkpoints):
    def restore(self, abstract):
      shape = abstract.params['kernel'].shape
      gc.collect()
      held.append(sum(x.shape == shape for x in jax.live_arrays()))
      told.append(waits[-1])
      return super().restore(abstract)

  waits = []

  class Telling(loop.Watchdog):
    def wait_for(self, what):
      waits.append(what)
      super().wait_for(what)

  monkeypatch.setattr(loop, 'Checkpoints', Counting)
  monkeypatch.setattr(loop, 'Watchdog', Telling)
  toy.train(tmp_path, steps=3, evaluators=[Corrupting(1)])
  assert held == [held[0]] * 2
  assert told == ['the last checkpoint to be read'] * 2


def test_a_state_that_is_lost_again_stops_the_run(tmp_path):
  with pytest.raises(FloatingPointError, match=r'Step 7 .*parameter_norm'):
    toy.train(tmp_path, evaluators=[Corrupting(6, often=True)])
  assert load_params(tmp_path).step == 4


def test_a_finished_run_is_not_changed(unbroken, capsys):
  before = (unbroken / 'metrics.jsonl').read_text()
  assert toy.train(unbroken, evaluators=[toy.Sampler()]) == loop.FINISHED
  assert 'All 12 steps are done' in capsys.readouterr().err
  assert (unbroken / 'metrics.jsonl').read_text() == before


def test_another_run_is_refused(unbroken):
  for change, said in (
    ({'data_fingerprint': 'other data'}, 'belongs to another run'),
    ({'experiment': {**toy.EXPERIMENT, 'seed': 4}}, 'belongs to another run'),
    ({'task': OtherFrozen()}, 'the tokens of another tokenizer'),
  ):
    with pytest.raises(ValueError, match=said):
      toy.train(unbroken, **change)


def test_files_are_written_only_by_their_own_run(tmp_path):
  files = {'config.json': b'{}', 'vocab.model': b'words'}
  toy.train(tmp_path, steps=1, files=files)
  assert {name: (tmp_path / name).read_bytes() for name in files} == files
  toy.train(tmp_path, steps=1, files={**files, 'config.json': b'{"a": 1}'})
  assert (tmp_path / 'config.json').read_bytes() == b'{"a": 1}'
  with pytest.raises(ValueError, match='belongs to another run'):
    toy.train(
      tmp_path, data_fingerprint='other data', files={'config.json': b'other'}
    )
  assert (tmp_path / 'config.json').read_bytes() == b'{"a": 1}'


class OtherFrozen(toy.ToyTask):
  frozen = {'offset': np.full((1, 12), 0.5, np.float32)}


def test_two_players_resume_bit_for_bit(tmp_path):
  def hit(start):
    for step, batch in enumerate(toy.batches(start), start):
      if step == 5:
        os.kill(os.getpid(), signal.SIGTERM)
      yield batch

  whole, stopped = tmp_path / 'whole', tmp_path / 'stopped'
  task = toy.DuelTask()
  assert toy.train(whole, task=task) == loop.FINISHED
  assert toy.train(stopped, task=task, stream=hit) == loop.PREEMPTED
  assert toy.train(stopped, task=task) == loop.FINISHED
  _assert_same_run(whole, stopped)
  # All arrays, with the optimizer state of both players.
  assert toy.content(whole, 12) == toy.content(stopped, 12)
  assert {'critic', 'scale', 'shift'} == set(
    load_params(whole, item='params').params
  )
  assert {'scale', 'shift'} == set(load_params(whole).params)


def test_evaluators_get_the_frozen_arrays(tmp_path):
  class Reader:
    every = 1

    def run(self, step, state):
      yield 'eval/frozen', float(state.frozen['offset'][0, 0])

  toy.train(tmp_path, steps=1, evaluators=[Reader()])
  assert toy.records(tmp_path)[-1]['eval/frozen'] == 0.25


def test_data_that_ends_is_an_error(tmp_path):
  def short(start):
    return iter([toy.batch(start), toy.batch(start + 1)])

  with pytest.raises(ValueError, match='ended before step 3'):
    toy.train(tmp_path, stream=short)


def test_writers_and_data_are_closed(tmp_path):
  closed = []

  class Stream:
    def __init__(self, start):
      self._batches = toy.batches(start)

    def __iter__(self):
      return self

    def __next__(self):
      return next(self._batches)

    def close(self):
      closed.append('stream')

  class Recorder:
    def rewind(self, step):
      closed.append(f'rewound to {step}')

    def write(self, step, values):
      closed.append(f'wrote {step}')

    def close(self):
      closed.append('writer')

  toy.train(tmp_path, steps=2, stream=Stream, writers=[Recorder()])
  assert closed == ['rewound to 0', 'wrote 2', 'stream', 'writer']


def test_progress_shows_loss_and_speed(tmp_path, capsys):
  toy.train(tmp_path, steps=10)
  lines = [
    line
    for line in capsys.readouterr().err.splitlines()
    if line.startswith('step ')
  ]
  assert lines[0].startswith('step 5/10, ') and lines[1].startswith(
    'step 10/10'
  )
  assert 'left, loss 0.' in lines[0] and 'clips/s' in lines[0]


@pytest.mark.slow
@pytest.mark.unoptimized
@pytest.mark.parametrize('name', ['tokenizer_task', 'generator_task'])
def test_a_real_model_resumes_bit_for_bit(tmp_path, name):
  task = getattr(real, name)()

  def stream(start, *, stop_at=-1):
    step = start
    while True:
      if step == stop_at:
        os.kill(os.getpid(), signal.SIGTERM)
      yield real.batch(step)
      step += 1

  def run(folder, **kwargs):
    config = TrainConfig(steps=5, log_every=2, checkpoint_every=2)
    return toy.train(
      tmp_path / folder,
      task=task,
      config=config,
      stream=lambda start: stream(start, **kwargs),
    )

  assert run('unbroken') == loop.FINISHED
  assert run('stopped', stop_at=2) == loop.PREEMPTED
  assert run('stopped') == loop.FINISHED
  _assert_same_run(tmp_path / 'unbroken', tmp_path / 'stopped')
