"""Teach the StoryWorld reference a new word, and measure what it then draws.

Five images show one sprite, with captions that call it a `wug`. Then prompts
with the word ask for it in motion, which no image shows, and prompts with known
words ask for other sprites. Each line is the share of the clips in which the
oracle finds the sprite (colour and shape), the motion and the place, and all of
them. About two minutes of a CPU for the row, and four for the model.

    python benchmarks/adapt.py --colour blue --shape triangle --like blue
    python benchmarks/adapt.py --mode all --like blue
"""

import argparse
import itertools
import pathlib
import tempfile

import numpy as np
from PIL import Image

from phenaki_jax.evaluation.storyworld import StoryWorld
from phenaki_jax.runs.adapt import Adaptation, adaptation
from phenaki_jax.runs.model import Model
from phenaki_jax.runs.open import load
from phenaki_jax.runs.train import train
from phenaki_jax.storyworld import Facts, Scene, render_clip, subset_named

WORD = 'wug'
PLACES = {'grass': 'on grass', 'sand': 'on sand', 'night': 'at night'}
MOTIONS = ('left', 'right', 'up', 'down')
# The places and the centres of the sprite in the five images.
SHOWN = (
  *(('grass', 0.25, 0.5), ('sand', 0.5, 0.25), ('night', 0.75, 0.5)),
  *(('grass', 0.5, 0.75), ('sand', 0.25, 0.25)),
)


def write_images(folder: pathlib.Path, *, colour: str, shape: str) -> None:
  """Write five images of a sprite, with captions that name it by the word."""
  folder.mkdir(parents=True, exist_ok=True)
  for number, (place, x, y) in enumerate(SHOWN):
    facts = Facts(shape=shape, colour=colour, motion=None, place=place)
    frame = render_clip(Scene(facts=facts, x=x, y=y), 1, 64)[0]
    Image.fromarray(frame).save(folder / f'{number}.png')
    (folder / f'{number}.txt').write_text(f'a {WORD} {PLACES[place]}')


def shares(
  model: Model, subject: str, *, colour: str, shape: str, clips: int
) -> dict[str, float]:
  """Return the shares of clips with the sprite, its motion and its place.

  Args:
    model: a model of StoryWorld.
    subject: how the prompts name the sprite, such as 'a wug'.
    colour: of the sprite.
    shape: of the sprite.
    clips: number of prompts.
  """
  world = StoryWorld(subset=subset_named('easy'))
  asked = list(itertools.product(MOTIONS, PLACES))
  asked = [asked[(5 * number) % len(asked)] for number in range(clips)]
  frames = model.sampler.clips(
    [f'{subject} moving {motion} {PLACES[place]}' for motion, place in asked],
    size=model.data.size,
    seeds=list(range(clips)),
    settings=model.defaults.settings,
  )
  found = []
  for clip, (motion, place) in zip(frames, asked, strict=True):
    read = {fact: one.value for fact, one in world.read(clip).facts.items()}
    sprite = read['colour'] == colour and read['shape'] == shape
    is_right = read['motion'] == motion, read['place'] == place
    found.append((sprite, *is_right, sprite and all(is_right)))
  names = ('sprite', 'motion', 'place', 'all')
  return dict(zip(names, np.mean(found, 0).tolist(), strict=True))


def main() -> None:
  """Adapt the reference, and print all shares."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--colour', default='blue')
  parser.add_argument('--shape', default='triangle')
  parser.add_argument('--like', default='')
  parser.add_argument('--mode', default='row', choices=('row', 'all'))
  parser.add_argument('--clips', type=int, default=24)
  parser.add_argument('--set', action='append', default=[])
  args = parser.parse_args()
  sprite = {'colour': args.colour, 'shape': args.shape}
  known = ({'colour': 'red', 'shape': 'circle'}, sprite)
  with tempfile.TemporaryDirectory() as folder:
    images, run = pathlib.Path(folder) / 'images', pathlib.Path(folder) / 'run'
    write_images(images, **sprite)
    request = Adaptation(
      character=WORD, like=args.like, images=str(images), mode=args.mode
    )
    train(adaptation(request, run, args.set), run)
    models = {'before': load(), 'after': load(run)}
  for name, model in models.items():
    subjects = [(f'a {WORD}', sprite)]
    subjects += [(f'a {x["colour"]} {x["shape"]}', x) for x in known]
    for subject, facts in subjects:
      found = shares(model, subject, clips=args.clips, **facts)
      line = ', '.join(f'{key} {share:.2f}' for key, share in found.items())
      print(f'{name}, {subject}: {line}', flush=True)


if __name__ == '__main__':
  main()
