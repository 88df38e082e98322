"""A diffusion model learns a word from an image, by `phenaki adapt`.

Pictures show a box or a bar of one colour, above or below. The image shows a
blue bar above; prompts ask for it below, too.
"""

import itertools
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / 'training'))

import learning  # noqa: E402

from phenaki_jax import config as config_lib  # noqa: E402
from phenaki_jax.export.bundle import write_bundle  # noqa: E402
from phenaki_jax.runs.diffusion import bundle_config, load_any  # noqa: E402
from phenaki_jax.runs.experiment import resolve_values  # noqa: E402
from phenaki_jax.sampling.config import SamplingSettings  # noqa: E402
from phenaki_jax.sampling.still_first import stills  # noqa: E402
from phenaki_jax.text.vocab import SentencePieceVocabulary  # noqa: E402
from phenaki_jax.text.words import Words  # noqa: E402
from phenaki_jax.training.diffusion_task import DiffusionTask  # noqa: E402
from phenaki_jax.training.generator_config import GeneratorTaskConfig  # noqa: E402

COLOURS = {
  'red': (255, 0, 0),
  'green': (0, 255, 0),
  'blue': (0, 0, 255),
  'white': (255, 255, 255),
}
SHAPES = {'box': 2, 'bar': 1}
PLACES = {'above': 0, 'below': 1}
KINDS = list(itertools.product(COLOURS, SHAPES, PLACES))
CAPTIONS = [f'a {" ".join(kind)}' for kind in KINDS]
VOCABULARY = SentencePieceVocabulary.learn(CAPTIONS, 40)
STEPS = 300


def _patches(colour, shape, place):
  """Return the colours of a picture of 2 x 2 patches."""
  found = np.zeros((2, 2, 3), np.uint8)
  found[PLACES[place], : SHAPES[shape]] = COLOURS[colour]
  return found


def _picture(*kind):
  return _patches(*kind).repeat(4, 0).repeat(4, 1)


def _draw(bits):
  chosen = bits.integers(0, len(KINDS), 64)
  return {
    'pixels': np.stack([_picture(*KINDS[one]) for one in chosen])[:, None],
    'text': np.stack(
      [VOCABULARY.encode_padded(CAPTIONS[one], 8) for one in chosen]
    ),
    'num_frames': np.ones(64, np.int32),
    'context_frames': np.zeros(64, np.int32),
  }


@pytest.fixture(scope='module')
def start(tmp_path_factory):
  """Train a diffusion model of the pictures, and write it as a bundle."""
  experiment = resolve_values(
    {
      'kind': 'diffusion',
      'data': {
        'sources': ({'layout': 'storyworld', 'subset': 'easy'},),
        'size': (8, 8),
        'frames': 3,
        'context_frames': 1,
      },
      'text': config_lib.to_dict(learning.TEXT),
      'diffusion': {
        'patch': 4,
        'widths': (32,),
        'head_dim': 16,
        'condition_width': 64,
      },
      'sampling': {'steps': 4, 'guidance': 0.0},
    }
  )
  task = DiffusionTask(
    config=experiment.diffusion,
    text=experiment.text,
    tokenizer=experiment.tokenizer,
    training=GeneratorTaskConfig(prediction_share=0.0),
  )
  optim = {'learning_rate': 5e-3, 'adam_learning_rate': 1e-2}
  folder = tmp_path_factory.mktemp('words') / 'start'
  write_bundle(
    folder,
    tokenizer_params=None,
    generator_params=learning.fit(
      task, _draw, STEPS, optimizer='muon', **optim
    ),
    config=bundle_config(experiment, 'pictures'),
    vocabulary=VOCABULARY.model,
    words=Words.count(CAPTIONS).to_json(),
    model_card='# pictures\n',
  )
  return folder


def _right(folder, subject, *kind):
  """Return the share of pictures of a subject that are right in each patch."""
  prompts = [f'{subject} {place}' for place in PLACES] * 8
  wanted = np.stack([_patches(*kind, place) for place in PLACES] * 8)
  made = stills(
    load_any(folder).sampler,
    prompts,
    size=(8, 8),
    seeds=range(len(prompts)),
    settings=SamplingSettings(steps=4, guidance=0.0),
  )
  colours = made.reshape(-1, 2, 4, 2, 4, 3).mean((2, 4)) > 127
  return (colours == (wanted > 0)).all((1, 2, 3)).mean()


@pytest.mark.slow
@pytest.mark.parametrize('mode', ['row', 'all'])
def test_a_new_word_draws_its_sprite_also_where_no_image_shows_it(
  start, mode, tmp_path
):
  """Before it does not; a row cannot change what known words do."""
  images, run = tmp_path / 'images', tmp_path / 'run'
  images.mkdir()
  picture = _picture('blue', 'bar', 'above')
  Image.fromarray(picture).save(images / 'a.png')
  argv = [
    *('--character', 'wug', '--like', 'blue', '--images', str(images)),
    *('--caption', 'a wug above', '--mode', mode, '--no-prior'),
    *('--model', str(start), '--out', str(run)),
  ]
  # A process of its own has one device.
  subprocess.run(
    [sys.executable, '-m', 'phenaki_jax', 'adapt', *argv], check=True
  )
  found = {
    'before': _right(start, 'a wug', 'blue', 'bar'),
    'word it starts from': _right(start, 'a blue', 'blue', 'bar'),
    'after': _right(run, 'a wug', 'blue', 'bar'),
    'red box before': _right(start, 'a red box', 'red', 'box'),
    'red box': _right(run, 'a red box', 'red', 'box'),
  }
  print(mode, found)
  assert found['before'] < 0.3, found
  assert found['word it starts from'] < 0.6, found
  assert found['after'] > 0.8, found
  assert mode == 'all' or found['red box'] == found['red box before'], found
