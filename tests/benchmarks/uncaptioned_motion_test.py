"""Motions of a law that no caption tells, in data and as they are measured."""

import dataclasses
import pathlib
import sys

import numpy as np
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / 'benchmarks'))

import uncaptioned_motion  # noqa: E402

from phenaki_jax.data.config import DataConfig, SourceConfig  # noqa: E402
from phenaki_jax.data.pipeline import Pipeline  # noqa: E402
from phenaki_jax.sampling.config import SamplingSettings  # noqa: E402
from phenaki_jax.storyworld import (  # noqa: E402
  Facts,
  Scene,
  parse,
  read_clip,
  render_clip,
)

MOTIONS = uncaptioned_motion.MOTIONS


@dataclasses.dataclass
class Renderer:
  """Renders what prompts ask, with the motion of the shape, or with another."""

  obeys: bool

  def clips(self, prompts, *, size, **options):
    del options
    made = []
    for prompt in prompts:
      known = Facts(**{'colour': 'red', **parse(prompt)})
      motion = MOTIONS[known.shape] if self.obeys else 'down'
      scene = Scene(facts=known.replace(motion=motion))
      made.append(render_clip(scene, 9, size, 8))
    return np.stack(made)


@pytest.mark.parametrize('obeys', [True, False])
def test_the_oracle_tells_whether_the_motion_is_that_of_the_shape(obeys):
  found = uncaptioned_motion.measure(
    Renderer(obeys=obeys),
    size=(32, 32),
    fps=8.0,
    settings=SamplingSettings(),
    prompts=6,
  )
  assert found.right == 1 and found.moving == obeys
  table = uncaptioned_motion.to_markdown({'two stages': found})
  assert f'| two stages | 6 | 1.00 | {obeys:.2f} |' in table


def test_the_motion_of_the_clips_is_that_of_their_shape(tmp_path):
  manifest = uncaptioned_motion.write_data(tmp_path, clips=6, images=4)
  source = SourceConfig(layout='manifest', path=str(manifest))
  pipeline = Pipeline(
    DataConfig(
      sources=(source,),
      size=(32, 32),
      batch_size=8,
      image_share=0.25,
      clip_captions=False,
      heldout_share=0.0,
      num_threads=0,
    ),
    lambda caption: np.array([1 + len(caption)]),
    tubelet=2,
    text_length=1,
  )
  batch = pipeline.batch(0)
  assert (batch['clips']['text'] == 1).all()
  assert (batch['images']['text'] > 1).all()
  shapes = set()
  for clip in batch['clips']['pixels']:
    read = read_clip(clip, subset=uncaptioned_motion.SUBSET, fps=8).values
    assert read['motion'] == MOTIONS[read['shape']]
    shapes.add(read['shape'])
  assert shapes == set(MOTIONS)
