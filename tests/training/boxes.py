"""A world of boxes and bars, whose tokens, facts and captions are known.

A frame has two rows and six columns of patches, with a sprite in the middle of
one. Boxes move to the right, bars to the left, and come back at the other side.
"""

import numpy as np

from phenaki_jax.text.vocab import SentencePieceVocabulary

COLOURS = {
  'red': (255, 0, 0),
  'green': (0, 255, 0),
  'blue': (0, 0, 255),
  'white': (255, 255, 255),
}
SHAPES = {'box': 1, 'bar': -1}
ROWS, COLUMNS, FRAMES = 2, 6, 3
SIZE = (4 * ROWS, 4 * COLUMNS)
CLIPS = np.array(list(np.ndindex(4, 2, ROWS, COLUMNS)))
IS_HELD_OUT = CLIPS.sum(1) % 4 == 0


def films_of(clips):
  """Draw clips of [colour, shape, row, column], uint8 [B, T, H, W, 3]."""
  films = np.zeros((len(clips), FRAMES, ROWS, 4, COLUMNS, 4, 3), np.uint8)
  colours, steps = list(COLOURS.values()), list(SHAPES.values())
  for film, (colour, shape, row, column) in zip(films, clips, strict=True):
    for time, frame in enumerate(film):
      patch = frame[row, :, (column + steps[shape] * time) % COLUMNS]
      patch[1:3, 1 : 2 if shape else 3] = colours[colour]
  return films.reshape(len(clips), FRAMES, *SIZE, 3)


def caption_of(clip, *, has_colour=True, has_shape=True):
  """Return what is told of a clip."""
  colour = list(COLOURS)[clip[0]] if has_colour else ''
  shape = list(SHAPES)[clip[1]] if has_shape else 'one'
  return ' '.join(['a', *filter(None, [colour]), shape])


VOCABULARY = SentencePieceVocabulary.learn(
  [
    caption_of(clip, has_colour=colour, has_shape=shape)
    for clip in CLIPS
    for colour, shape in np.ndindex(2, 2)
  ],
  40,
)


def texts_of(captions):
  """Return the token ids of captions, int32 [B, 8]."""
  return np.stack([VOCABULARY.encode_padded(one, 8) for one in captions])


def draw(bits, clips=CLIPS[~IS_HELD_OUT], *, count=32, named=(0.5, 0.7)):
  """Draw clips, of whose captions shares name the colour and the shape."""
  chosen = clips[bits.integers(0, len(clips), count)]
  words = bits.random((count, 2)) < named
  return {
    'pixels': films_of(chosen),
    'text': texts_of(
      caption_of(clip, has_colour=colour, has_shape=shape)
      for clip, (colour, shape) in zip(chosen, words, strict=True)
    ),
    'num_frames': np.full(count, FRAMES, np.int32),
    'context_frames': np.zeros(count, np.int32),
  }


def kinds_of(clips):
  """Return the kind of the sprite of each clip, from 1."""
  return 1 + clips[:, 0] * len(SHAPES) + clips[:, 1]


# A clip of each kind, whose first frame has the sprite in the first patch.
EACH = CLIPS[(CLIPS[:, 2:] == 0).all(1)]
