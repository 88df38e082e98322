"""Units of one folder have one tokenizer and one number of cached examples."""

import shutil

import pytest

from phenaki_jax.errors import UserError
from phenaki_jax.export import bundle
from phenaki_jax.files.digests import file_digest
from phenaki_jax.runs.ablate_shared import Shared
from phenaki_jax.runs.ablate_sweep import load_sweep
from phenaki_jax.runs.trained_tokenizer import tokenizer_digest


@pytest.fixture
def load(sweep_file, tmp_path):
  """Return a function that loads the sweep with a copy of its tokenizer."""

  def load(name='tokenizer'):
    place = tmp_path / name
    if not place.exists():
      shutil.copytree(sweep_file.parent / 'tokenizer', place)
    overrides = [f'tokenizer_dir={place}']
    return place, load_sweep(str(sweep_file), seeds=1, overrides=overrides)

  return load


def test_another_number_of_cached_examples_is_refused(
  load, tmp_path, leave_files
):
  _, sweep = load()
  for cached in (50, 60):  # No unit is of the first number yet.
    Shared.of(sweep.units, cached=cached).keep(tmp_path / 'out')
  leave_files(sweep.units[0], tmp_path / 'out')
  Shared.of(sweep.units, cached=60).keep(tmp_path / 'out')
  other = Shared.of(sweep.units, cached=50)
  sentence = '--cached is 50, but the units in .*out are of --cached 60; give'
  for call in (other.check, other.keep):
    with pytest.raises(UserError, match=sentence):
      call(tmp_path / 'out')
  other.check(tmp_path / 'elsewhere')
  assert not (tmp_path / 'elsewhere').exists()


def test_a_tokenizer_that_was_trained_again_is_refused(
  load, tmp_path, leave_files
):
  place, sweep = load()
  Shared.of(sweep.units, cached=0).keep(tmp_path / 'out')
  leave_files(sweep.units[0], tmp_path / 'out')
  # Units of another tokenizer are other units, and join the first ones.
  _, others = load('another')
  Shared.of(others.units, cached=0).keep(tmp_path / 'out')
  (place / 'checkpoints' / '1' / 'manifest.json').write_text('{"step": 1}')
  Shared.of(others.units, cached=0).keep(tmp_path / 'out')
  with pytest.raises(UserError, match='tokenizer was trained further or again'):
    Shared.of(sweep.units, cached=0).keep(tmp_path / 'out')


def test_a_folder_of_units_without_the_file_goes_on(
  load, tmp_path, leave_files
):
  _, sweep = load()
  leave_files(sweep.units[0], tmp_path)
  for cached in (60, 50):
    Shared.of(sweep.units, cached=cached).keep(tmp_path)
  assert not (tmp_path / 'shared.json').exists()


def test_a_digest_is_of_the_newest_checkpoint_or_of_the_bundle(load):
  place, _ = load()
  first = tokenizer_digest(place)
  newer = place / 'checkpoints' / '10'
  newer.mkdir()
  assert tokenizer_digest(place) == first  # It is not finished yet.
  (newer / 'manifest.json').write_text('{"step": 10}')
  assert tokenizer_digest(place) != first
  worlds = [bundle.find_model(name) for name in ('storyworld', 'lpc')]
  one, other = map(tokenizer_digest, worlds)
  assert one != other
  whole = bundle.find_model('storyworld') / 'tokenizer.safetensors'
  assert one == file_digest(whole)
