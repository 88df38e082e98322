"""Every written file records its provenance."""

import numpy as np
import pytest
from PIL import Image

from phenaki_jax.media.gif import write_gif
from phenaki_jax.media.mp4 import write_mp4
from phenaki_jax.media.png import write_png
from phenaki_jax.media.provenance import read_provenance

PROVENANCE = {'model': 'ab' * 32, 'seed': 7, 'prompts': ['ein „Stern“', 'ж']}
FILM = np.zeros((2, 16, 24, 3), np.uint8)


def write(path, provenance):
  if path.suffix == '.png':
    write_png(path, FILM[0], provenance=provenance)
  else:
    writer = write_mp4 if path.suffix == '.mp4' else write_gif
    writer(path, FILM, fps=8, provenance=provenance)


@pytest.mark.parametrize('suffix', ['.mp4', '.gif', '.png'])
class TestProvenance:
  def test_written_provenance_is_read_back(self, tmp_path, suffix):
    path = tmp_path / f'a{suffix}'
    write(path, PROVENANCE)
    read = read_provenance(path)
    assert read == {'notice': 'AI-generated', **PROVENANCE}

  def test_long_provenance_is_kept(self, tmp_path, suffix):
    prompts = [f'scene {i}: ' + 'word ' * 40 for i in range(200)]
    path = tmp_path / f'a{suffix}'
    write(path, {'prompts': prompts})
    assert read_provenance(path)['prompts'] == prompts

  def test_notice_can_be_replaced(self, tmp_path, suffix):
    path = tmp_path / f'a{suffix}'
    write(path, {'notice': 'rendered'})
    assert read_provenance(path) == {'notice': 'rendered'}

  def test_other_files_are_refused(self, tmp_path, suffix):
    path = tmp_path / f'a{suffix}'
    path.write_bytes(b'nothing of the kind')
    with pytest.raises(ValueError, match='cannot read the provenance'):
      read_provenance(path)

  def test_values_outside_json_are_refused(self, tmp_path, suffix):
    with pytest.raises(ValueError, match='cannot be written as JSON'):
      write(tmp_path / f'a{suffix}', {'seed': np.int32(3)})
    assert not list(tmp_path.iterdir())


def test_image_without_provenance_is_refused(tmp_path):
  Image.new('RGB', (4, 4)).save(tmp_path / 'a.png')
  with pytest.raises(ValueError, match='has no provenance'):
    read_provenance(tmp_path / 'a.png')
