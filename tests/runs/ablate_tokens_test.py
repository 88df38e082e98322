"""One cache of tokens serves all ratios, and only what it fits."""

import pytest

from phenaki_jax.cli.main import make_parser
from phenaki_jax.data.record_cache import CacheInfo
from phenaki_jax.runs import experiment as experiment_lib
from phenaki_jax.runs.ablate_tokens import share_tokens


def _command(tokens):
  args = make_parser(tokens.command).parse_args(tokens.command)
  return args, experiment_lib.resolve(args.config, args.set)


def test_all_ratios_and_seeds_share_one_cache(load_halves, tmp_path):
  units = load_halves().units
  tokens = share_tokens(units, tmp_path, most=10**6)
  assert set(tokens) == {unit.name for unit in units}
  assert len({each.folder for each in tokens.values()}) == 1
  shared = tokens[units[0].name]
  args, experiment = _command(shared)
  assert args.tokens and args.out == str(shared.folder)
  # Clips and images in equal numbers, as many as any unit takes.
  assert experiment.data.batch_size == 64
  assert experiment.data.image_share == 0.5
  assert args.steps * 32 >= 24 > (args.steps - 1) * 32


def test_rows_for_a_mesh_do_not_change_the_cache(load_halves, tmp_path):
  units = load_halves('data.row_multiple=8').units
  tokens = share_tokens(units, tmp_path, most=10**6)[units[0].name]
  _, experiment = _command(tokens)
  assert experiment.data.row_multiple == 1
  assert experiment.data.batch_size == 64
  # Eight rows, in which three images are packed.
  assert units[1].composition.counts == {'clips': 6, 'images': 6}
  assert units[1].examples == units[1].experiment.train.steps * 12


def test_at_most_so_many_examples_are_encoded(load_halves, tmp_path):
  units = load_halves('optim.b1=0.9').units
  (unit, *_) = units
  for most, steps in ((1, 1), (24, 1), (10**6, 1)):
    args, _ = _command(share_tokens(units, tmp_path, most=most)[unit.name])
    assert args.steps == steps


@pytest.mark.parametrize(
  'override', ['data.seed=1', 'data.fps=4', 'task.reencoded_context=0.5']
)
def test_other_examples_have_another_cache(load_halves, tmp_path, override):
  folders = [
    share_tokens(sweep.units, tmp_path, most=9)[sweep.units[0].name].folder
    for sweep in (load_halves(), load_halves(override))
  ]
  assert folders[0] != folders[1]


def test_units_of_clips_alone_encode_clips_alone(load_halves, tmp_path):
  unit = load_halves(seeds=1).units[0]
  tokens = share_tokens([unit], tmp_path, most=10**6)[unit.name]
  _, experiment = _command(tokens)
  assert experiment.data.image_share == 0
  assert experiment.data.batch_size == 32


def test_a_cache_counts_when_it_is_complete_and_large_enough(
  load_halves, tmp_path
):
  units = load_halves().units
  tokens = share_tokens(units, tmp_path, most=100)[units[0].name]
  assert not tokens.is_written()
  tokens.folder.mkdir(parents=True)
  for complete, steps, is_written in (
    (False, 1, False),
    (True, 0, False),
    (True, 1, True),
    (True, 2, True),
  ):
    info = CacheInfo(
      kind='tokens',
      settings={},
      details={},
      counts={'clips': 32},
      steps=steps,
      is_complete=complete,
    )
    (tokens.folder / 'cache.json').write_bytes(info.to_json())
    assert tokens.is_written() == is_written
