"""Units run once, in order; stopped and failed ones run again."""

import logging
import os
import shlex
import signal
import sys
import threading
import time

import pytest

from phenaki_jax.cli import main as main_lib
from phenaki_jax.data.record_cache import CacheInfo
from phenaki_jax.errors import UserError
from phenaki_jax.runs import ablate
from phenaki_jax.runs.ablate_report import to_markdown
from phenaki_jax.runs.ablate_results import collect
from phenaki_jax.runs.ablate_sweep import load_sweep


class Phenaki:
  """Leave the files of each command, and return codes that are asked for."""

  def __init__(self, sweep, out, leave_training, leave_files, codes=None):
    self._units = {str(u.run_dir(out)): u for u in sweep.units}
    self._out = out
    self._leave = {'train': leave_training, 'evaluate': leave_files}
    self._codes = codes or {}
    self.calls = []

  def __call__(self, argv):
    args = main_lib.make_parser(argv).parse_args(argv)
    place = getattr(args, 'workdir', getattr(args, 'model', None))
    unit = self._units.get(place)
    self.calls.append((args.command, unit and (unit.label, unit.seed)))
    code = self._codes.get(self.calls[-1], 0)
    if args.command == 'encode':
      if not code:
        self._write_cache(args)
    elif args.command == 'train':
      self._leave['train'](
        unit.run_dir(self._out), unit.experiment, is_done=not code
      )
    elif not code:
      self._leave['evaluate'](unit, self._out)
    return code

  def _write_cache(self, args):
    info = CacheInfo(
      kind='tokens',
      settings={},
      details={},
      counts={'clips': 32},
      steps=args.steps,
      is_complete=True,
    )
    os.makedirs(args.out)
    with open(os.path.join(args.out, 'cache.json'), 'wb') as file:
      file.write(info.to_json())


def _write_table(sweep, out):
  """Write the report without its figures, which take seconds."""
  (out / 'report.md').write_text(to_markdown(collect(sweep, out), []))


@pytest.fixture
def make(load_halves, tmp_path, leave_training, leave_files):
  """Return a function that runs the sweep and returns the code and calls."""

  def run(codes=None, *, cached=0, seeds=2):
    sweep = load_halves(seeds=seeds)
    phenaki = Phenaki(sweep, tmp_path, leave_training, leave_files, codes)
    code = ablate.run_sweep(
      sweep, tmp_path, cached=cached, launch=phenaki, report=_write_table
    )
    return code, phenaki.calls

  return run


def _both(label, seed):
  return [('train', (label, seed)), ('evaluate', (label, seed))]


def test_every_unit_runs_once(make, caplog):
  with caplog.at_level(logging.INFO):
    code, calls = make()
  assert code == 0
  assert calls == [
    *_both('none', 0),
    *_both('half', 0),
    *_both('none', 1),
    *_both('half', 1),
  ]
  assert 'Unit 2 of 4: half, seed 0, about 0 min left.' in caplog.text
  assert make() == (0, [])
  # Another seed adds its units alone.
  assert make(seeds=3) == (0, [*_both('none', 2), *_both('half', 2)])


def test_tokens_are_encoded_before_the_first_unit_alone(make):
  code, calls = make(cached=100)
  assert code == 0
  assert calls[0] == ('encode', None)
  assert len(calls) == 1 + 2 * 4
  assert calls.count(('encode', None)) == 1


def test_a_sweep_whose_tokens_are_not_encoded_ends_at_once(make, caplog):
  code, calls = make({('encode', None): 2}, cached=100)
  assert (code, calls) == (2, [('encode', None)])
  assert 'The shared tokens were not encoded (exit code 2)' in caplog.text
  assert make({('encode', None): 75}, cached=100) == (75, [('encode', None)])
  assert make(cached=100)[0] == 0


def test_a_stopped_unit_ends_the_sweep_and_is_resumed(make, tmp_path):
  code, calls = make({('train', ('half', 0)): 75})
  assert code == 75
  assert calls[-1] == ('train', ('half', 0))
  assert '1 of 4 units are finished' in (tmp_path / 'report.md').read_text()
  code, calls = make()
  assert code == 0
  assert calls == [*_both('half', 0), *_both('none', 1), *_both('half', 1)]


@pytest.mark.parametrize('code', [-15, 143, 130])
def test_an_evaluation_that_a_signal_ends_is_repeated(make, code):
  stop = ('evaluate', ('none', 0))
  assert make({stop: code})[0] == 75
  _, calls = make()
  # The training is finished.
  assert calls[:2] == [stop, ('train', ('half', 0))]


def test_a_failed_unit_does_not_stop_the_others(make, caplog, tmp_path):
  code, calls = make({('train', ('none', 0)): 2})
  assert code == 2
  assert len(calls) == 1 + 2 * 3
  assert '1 of 4 units failed: none-seed0-' in caplog.text
  assert '3 of 4 units are finished' in (tmp_path / 'report.md').read_text()
  assert make()[1] == _both('none', 0)


def test_a_unit_that_is_finished_meanwhile_is_left_alone(
  load_halves, tmp_path, leave_files
):
  sweep = load_halves(seeds=1)
  ran = []

  def launch(argv):
    ran.append(argv[0])
    for unit in sweep.units:
      leave_files(unit, tmp_path)
    return 0

  ablate.run_sweep(
    sweep, tmp_path, cached=0, launch=launch, report=_write_table
  )
  assert ran == ['train', 'evaluate']


def test_rendered_commands_are_those_that_run(load_halves, tmp_path):
  sweep = load_halves()
  caches, lines = ablate.render(sweep, tmp_path, cached=50)
  assert len(caches) == 1 and len(lines) == 4
  ran = []
  ablate.run_sweep(
    sweep,
    tmp_path,
    cached=50,
    launch=lambda argv: ran.append(argv) or 2,
    report=_write_table,
  )
  # Each command fails, and without the tokens nothing else is run.
  assert {ablate.shell_line(argv) for argv in ran} == set(caches)
  for unit, line in zip(sweep.units, lines, strict=True):
    _, *argv = shlex.split(line)
    args = main_lib.make_parser(argv).parse_args(argv)
    again = load_sweep(args.sweep, seeds=args.seeds, overrides=args.set)
    assert again == sweep and again.only(args.unit).units == (unit,)
    assert (args.out, args.cached) == (str(tmp_path), 50)


def test_a_unit_runs_alone(
  load_halves, tmp_path, leave_training, leave_files, monkeypatch
):
  sweep = load_halves('optim.b1=0.9')
  unit = sweep.units[1]

  def run(codes=None):
    phenaki = Phenaki(sweep, tmp_path, leave_training, leave_files, codes)
    code = ablate.run_unit(sweep, unit.name, tmp_path, cached=0, launch=phenaki)
    return code, phenaki.calls

  train, evaluate = _both('half', 0)
  monkeypatch.setenv('SLURM_NTASKS', '2')
  assert run({train: 2}) == (2, [train])  # One of two in a shell of Slurm.
  assert run({evaluate: -15}) == (75, [train, evaluate])
  monkeypatch.setenv('PHENAKI_COORDINATOR', 'auto')
  with pytest.raises(UserError, match='SLURM_NTASKS is 2, but each process'):
    run()
  monkeypatch.setenv('SLURM_NTASKS', '1')
  assert run() == (0, [evaluate])
  assert run() == (0, [])
  assert [each.state(tmp_path) for each in sweep.units] == [
    *('new', 'finished', 'new', 'new')
  ]


def test_rendering_leaves_out_what_is_finished(
  load_halves, tmp_path, leave_files
):
  sweep = load_halves()
  leave_files(sweep.units[0], tmp_path)
  caches, lines = ablate.render(sweep, tmp_path, cached=0)
  assert caches == [] and len(lines) == 3
  assert not any(sweep.units[0].name in line for line in lines)


def test_a_process_has_the_exit_code_of_the_command():
  assert ablate.launch_process(['--version']) == 0
  assert ablate.launch_process(['nonsense']) == 2


def test_an_interruption_stops_the_process_and_waits(tmp_path, monkeypatch):
  saved, ready = tmp_path / 'saved', tmp_path / 'ready'
  program = tmp_path / 'program'
  program.write_text(
    f"#!/bin/sh\ntrap 'sleep 0.3; touch {saved}; exit 75' TERM\n"
    # The process that starts it must be waiting by then.
    f'sleep 1\ntouch {ready}\nwhile :; do sleep 0.05; done\n'
  )
  program.chmod(0o755)
  monkeypatch.setattr(sys, 'executable', str(program))

  def interrupt():
    while not ready.exists():
      time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGINT)

  thread = threading.Thread(target=interrupt)
  thread.start()
  assert ablate.launch_process(['train']) == 75
  assert saved.exists()
  thread.join()
