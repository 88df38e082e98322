"""A film saves itself by suffix and shows itself in a notebook."""

import base64
import io
import os
import re
import subprocess
import sys

import av
import numpy as np
import pytest
from PIL import Image

from phenaki_jax.errors import UserError
from phenaki_jax.media import mark
from phenaki_jax.media.contact_sheet import contact_sheet
from phenaki_jax.media.credentials import read_certificate, verify
from phenaki_jax.media.film import Film
from phenaki_jax.media.provenance import read_provenance


def make(frames, fps=8.0):
  count = len(frames)
  return Film(
    frames=frames,
    fps=fps,
    scenes=(('a star', count - 2), ('it falls', 2)),
    provenance={'seed': 7},
  )


@pytest.mark.parametrize('suffix', ['.mp4', '.gif', '.png'])
def test_every_format_is_saved_with_its_provenance(tmp_path, film, suffix):
  path = tmp_path / 'new' / f'film{suffix}'
  assert make(film()).save(str(path)) == path
  assert read_provenance(path) == {'notice': 'AI-generated', 'seed': 7}


def test_saved_files_hold_every_frame(tmp_path, film):
  made = make(film())
  with av.open(str(made.save(tmp_path / 'a.mp4'))) as container:
    assert sum(1 for _ in container.decode(video=0)) == 6
  with Image.open(made.save(tmp_path / 'a.gif')) as picture:
    assert picture.n_frames == 6


def test_sheet_has_a_row_for_each_scene(tmp_path, film):
  frames = film()
  with Image.open(make(frames).save(tmp_path / 'a.png')) as picture:
    found = np.asarray(picture)
  rows = [('1. a star', frames[:4]), ('2. it falls', frames[4:])]
  expected = contact_sheet(rows, footer='AI-generated')
  np.testing.assert_array_equal(found, expected)


def test_fast_film_is_saved_as_a_gif_with_fewer_frames(tmp_path, film):
  with Image.open(make(film(12), 120.0).save(tmp_path / 'a.gif')) as picture:
    assert picture.n_frames == 4


@pytest.mark.parametrize('suffix', ['.mp4', '.gif', '.png'])
def test_saved_files_are_signed_and_films_marked(
  tmp_path, film, signing, suffix
):
  path = tmp_path / f'a{suffix}'
  certificate = read_certificate(signing / 'signer.pem')
  saved = make(film()).save(path, certificate=certificate)
  trusted = verify(saved, trust=signing / 'root.pem')
  assert trusted == 'Trusted, signed by signer'
  if suffix == '.mp4':
    score = mark.score_film(path)
    assert mark.score_film(make(film()).save(path, marked=True)) > score + 6
  else:
    with pytest.raises(UserError, match='cannot be marked, only an MP4 can'):
      make(film()).save(path, marked=True)


def test_other_suffixes_are_refused(tmp_path, film):
  with pytest.raises(UserError, match=r'a.avi; the name must end in'):
    make(film()).save(tmp_path / 'a.avi')


def test_a_bucket_takes_images_but_no_mp4(bucket, film, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  path = make(film()).save('gs://bucket/a.gif')
  local = make(film()).save(tmp_path / 'a.gif')
  assert path.read_bytes() == local.read_bytes()
  with pytest.raises(UserError, match='save it to a local disk'):
    make(film()).save('gs://bucket/a.mp4')
  assert [one.name for one in tmp_path.iterdir()] == ['a.gif']


def test_scenes_must_cover_the_frames(film):
  with pytest.raises(ValueError, match='5 frames, but the film has 6'):
    Film(frames=film(), fps=8.0, scenes=(('a star', 5),), provenance={})


def test_notebook_gets_an_embedded_gif(film):
  html = make(film())._repr_html_()
  (data,) = re.findall(r'src="data:image/gif;base64,([^"]+)"', html)
  with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
    assert picture.n_frames == 6 and picture.height == 256


SHOW = """
import numpy as np
from phenaki_jax.media.film import Film
film = Film(
  frames=np.zeros((1, 8, 8, 3), np.uint8),
  fps=8.0,
  scenes=(('a star', 1),),
  provenance={},
)
if NOTEBOOK:
  from IPython.core.interactiveshell import InteractiveShell
  from IPython.utils.capture import capture_output
  InteractiveShell.instance()
  with capture_output() as captured:
    film.show()
  (output,) = captured.outputs
  assert 'data:image/gif' in output.data['text/html']
else:
  film.show()
"""


@pytest.mark.parametrize('notebook', [True, False])
def test_film_is_shown_in_notebooks_only(notebook, tmp_path):
  result = subprocess.run(
    [sys.executable, '-c', f'NOTEBOOK = {notebook}\n{SHOW}'],
    capture_output=True,
    text=True,
    env={**os.environ, 'IPYTHONDIR': str(tmp_path)},
  )
  assert (result.returncode == 0) == notebook, result.stderr
  assert ('use film.save' in result.stderr) != notebook
