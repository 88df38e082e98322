"""Run directories are on a local disk or in gs://; others are refused."""

import pytest

from phenaki_jax.training import checkpoint_files
from phenaki_jax.training.checkpoints import Checkpoints, load_params


@pytest.mark.parametrize('place', ['s3://bucket/run', 'http://host/run'])
def test_places_that_orbax_does_not_know_are_refused(place):
  with pytest.raises(checkpoint_files.CheckpointError, match='gs:// only'):
    Checkpoints(place, keep=1, config={}, identity={})
  with pytest.raises(checkpoint_files.CheckpointError, match=place):
    load_params(place)


def test_local_folders_and_gs_are_accepted(tmp_path):
  assert checkpoint_files.folder_of(tmp_path) == tmp_path / 'checkpoints'
  found = checkpoint_files.folder_of('gs://bucket/run')
  assert str(found) == 'gs://bucket/run/checkpoints'
