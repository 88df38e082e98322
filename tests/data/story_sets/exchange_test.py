"""The exchange format: AR-LDM's files, swapped colours and all, and ours."""

import io

import h5py
import numpy as np
import pytest
from PIL import Image

from phenaki_jax.data import schema
from phenaki_jax.data.story_sets.exchange import Exchange, ExchangeWriter
from phenaki_jax.data.story_sets.flintstones import Flintstones
from phenaki_jax.data.story_sets.story import Account, Story, StorySet
from phenaki_jax.data.story_sets.vist import Vist


def opencv_png(pixels):
  """Encode as `cv2.imencode` does, which takes what it is given for BGR."""
  buffer = io.BytesIO()
  Image.fromarray(np.ascontiguousarray(pixels[..., ::-1])).save(buffer, 'PNG')
  return np.frombuffer(buffer.getvalue(), np.uint8)


def write_arldm(path, stories, texts):
  """Write a file as AR-LDM's scripts do.

  `stories` gives, by split, the strips of each story; `texts` the joined
  captions of each story, by the name of the dataset.
  """
  with h5py.File(path, 'w') as file:
    for split, items in stories.items():
      group = file.create_group(split)
      for scene in range(5):
        images = group.create_dataset(
          f'image{scene}', (len(items),), h5py.vlen_dtype(np.uint8)
        )
        for row, strips in enumerate(items):
          images[row] = opencv_png(strips[scene])
      for name, rows in texts.items():
        words = group.create_dataset(
          name, (len(items),), h5py.string_dtype('utf-8')
        )
        words[:] = rows[split]


@pytest.fixture
def read(tmp_path):
  """Return a function that reads a file, closed after the test."""
  files = []

  def stories(path, **settings):
    files.append(Exchange(path, **settings))
    assert isinstance(files[-1], StorySet)
    account = Account()
    return list(files[-1].stories(account)), account

  yield stories
  for file in files:
    file.close()


def test_files_of_arldm_show_true_colours(releases, tmp_path, read):
  clips = [releases.clip(seed, 1 + seed % 3) for seed in range(15)]
  strips = [frames.reshape(-1, *frames.shape[2:]) for frames in clips]
  path = tmp_path / 'pororo.h5'
  captions = [f'Eddy caf\u00e9 {i}' for i in range(15)]
  joined = ['|'.join(captions[i : i + 5]) for i in (0, 5, 10)]
  # A separator in a caption makes one too many.
  joined[1] = joined[1].replace('Eddy', 'Eddy|Poby', 1)
  write_arldm(
    path,
    {'train': [strips[:5], strips[5:10]], 'test': [strips[10:]]},
    {'text': {'train': joined[:2], 'test': joined[2:]}},
  )
  found, account = read(path)
  assert [(story.split, story.id) for story in found] == [
    ('train', 'train_00000'),
    ('test', 'test_00000'),
  ]
  assert account.dropped == [
    {
      'split': 'train',
      'id': 'train_00001',
      'reason': 'caption_count',
      'detail': '6 captions of 5 pictures',
    }
  ]
  for story, first in zip(found, (0, 10), strict=True):
    assert story.captions == tuple(captions[first : first + 5])
    for frames, clip in zip(story.scenes(), clips[first:], strict=False):
      np.testing.assert_array_equal(frames, clip)
      assert (frames[..., 0] >= 200).all()  # The red ones stay red.


def test_photographs_are_not_cut_and_short_lists_are_dropped(
  releases, tmp_path, read
):
  # Portraits, whose height is a multiple of the width.
  photos = [releases.clip(i, 2).reshape(-1, 16, 3) for i in range(5)]
  path = tmp_path / 'vist.h5'
  write_arldm(
    path,
    {'val': [photos, photos]},
    {
      'sis': {'val': ['a|b|c|d|e', 'f|g|h|i|j']},
      # Equal descriptions were merged.
      'dii': {'val': ['k|l|m|n', 'o|p|q|r|s']},
    },
  )
  found, account = read(path, texts='dii')
  assert [story.captions for story in found] == [tuple('opqrs')]
  assert account.left_out == {('val', 'caption_count'): 1}
  assert [frames.shape for frames in found[0].scenes()] == [(1, 32, 16, 3)] * 5
  found, account = read(path)
  assert [story.captions for story in found] == [tuple('abcde'), tuple('fghij')]
  with pytest.raises(ValueError, match='has no text and image0 in val'):
    read(path, texts='text')


@pytest.mark.parametrize('name', ('flintstones', 'vist'))
def test_what_is_written_is_read_back(releases, tmp_path, read, name):
  folder = getattr(releases, name).folder
  source = Flintstones(folder) if name == 'flintstones' else Vist(folder, 'sis')
  stories = list(source.stories(Account()))
  path = tmp_path / 'stories.h5'
  with ExchangeWriter(path, name=name, characters=source.characters) as file:
    for story in stories:
      file.write(story, story.scenes())
  found, account = read(path)
  # Captions of VIST contain the separator of the joined text.
  assert found == stories and not account.dropped
  for one, other in zip(found, stories, strict=True):
    for frames, expected in zip(one.scenes(), other.scenes(), strict=True):
      np.testing.assert_array_equal(frames, expected)
  with h5py.File(path) as file:
    assert file.attrs['colour'] == 'RGB'
    assert tuple(file.attrs['characters']) == source.characters
    # AR-LDM's loader splits `text`.
    for row in file['train/text'].asstr():
      assert len(row.split('|')) == 5
    # The pictures are true for a decoder that knows of no colour trap.
    data = file['train/image0'][0].tobytes()
    strip = np.asarray(Image.open(io.BytesIO(data)))
    first = stories[0].scenes()[0]
    np.testing.assert_array_equal(strip, first.reshape(-1, *first.shape[2:]))


def test_a_failed_write_leaves_nothing(tmp_path):
  story = Story(id='s', split='train', captions=('a',), load=tuple)
  with (
    pytest.raises(RuntimeError),
    ExchangeWriter(tmp_path / 's.h5', name='x') as file,
  ):
    file.write(story, (np.zeros((1, 4, 4, 3), np.uint8),))
    raise RuntimeError
  assert not list(tmp_path.iterdir())


def test_other_files_are_refused(tmp_path, read):
  path = tmp_path / 's.h5'
  with pytest.raises(FileNotFoundError, match='there is no file'):
    read(path)
  path.write_bytes(b'x')
  with pytest.raises(ValueError, match='is not an HDF5 file'):
    read(path)
  with h5py.File(path, 'w') as file:
    file.attrs['colour'] = 'CMYK'
  with pytest.raises(ValueError, match="colours are 'CMYK'; they can be RGB"):
    read(path)
  with h5py.File(path, 'w') as file:
    file.create_group('train')
  with pytest.raises(ValueError, match='has no captions or text'):
    read(path)


def test_a_damaged_picture_is_a_decode_error(tmp_path, read):
  path = tmp_path / 's.h5'
  picture = np.zeros((20, 8, 3), np.uint8)
  write_arldm(
    path, {'train': [[picture] * 5]}, {'text': {'train': ['a|b|c|d|e']}}
  )
  (story,), _ = read(path)
  with pytest.raises(schema.DecodeError, match='uneven_strip: 8 x 20 pixels'):
    story.scenes()
