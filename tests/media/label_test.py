"""The label changes the corner of an enlarged frame, and nothing else.

Every film that says that it is generated shows it in every frame.
"""

import ast
import pathlib

import av
import numpy as np
import pytest
from PIL import Image

import phenaki_jax
from phenaki_jax.media import label as label_lib
from phenaki_jax.media.frames import enlarge
from phenaki_jax.media.gif import write_gif
from phenaki_jax.media.label import film_frame, label
from phenaki_jax.media.mp4 import write_mp4

PACKAGE = pathlib.Path(phenaki_jax.__file__).parent
# Other packages that write films.
ENCODERS = {'cv2', 'imageio', 'imageio_ffmpeg', 'moviepy', 'skvideo'}
WORDS = {*ENCODERS, 'add_stream', 'save_all', 'film_frame'}


def test_label_is_in_the_corner_of_the_enlarged_frame():
  frame = np.full((64, 64, 3), 90, np.uint8)
  labelled = label(frame)
  assert labelled.shape == (256, 256, 3)
  rows, columns = np.nonzero((labelled != enlarge(frame, 256)).any(-1))
  assert rows.min() > 220 and columns.min() > 128
  # White letters on a dark rectangle.
  assert labelled[rows, columns].max() == 255
  assert labelled[rows, columns].min() < 30
  assert (frame == 90).all()
  assert (label(frame, text='recorded') != labelled).any()


def test_frame_that_is_narrower_than_the_text_keeps_its_size():
  frame = np.zeros((8, 6, 3), np.uint8)
  assert label(frame, min_height=1).shape == frame.shape


def test_only_generated_frames_are_labelled():
  frame = np.full((64, 64, 3), 90, np.uint8)
  for provenance in ({}, {'seed': 1}, {'notice': 'AI-generated'}):
    shown = film_frame(frame, provenance, min_height=256)
    np.testing.assert_array_equal(shown, label(frame))
    shown = film_frame(frame, provenance, min_height=256, labelled=False)
    np.testing.assert_array_equal(shown, enlarge(frame, 256))
  for provenance in (None, {'notice': 'rendered'}):
    shown = film_frame(frame, provenance, min_height=256)
    np.testing.assert_array_equal(shown, enlarge(frame, 256))


def _decoded(path):
  if path.suffix == '.mp4':
    with av.open(str(path)) as container:
      return [f.to_ndarray(format='rgb24') for f in container.decode(video=0)]
  frames = []
  with Image.open(path) as picture:
    for index in range(picture.n_frames):
      picture.seek(index)
      frames.append(np.asarray(picture.convert('RGB')))
  return frames


def _similarity(frame, shape):
  """Return the correlation of the corner of a frame with the label.

  H.264 adds a line to a frame of an odd shape.
  """
  frame = frame[: shape[0], : shape[1]]
  text = label_lib._patch('AI-generated').astype(float)
  corner = frame[-text.shape[0] :, -text.shape[1] :].astype(float)
  text, corner = (x - x.mean() for x in (text, corner))
  # A corner of one colour resembles nothing.
  scale = np.sqrt((text**2).sum() * (corner**2).sum())
  return (text * corner).sum() / scale if scale else 0.0


@pytest.mark.parametrize('size', [(48, 48), (97, 161)])
@pytest.mark.parametrize('suffix', ['.mp4', '.gif'])
def test_the_label_is_in_every_decoded_frame(tmp_path, size, suffix):
  # White and noise, which hide it best and cost the most bits.
  frames = np.random.default_rng(0).integers(0, 256, (4, *size, 3), np.uint8)
  frames[1] = 255
  write = {'.mp4': write_mp4, '.gif': write_gif}[suffix]
  shape = enlarge(frames[0], 256).shape
  values = {}
  for notice in ('AI-generated', 'rendered'):
    path = tmp_path / f'{notice}{suffix}'
    write(path, frames, fps=8, provenance={'notice': notice})
    values[notice] = [_similarity(one, shape) for one in _decoded(path)]
  assert len(values['AI-generated']) == 4
  assert min(values['AI-generated']) > 0.85
  assert np.abs(values['rendered']).max() < 0.3


def _calls(tree):
  return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


def _name(call):
  return getattr(call.func, 'attr', getattr(call.func, 'id', ''))


def test_every_film_is_written_from_finished_frames():
  encoding, finishing = set(), set()
  for path in PACKAGE.rglob('*.py'):
    text = path.read_text()
    if not any(word in text for word in WORDS):
      continue  # Parsing every file would take seconds.
    tree = ast.parse(text)
    name = path.relative_to(PACKAGE).as_posix()
    for node in ast.walk(tree):
      if isinstance(node, ast.Import):
        tops = {alias.name.partition('.')[0] for alias in node.names}
      elif isinstance(node, ast.ImportFrom):
        tops = {(node.module or '').partition('.')[0]}
      else:
        continue
      assert not tops & ENCODERS, f'{name} imports {tops & ENCODERS}'
    for call in _calls(tree):
      words = {keyword.arg for keyword in call.keywords}
      if _name(call) == 'add_stream' or 'save_all' in words:
        encoding.add(name)
      if _name(call) == 'film_frame':
        finishing.add(name)
  # PyAV and Pillow encode films here, and nowhere else.
  assert encoding == {'media/mp4.py', 'media/gif.py'} == finishing


@pytest.mark.parametrize('name', ['mp4', 'gif'])
def test_no_other_frame_reaches_an_encoder(name):
  tree = ast.parse((PACKAGE / 'media' / f'{name}.py').read_text())
  (made,) = [call for call in _calls(tree) if _name(call) == 'film_frame']
  # Pixels become pictures of PyAV or Pillow from what `film_frame` returned.
  maker = {'mp4': 'from_ndarray', 'gif': 'fromarray'}[name]
  sources = [ast.unparse(c.args[0]) for c in _calls(tree) if _name(c) == maker]
  expected = {
    'mp4': ['pixels'],
    'gif': ['np.concatenate(chosen)', 'shown(array)'],
  }[name]
  assert sources == expected
  around = [
    node
    for node in ast.walk(tree)
    if isinstance(node, ast.Assign | ast.FunctionDef) and made in ast.walk(node)
  ]
  names = {
    *(node.name for node in around if isinstance(node, ast.FunctionDef)),
    *(
      ast.unparse(node.targets[0])
      for node in around
      if hasattr(node, 'targets')
    ),
  }
  assert {'mp4': 'pixels', 'gif': 'shown'}[name] in names
