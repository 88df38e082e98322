"""A reader of characters is trained by the loop, and measured."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from phenaki_jax import config as config_lib
from phenaki_jax import sharding
from phenaki_jax.cli import main
from phenaki_jax.data.config import DataConfig
from phenaki_jax.data.story_sets.exchange import Exchange, ExchangeWriter
from phenaki_jax.data.story_sets.story import Account, Story
from phenaki_jax.errors import UserError
from phenaki_jax.evaluation.characters import score_characters
from phenaki_jax.reader.characters import CharacterReader
from phenaki_jax.reader.config import CharactersConfig, ReaderConfig
from phenaki_jax.reader.network import CharacterNetwork
from phenaki_jax.runs import assemble, characters, train
from phenaki_jax.runs.experiment import Experiment
from phenaki_jax.training.character_task import CharacterTask
from phenaki_jax.training.config import OptimConfig, TrainConfig

NAMES = ('red square', 'blue cross', 'green bar')


def draw(rng, labels):
  """Draw the characters that a frame of 16 x 16 shows, at random places."""
  frame = np.zeros((16, 16, 3), np.uint8)
  frame[...] = rng.integers(40, 160, 3)
  for shown, colour, mask in zip(
    labels,
    ((230, 20, 20), (20, 20, 230), (20, 230, 20)),
    (np.ones((5, 5)), np.eye(5) + np.eye(5)[::-1], np.ones((2, 7))),
    strict=True,
  ):
    if shown:
      height, width = mask.shape
      top, left = rng.integers(0, 16 - height), rng.integers(0, 16 - width)
      frame[top : top + height, left : left + width][mask > 0] = colour
  return frame


def write(path, numbers, *, names=NAMES, shuffled=False):
  rng = np.random.default_rng(0)
  with ExchangeWriter(path, name='shapes', characters=names) as file:
    for split, number in numbers.items():
      for index in range(number):
        labels = rng.integers(0, 2, (5, 3))
        frames = tuple(draw(rng, row)[None] for row in labels)
        if shuffled and split == 'train':
          labels = rng.integers(0, 2, (5, 3))
        story = Story(
          id=f'{split}{index}',
          split=split,
          captions=('a shape',) * 5,
          labels=tuple(map(tuple, labels.tolist())),
          load=tuple,
        )
        file.write(story, frames)
  return str(path)


def experiment(stories, **train):
  return Experiment(
    kind='reader',
    data=DataConfig(
      size=(16, 16),
      frames=1,
      batch_size=32,
      image_share=1.0,
      continuation_share=0.0,
      num_threads=0,
    ),
    reader=ReaderConfig(side=16, widths=(8, 16, 16), depth=1, features=32),
    characters=CharactersConfig(stories=stories, names=NAMES),
    optim=OptimConfig(
      optimizer='muon',
      learning_rate=5e-3,
      adam_learning_rate=5e-3,
      warmup_steps=5,
      ema_decay=0.9,
    ),
    train=TrainConfig(log_every=1, **train),
  )


def untrained(reader):
  """Return a reader with random parameters."""
  network = CharacterNetwork(reader, len(NAMES))
  frames = jnp.zeros((1, 16, 16, 3), jnp.uint8)
  shapes = jax.eval_shape(network.init, jax.random.key(0), frames)['params']
  rng = np.random.default_rng(0)
  params = jax.tree.map(
    lambda leaf: rng.normal(0, 0.5, leaf.shape).astype(np.float32),
    sharding.unbox(shapes),
  )
  return CharacterReader(config=reader, names=NAMES, params=params)


def test_a_reader_is_measured_on_the_frames_of_a_split(tmp_path):
  stories = write(tmp_path / 's.h5', {'train': 4, 'test': 2})
  given = experiment(stories, steps=2)
  reader = untrained(given.reader)
  scores = characters.measure(reader, stories)
  file = Exchange(stories)
  chosen = [s for s in file.stories(Account()) if s.split == 'test']
  found = [reader.read(np.concatenate(story.scenes())) for story in chosen]
  shown = np.concatenate([np.array(story.labels, bool) for story in chosen])
  file.close()
  assert scores == score_characters(np.concatenate(found), shown)
  assert scores.frames == 10
  other = write(tmp_path / 'o.h5', {'test': 1}, names=('a', 'b', 'c'))
  with pytest.raises(UserError, match='labels of a, b, c, but the reader'):
    characters.measure(reader, other)
  with pytest.raises(UserError, match='no stories of val'):
    characters.measure(reader, stories, split='val')


def test_a_run_learns_from_the_frames_of_its_stories(tmp_path):
  stories = write(tmp_path / 's.h5', {'train': 7})
  given = experiment(stories, steps=2)
  mesh = sharding.make_mesh(given.mesh)
  run = assemble.assemble(given, workdir=tmp_path, mesh=mesh)
  assert isinstance(run.task, CharacterTask)
  batch = run.open_pipeline(given.data).batch(0)
  assert batch['images']['labels'].shape == (32, 3)
  without = dataclasses.replace(given, characters=CharactersConfig())
  (tmp_path / 'config.json').write_text(config_lib.to_json(without))
  with pytest.raises(UserError, match='not the run of a reader of characters'):
    characters.open_reader(str(tmp_path))


@pytest.mark.slow
def test_it_learns_characters_and_nothing_from_shuffled_labels(
  tmp_path, capsys
):
  numbers = {'train': 200, 'val': 10, 'test': 40}
  scores = {}
  for shuffled in (False, True):
    stories = write(tmp_path / f'{shuffled}.h5', numbers, shuffled=shuffled)
    run = tmp_path / f'run_{shuffled}'
    assert train.train(experiment(stories, steps=300), run) == 0
    text = (run / 'metrics.jsonl').read_text()
    assert 'heldout/f1' in text and 'frame_accuracy' in text
    words = ['reader', '--reader', str(run), '--stories', stories]
    assert main.main(words) == 0
    said = capsys.readouterr().out
    assert '| 200 frames | score |' in said and 'F1 of blue cross' in said
    reader = characters.open_reader(str(run))
    scores[shuffled] = characters.measure(reader, stories)
  assert scores[False].micro_f1 > 0.95
  # All three characters of a frame are right at once.
  assert scores[False].frame_accuracy > 0.85
  # Three characters by chance: an eighth of the frames.
  assert scores[True].frame_accuracy < 0.3


@pytest.mark.parametrize('option', ['--out', '--sheets'])
def test_options_of_other_readers_are_refused(option, capsys):
  words = ['reader', '--reader', 'run', '--stories', 'a.h5', option, 'x']
  assert main.main(words) == 2
  assert (
    f'{option} is of readers of the sprite world' in capsys.readouterr().err
  )
