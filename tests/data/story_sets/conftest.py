"""Miniatures of the published sets, written as their releases are."""

import json
import pickle
import struct
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

SPLITS = ('train', 'val', 'test')
SIDE = 16


class Python2Pickler(pickle._Pickler):
  """Writes what Python 2 wrote: every string is one of bytes."""

  dispatch = pickle._Pickler.dispatch.copy()

  def _string(self, value):
    data = value if isinstance(value, bytes) else value.encode()
    if len(data) < 256:
      self.write(b'U' + bytes([len(data)]) + data)
    else:
      self.write(b'T' + struct.pack('<i', len(data)) + data)
    self.memoize(value)

  dispatch[bytes] = dispatch[str] = _string

  def save_global(self, value, name=None):
    module = value.__module__.replace('numpy._core', 'numpy.core')
    self.write(f'c{module}\n{name or value.__name__}\n'.encode())
    self.memoize(value)


def py2_pickle(path, value):
  with open(path, 'wb') as file:
    Python2Pickler(file, 2).dump(value)


def py2_npy(path, value):
  """Write an array of objects as numpy did under Python 2."""
  array = np.empty((), object)
  array[()] = value
  if isinstance(value, list):
    array = np.empty(len(value), object)
    array[:] = value
  # Python 2 wrote long integers with an L.
  shape = ''.join(f'{n}L, ' for n in array.shape)
  header = f"{{'descr': '|O', 'fortran_order': False, 'shape': ({shape}), }}"
  header = header.encode() + b' ' * 15 + b'\n'
  with open(path, 'wb') as file:
    file.write(b'\x93NUMPY\x01\x00' + struct.pack('<H', len(header)) + header)
    Python2Pickler(file, 2).dump(array)


def frame(seed, height=SIDE, width=SIDE):
  """Draw a frame whose red, green and blue differ much."""
  pixels = np.zeros((height, width, 3), np.uint8)
  pixels[...] = (200, 20 + 3 * seed % 100, 60)
  pixels[: height // 2, : width // 2] = (250, 10, seed % 200)
  return pixels


def clip(seed, frames):
  return np.stack([frame(seed + 10 * i) for i in range(frames)])


def save(path, pixels):
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.fromarray(pixels).save(path)


def pororo(folder, *, caches=True):
  """Write 2 episodes of 6 and 15 strips; the first belongs to `train`."""
  counts = {'Pororo_1/Pororo_1_ep1/': 6, 'Pororo_2/Pororo_2_ep2/': 15}
  descriptions, labels, scenes = {}, {}, {}
  for episode, count in counts.items():
    for number in range(1, count + 1):
      key = f'{episode}{number}'
      scenes[key] = clip(len(scenes), 1 + number % 3)
      strip = scenes[key].reshape(-1, SIDE, 3)
      save(folder / f'{key}.png', strip)
      words = f'Pororo  says caf\u00e9 {number}\n in {episode}'
      descriptions[key] = [words.encode(), b'another caption']
      flags = [0.0] * 9
      flags[number % 9] = 1.0
      labels[key] = np.array(flags)
  py2_npy(folder / 'descriptions.npy', descriptions)
  py2_npy(folder / 'labels.npy', labels)
  py2_npy(folder / 'frames_counter.npy', counts)
  starts = [
    f'{episode}{number}'
    for episode, count in counts.items()
    for number in sorted(range(1, count + 1), key=str)
    if number <= count - 4
  ]
  if caches:
    first = np.array([f'{key}.png'.encode() for key in starts])
    np.save(folder / 'img_cache4.npy', first)
    after = [
      [f'{episode}/{int(number) + i}.png'.encode() for i in range(1, 5)]
      for episode, _, number in (key.rpartition('/') for key in starts)
    ]
    np.save(folder / 'following_cache4.npy', np.array(after))
  # The lists are not sorted, and of several lengths.
  py2_npy(folder / 'train_seen_unseen_ids.npy', [[1, 0], [9, 2, 3], [5, 4]])
  return SimpleNamespace(starts=starts, scenes=scenes, folder=folder)


def flintstones(folder, *, caches=True):
  """Write 2 episodes of 7 and 6 clips."""
  clips = [
    f's_0{season}_e_0{episode}_shot_{shot:03d}_{shot:03d}'
    for season, episode, count in ((1, 1, 7), (2, 4, 6))
    for shot in range(count)
  ]
  splits = {
    'train': [clips[1], clips[0], clips[7]],
    'val': [clips[2], clips[3], clips[9]],
    'test': [clips[8], *clips[4:7], *clips[10:]],
  }
  (folder / 'video_frames_sampled').mkdir(parents=True)
  names = ('Wilma', ' fred ', 'Betty', 'Mr Slate', 'policeman')
  notes, frames, labels = [], {}, {}
  for number, name in enumerate(clips):
    frames[name] = clip(number, 5)
    np.save(folder / 'video_frames_sampled' / f'{name}.npy', frames[name])
    shown = [names[number % 5], names[(number + 2) % 5]]
    notes.append(
      {
        'globalID': name,
        'description': f'{shown[0]} is in room {number}.\n',
        'characters': [
          {'entityLabel': shown[0], 'labelNPC': ''},
          {'entityLabel': 'someone', 'labelNPC': shown[1]},
        ],
      }
    )
    order = ('wilma', 'fred', 'betty', 'barney', 'dino', 'pebbles', 'mr slate')
    seen = {one.strip().lower() for one in shown}
    labels[name] = [int(one in seen) for one in order]
  text = json.dumps(splits)
  (folder / 'train-val-test_split.json').write_text(text)
  path = folder / 'flintstones_annotations_v1-0.json'
  path.write_text(json.dumps(notes[::-1]))
  if caches:
    following = {}
    for place, name in enumerate(clips):
      after = clips[place + 1 : place + 5]
      following[name] = [one for one in after if one[:9] == name[:9]]
    py2_pickle(folder / 'following_cache4.pkl', following)
    with open(folder / 'labels.pkl', 'wb') as file:
      pickle.dump({key: np.array(row) for key, row in labels.items()}, file)
  return SimpleNamespace(
    clips=clips, splits=splits, frames=frames, labels=labels, folder=folder
  )


def didemo(folder):
  """Write 2, 1 and 1 stories, one of two scenes and one without an image."""
  pictures = {}

  def story(*numbers):
    pairs = []
    for number in numbers:
      path = f'{folder.name}/images/video{number}/{number}.png'
      pictures[path] = frame(number, 12, 20)
      save(folder.parent / path, pictures[path])
      pairs.append([f'the\tdog {number}', path])
    return {'desc_to_frame': pairs, 'video': 'x.mp4'}

  lacking = story(20, 21, 22)
  (folder.parent / lacking['desc_to_frame'][1][1]).unlink()
  content = {
    'train': [story(1, 2, 3, 4), story(5, 6), story(7, 8, 9)],
    'val': [lacking, story(10, 11, 12)],
    'test': [story(13, 14, 15)],
  }
  for split, stories in content.items():
    (folder / f'{split}.json').write_text(json.dumps(stories))
  return SimpleNamespace(content=content, pictures=pictures, folder=folder)


def vist(folder):
  """Write a story per split, and three in `train` that lack something."""
  photos = {}

  def photo(number):
    name = str(7000 + number)
    if name not in photos:
      photos[name] = frame(number, 18, 24)
      path = folder / 'images' / f'{name}.jpg'
      path.parent.mkdir(parents=True, exist_ok=True)
      Image.fromarray(photos[name]).save(path, quality=98, subsampling=0)
    return name

  def sis(story, numbers):
    notes = [
      {
        'story_id': str(story),
        'photo_flickr_id': photo(number),
        'original_text': f'Then [male] saw {number} | twice.',
        'worker_arranged_photo_order': place,
        'album_id': '1',
      }
      for place, number in enumerate(numbers)
    ]
    # The order of the file is not that of the story.
    return [[note] for note in notes[2:] + notes[:2]]

  def dii(numbers):
    return [
      [{'photo_flickr_id': photo(number), 'original_text': text}]
      for number in numbers
      for text in ('A thing.', f'A large thing {number % 3}.', 'A dog')
    ]

  content = {
    'train': (
      *sis(10, (1, 2, 3, 4, 5)),
      *sis(11, (5, 4, 3, 2)),
      *sis(12, (1, 2, 3, 4, 90)),
      *sis(13, (1, 2, 3, 4, 80)),
    ),
    'val': sis(20, (11, 12, 13, 14, 15)),
    'test': sis(30, (21, 22, 23, 24, 25)),
  }
  described = {
    'train': dii((1, 2, 3, 4, 5, 90)),
    'val': dii((11, 12, 13, 14, 15)),
    'test': dii((21, 22, 23, 24, 25)),
  }
  (folder / 'images' / '7090.jpg').unlink()
  for split in SPLITS:
    for name, notes in (
      ('story-in-sequence', content[split]),
      ('description-in-isolation', described[split]),
    ):
      path = folder / name[:1] / f'{split}.{name}.json'
      path.parent.mkdir(parents=True, exist_ok=True)
      path.write_text(json.dumps({'images': [], 'annotations': list(notes)}))
  return SimpleNamespace(photos=photos, folder=folder)


@pytest.fixture(scope='session')
def releases(tmp_path_factory):
  """Return the writers of the miniatures, and one of each set."""
  root = tmp_path_factory.mktemp('releases')
  for name in ('pororo', 'flintstones', 'didemo', 'vist'):
    (root / name).mkdir()
  return SimpleNamespace(
    write_pororo=pororo,
    write_flintstones=flintstones,
    py2_pickle=py2_pickle,
    py2_npy=py2_npy,
    clip=clip,
    pororo=pororo(root / 'pororo'),
    flintstones=flintstones(root / 'flintstones'),
    didemo=didemo(root / 'didemo'),
    vist=vist(root / 'vist'),
  )
