"""The command says what a file tells."""

import sys

import numpy as np
import pytest

from phenaki_jax import storyworld
from phenaki_jax.cli.main import main
from phenaki_jax.media import mark
from phenaki_jax.media.mp4 import write_mp4


def test_metadata_credentials_and_mark_are_shown(tmp_path, capsys):
  clip = storyworld.training_clip(
    0, 1, 'easy', frames=5, size=(64, 64), fps=8, split='heldout'
  )
  path = tmp_path / 'film.mp4'
  for frames, sentence in (
    (clip.frames, 'mark: not found'),
    ([mark.embed(frame) for frame in clip.frames], 'mark: yes'),
  ):
    write_mp4(path, frames, fps=8, provenance={'seed': 7})
    assert main(['origin', str(path)]) == 0
    shown = capsys.readouterr().out
    assert '"seed": 7' in shown and 'credentials: none' in shown
    assert sentence in shown


def test_a_story_is_marked_and_signed(tiny_bundle, signing, tmp_path, capsys):
  path = tmp_path / 'story.mp4'
  given = ['--prompt', 'a red circle', '--frames', '9', '--out', str(path)]
  given += ['--model', str(tiny_bundle), '--mark']
  given += ['--certificate', str(signing / 'signer.pem')]
  assert main(['story', *given]) == 0
  trust = ['--trust', str(signing / 'root.pem')]
  capsys.readouterr()
  assert main(['origin', str(path), *trust]) == 0
  shown = capsys.readouterr().out
  assert 'credentials: Trusted, signed by signer' in shown
  assert '"prompt": "a red circle"' in shown and 'mark: yes' in shown
  for suffix in ('.gif', '.png'):
    picture = path.with_suffix(suffix)
    assert main(['origin', str(picture), *trust]) == 0
    assert 'credentials: Trusted' in capsys.readouterr().out


def test_an_edit_is_marked_and_signed(tiny_bundle, signing, tmp_path, capsys):
  path, exact = tmp_path / 'edit.mp4', tmp_path / 'edit.npy'
  np.save(tmp_path / 'a.npy', np.full((3, 64, 64, 3), 90, np.uint8))
  given = ['continue', str(tmp_path / 'a.npy'), '--frames', '2']
  given += ['--prompt', 'a red circle', '--out', str(path)]
  given += ['--model', str(tiny_bundle)]
  origin = ['--mark', '--certificate', str(signing / 'signer.pem')]
  assert main(['edit', *given]) == 0
  plain = exact.read_bytes()
  assert main(['edit', *given, *origin]) == 0
  assert exact.read_bytes() == plain  # The input of another edit.
  capsys.readouterr()
  trust = ['--trust', str(signing / 'root.pem')]
  assert main(['origin', str(path), *trust]) == 0
  shown = capsys.readouterr().out
  assert 'credentials: Trusted, signed by signer' in shown
  assert '"action": "continue"' in shown and 'mark: yes' in shown


@pytest.mark.parametrize(
  'command', [['story', '--prompt', 'a'], ['edit', 'animate', __file__]]
)
def test_a_missing_certificate_is_refused_first(command, tmp_path, capsys):
  film = tmp_path / 'film.mp4'
  origin = ['--certificate', str(tmp_path / 'absent.pem')]
  assert main([*command, '--out', str(film), *origin]) == 2
  assert 'cannot read the certificate' in capsys.readouterr().err
  assert not film.exists()


@pytest.mark.parametrize('name', ['absent.mp4', 'film.txt'])
def test_other_files_are_refused(name, tmp_path, capsys):
  (tmp_path / 'film.txt').write_text('no film')
  assert main(['origin', str(tmp_path / name)]) != 0
  assert name in capsys.readouterr().err


def test_without_the_extra_the_rest_is_shown(tmp_path, capsys, monkeypatch):
  path = tmp_path / 'film.mp4'
  clip = np.full((3, 64, 64, 3), 90, np.uint8)
  write_mp4(path, clip, fps=8, provenance={'seed': 7})
  monkeypatch.setitem(sys.modules, 'c2pa', None)  # Its import fails.
  assert main(['origin', str(path)]) == 0
  shown = capsys.readouterr().out
  assert '"seed": 7' in shown and 'mark: not found' in shown
  assert 'credentials: not checked; a C2PA manifest needs c2pa' in shown
  assert main(['origin', str(path), '--trust', 'root.pem']) != 0
  assert (
    'a C2PA manifest needs c2pa; run: pip install' in capsys.readouterr().err
  )
