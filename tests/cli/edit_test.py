import numpy as np
import pytest
from PIL import Image

from phenaki_jax.cli.main import main
from phenaki_jax.media.provenance import read_provenance


def _edit(bundle, *flags):
  call = ['--model', str(bundle), '--prompt', 'a red circle', '--steps', '2']
  return main(['edit', *flags, *call])


def test_an_image_is_animated_and_the_film_continued(tiny_bundle, tmp_path):
  picture = np.random.default_rng(0).integers(0, 256, (16, 16, 3))
  Image.fromarray(picture.astype(np.uint8)).save(tmp_path / 'a.png')
  film, longer = tmp_path / 'film.mp4', tmp_path / 'longer.mp4'
  flags = ['animate', str(tmp_path / 'a.png'), '--out', str(film)]
  assert _edit(tiny_bundle, *flags, '--frames', '4') == 0
  frames = np.load(film.with_suffix('.npy'))
  assert frames.shape == (5, 16, 16, 3)
  np.testing.assert_array_equal(frames[0], picture)
  edit = read_provenance(film)['edit']
  assert edit['action'] == 'animate' and edit['settings']['steps'] == 2
  flags = ['continue', str(film.with_suffix('.npy')), '--out', str(longer)]
  assert _edit(tiny_bundle, *flags, '--frames', '2') == 0
  again = np.load(longer.with_suffix('.npy'))
  np.testing.assert_array_equal(again[:5], frames)
  # A box, on the same frames.
  flags = ['fill', str(film.with_suffix('.npy')), '--out', str(longer)]
  assert _edit(tiny_bundle, *flags, '--box', '0,0,8,16') == 0
  filled = np.load(longer.with_suffix('.npy'))
  np.testing.assert_array_equal(filled[:, :, 8:], frames[:, :, 8:])
  assert (filled != frames).any()


def test_a_model_with_a_canvas_edits_by_it(ported_bundle, tmp_path):
  clip = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), np.uint8)
  np.save(tmp_path / 'a.npy', clip)
  film = tmp_path / 'film.mp4'
  flags = ['fps', str(tmp_path / 'a.npy'), '--out', str(film), '--times', '3']
  flags += ['--guidance', '0', '--time-guidance', '1']
  assert _edit(ported_bundle, *flags) == 0
  frames = np.load(film.with_suffix('.npy'))
  assert frames.shape == (7, 16, 16, 3)
  np.testing.assert_array_equal(frames[::3], clip)
  assert read_provenance(film)['edit']['settings']['time_guidance'] == 1


BAD = {
  'box': (['fill', 'a.npy'], 'fill needs --box'),
  'margins': (['extend', 'a.npy'], 'extend needs --margins'),
  'clip': (['animate', 'a.npy'], 'has 3 frames; use continue'),
  'two': (['fill', 'a.npy', 'a.npy', '--box', '0,0,8,8'], 'takes one input'),
  'name': (['continue', 'a.npy', '--out', 'b.gif'], 'must end in .mp4'),
  'array': (['continue', 'b.npy'], 'it must hold frames, uint8'),
  'absent': (['continue', 'c.mp4'], 'there is no image or clip c.mp4'),
}


@pytest.mark.parametrize(('flags', 'words'), BAD.values(), ids=BAD)
def test_bad_call_ends_in_a_sentence(
  tiny_bundle, tmp_path, monkeypatch, capsys, flags, words
):
  monkeypatch.chdir(tmp_path)
  np.save('a.npy', np.zeros((3, 16, 16, 3), np.uint8))
  np.save('b.npy', np.zeros((3, 16, 16), np.uint8))
  assert _edit(tiny_bundle, '--out', 'film.mp4', *flags) == 2
  assert words in capsys.readouterr().err
