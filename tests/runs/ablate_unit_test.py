"""The commands of a unit are what the unit says, and its state is on disk."""

import dataclasses

import pytest

from phenaki_jax.cli import arguments
from phenaki_jax.cli.main import make_parser
from phenaki_jax.errors import UserError
from phenaki_jax.runs import experiment as experiment_lib
from phenaki_jax.runs.request import Request
from phenaki_jax.training.last_evaluation import LastEvaluation


@pytest.fixture(scope='module')
def unit(load_halves):
  return load_halves(seeds=1).units[1]


def _parse(argv):
  return make_parser(argv).parse_args(argv)


def test_the_training_command_trains_the_unit(unit, tmp_path):
  args = _parse(unit.train_command(tmp_path, cache=None))
  assert args.command == 'train'
  assert args.workdir == str(unit.run_dir(tmp_path))
  assert experiment_lib.resolve(args.config, args.set) == unit.experiment
  args = _parse(unit.train_command(tmp_path, cache='tokens'))
  cached = experiment_lib.resolve(args.config, args.set)
  data = dataclasses.replace(unit.experiment.data, token_cache='tokens')
  assert cached == dataclasses.replace(unit.experiment, data=data)


def test_the_evaluation_command_makes_the_request(unit, tmp_path):
  args = _parse(unit.evaluate_command(tmp_path))
  given = arguments.fields(args, Request)
  assert Request(**given) == Request(**unit.evaluation)
  assert args.model == str(unit.run_dir(tmp_path))
  assert args.out == str(unit.scores_dir(tmp_path))


def test_totals_are_those_of_all_steps(unit):
  # Six steps of two clips of three latent frames and two images, 2x2 each.
  assert unit.examples == 6 * 4
  assert unit.tokens == 6 * (2 * 3 + 2) * 4


def test_the_state_follows_the_files(
  unit, tmp_path, leave_training, leave_files
):
  assert unit.state(tmp_path) == 'new'
  leave_training(unit.run_dir(tmp_path), unit.experiment, is_done=False)
  assert unit.state(tmp_path) == 'interrupted'
  leave_training(unit.run_dir(tmp_path), unit.experiment)
  assert unit.state(tmp_path) == 'trained'
  other = tmp_path / 'other'
  leave_files(unit, other)
  assert unit.state(other) == 'finished'
  # Another evaluation of the same training is not done yet.
  more = dataclasses.replace(unit, evaluation={'prompts': 9})
  assert more.state(other) == 'trained'


def test_a_unit_that_was_killed_at_its_end_is_not_trained(
  unit, tmp_path, leave_training
):
  folder, steps = unit.run_dir(tmp_path), unit.experiment.train.steps
  leave_training(folder, unit.experiment)
  manifest = folder / 'checkpoints' / str(steps) / 'manifest.json'
  manifest.rename(folder / 'kept')
  assert unit.state(tmp_path) == 'interrupted'
  (folder / 'kept').rename(manifest)
  last = LastEvaluation(folder, step=steps)
  last.record(0)
  assert unit.state(tmp_path) == 'interrupted'
  last.finish()
  assert unit.state(tmp_path) == 'trained'


def test_a_changed_config_does_not_pass_for_the_old_one(
  unit, tmp_path, leave_files
):
  changed = dataclasses.replace(
    unit.experiment, optim=dataclasses.replace(unit.experiment.optim, b1=0.5)
  )
  leave_files(dataclasses.replace(unit, experiment=changed), tmp_path)
  with pytest.raises(UserError, match='trained with another version of'):
    unit.state(tmp_path)


def test_wandb_groups_the_units_of_a_sweep(
  unit, load_halves, tmp_path, leave_files
):
  sent = load_halves('wandb.project=stories', seeds=1).units[1]
  # It is the same unit, also if the project is named later.
  assert (sent.name, sent.label) == (unit.name, unit.label)
  leave_files(unit, tmp_path)
  assert sent.state(tmp_path) == 'finished'
  args = _parse(sent.train_command(tmp_path, cache=None))
  wandb = experiment_lib.resolve(args.config, args.set).wandb
  assert wandb == sent.experiment.wandb
  assert (wandb.project, wandb.group, wandb.name) == (
    *('stories', 'halves', unit.name),
  )
  grouped = load_halves('wandb.project=stories', 'wandb.group=night', seeds=1)
  assert grouped.units[0].experiment.wandb.group == 'night'
