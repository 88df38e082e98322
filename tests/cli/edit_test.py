import numpy as np
import pytest
from PIL import Image

from phenaki_jax.cli.main import main
from phenaki_jax.media.mp4 import write_mp4
from phenaki_jax.media.provenance import read_provenance
from phenaki_jax.runs.footage import read_own_rate


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


def test_the_own_rate_of_a_clip_is_multiplied(ported_bundle, tmp_path):
  """The model has 8 frames per second, and the clip 2."""
  grey = np.linspace(20, 220, 5).astype(np.uint8)[:, None, None, None]
  clip = np.broadcast_to(grey, (5, 16, 16, 3))
  given, film = tmp_path / 'a.mp4', tmp_path / 'film.mp4'
  notice = {'notice': 'rendered'}
  write_mp4(given, clip, fps=2, provenance=notice, min_height=1)
  flags = ['fps', str(given), '--out', str(film), '--times', '4']
  assert _edit(ported_bundle, *flags) == 0
  frames = np.load(film.with_suffix('.npy'))
  assert frames.shape == (17, 16, 16, 3)
  assert np.abs(frames[::4].astype(int) - clip).max() < 8
  assert read_own_rate(film, size=None, fps=1).fps == pytest.approx(8)
  # An array has the rate that is given, or the model's.
  np.save(tmp_path / 'a.npy', clip)
  flags[1] = str(tmp_path / 'a.npy')
  assert _edit(ported_bundle, *flags, '--fps', '0.5') == 0
  assert read_own_rate(film, size=None, fps=1).fps == pytest.approx(2)


def _restyle(bundle, folder, name, *flags):
  call = ['--model', str(bundle), '--steps', '2', '--guidance', '0']
  film = folder / f'{name}.mp4'
  assert main(['edit', *flags, *call, '--out', str(film)]) == 0
  return np.load(film.with_suffix('.npy')), read_provenance(film)['edit']


def test_a_clip_is_restyled_by_an_image_or_a_text(ported_bundle, tmp_path):
  bits = np.random.default_rng(0)
  clip = bits.integers(0, 256, (3, 16, 16, 3), np.uint8)
  np.save(tmp_path / 'a.npy', clip)
  np.save(tmp_path / 'depth.npy', bits.random((3, 16, 16)))
  mask = np.zeros((16, 16), np.uint8)
  mask[:, :8] = 255
  Image.fromarray(mask).save(tmp_path / 'mask.png')
  films = {}
  for colour in (0, 255):
    image = np.full((16, 16, 3), colour, np.uint8)
    Image.fromarray(image).save(tmp_path / f'{colour}.png')
    flags = ['restyle', str(tmp_path / 'a.npy'), '--box', '0,0,8,16']
    flags += ['--depth', str(tmp_path / 'depth.npy')]
    flags += ['--content', str(tmp_path / f'{colour}.png')]
    films[colour], edit = _restyle(ported_bundle, tmp_path, 'film', *flags)
    assert edit['action'] == 'restyle'
    assert edit['content'].endswith(f'{colour}.png')
  assert (films[0] != films[255]).any()
  # A text is a prompt; a shorter command, and a mask in place of the box.
  flags = ['--structure', str(tmp_path / 'a.npy'), '--content', 'a red circle']
  flags += ['--mask', str(tmp_path / 'mask.png'), '--structure-level', '2']
  flags += ['--depth', str(tmp_path / 'depth.npy')]
  said, edit = _restyle(ported_bundle, tmp_path, 'said', *flags)
  assert edit['inputs'] == [str(tmp_path / 'a.npy')]
  assert edit['structure_level'] == 2
  for film in (*films.values(), said):
    np.testing.assert_array_equal(film[:, :, 8:], clip[:, :, 8:])
    assert (film[:, :, :8] != clip[:, :, :8]).any((1, 2)).all()


def test_a_clip_is_varied_by_its_middle_frame_and_the_seed(
  ported_bundle, tmp_path
):
  bits = np.random.default_rng(0)
  clip = bits.integers(0, 256, (3, 16, 16, 3), np.uint8)
  ends, middle = clip.copy(), clip.copy()
  ends[[0, 2]], middle[1] = 255 - ends[[0, 2]], 255 - middle[1]
  films = {}
  for name, frames, seed in (
    *(('clip', clip, 0), ('ends', ends, 0)),
    *(('middle', middle, 0), ('seed', clip, 1)),
  ):
    np.save(tmp_path / 'a.npy', frames)
    flags = ['vary', str(tmp_path / 'a.npy'), '--seed', str(seed)]
    films[name], _ = _restyle(ported_bundle, tmp_path, 'film', *flags)
  assert films['clip'].shape == clip.shape
  np.testing.assert_array_equal(films['ends'], films['clip'])
  for name in ('middle', 'seed'):
    assert (films[name] != films['clip']).any()


BAD = {
  'box': (['fill', 'a.npy'], 'fill needs --box'),
  'depth': (['restyle', 'a.npy'], 'shows no place of StoryWorld'),
  'canvas': (['restyle', 'a.npy', '--depth', 'd.npy'], 'reads no depth'),
  'content': (
    ['restyle', 'a.npy', '--depth', 'd.npy', '--content', 'a.npy'],
    'reads no image of the content',
  ),
  'texts': (
    ['restyle', 'a.npy', '--depth', 'd.npy', '--content', 'a blue square'],
    "--content 'a blue square' and --prompt 'a red circle' are two texts",
  ),
  'image': (
    ['restyle', 'a.npy', '--depth', 'd.npy', '--content', 'absent.png'],
    'there is no image or clip absent.png',
  ),
  'weights': (
    ['restyle', 'a.npy', '--depth', 'dpt.safetensors'],
    'Intel/dpt-large',
  ),
  'structure': (['fill', '--structure', 'a.npy'], 'takes one clip'),
  'twice': (['restyle', 'a.npy', '--structure', 'a.npy'], 'takes one clip'),
  'both': (
    ['fill', 'a.npy', '--box', '0,0,8,8', '--mask', 'a.npy'],
    'give one of them',
  ),
  'margins': (['extend', 'a.npy'], 'extend needs --margins'),
  'unread': (
    ['continue', 'a.npy', '--structure-level', '2'],
    'continue does not read --structure-level, which is for restyle',
  ),
  'frames': (
    ['fps', 'a.npy', '--frames', '4'],
    'fps does not read --frames, which is for animate and continue',
  ),
  'enlarge': (
    ['enlarge', 'a.npy', '--box', '0,0,8,8'],
    'enlarge does not read --box, which is for fill and restyle',
  ),
  'prompt': (
    ['enlarge', 'a.npy'],
    'enlarge does not read --prompt, which is for the others; leave it out',
  ),
  'vary': (
    ['vary', 'a.npy'],
    'vary does not read --prompt, which is for the others; leave it out',
  ),
  'invert': (
    [
      *('restyle', 'a.npy', '--depth', 'd.npy'),
      '--invert',
    ],
    '--invert starts from the noise of the clip, which only a diffusion model',
  ),
  'rate': (['fps', 'a.npy', '--times', '126'], 'fps is 1008.0, but must be'),
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
  np.save('d.npy', np.zeros((3, 16, 16)))
  assert _edit(tiny_bundle, '--out', 'film.mp4', *flags) == 2
  assert words in capsys.readouterr().err


def test_frames_come_between_images_and_pixels_around_a_clip(
  tiny_bundle, tmp_path
):
  clip = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), np.uint8)
  paths = [str(tmp_path / f'{number}.png') for number in range(2)]
  for path, frame in zip(paths, clip, strict=True):
    Image.fromarray(frame).save(path)
  film = tmp_path / 'film.mp4'
  flags = ['interpolate', *paths, '--out', str(film), '--between', '3']
  assert _edit(tiny_bundle, *flags) == 0
  frames = np.load(film.with_suffix('.npy'))
  assert frames.shape == (5, 16, 16, 3)
  np.testing.assert_array_equal(frames[::4], clip)
  flags = ['extend', paths[0], '--out', str(film), '--margins', '8,0,0,16']
  assert _edit(tiny_bundle, *flags) == 0
  frames = np.load(film.with_suffix('.npy'))
  assert frames.shape == (1, 32, 24, 3)
  np.testing.assert_array_equal(frames[0, :16, 8:], clip[0])
