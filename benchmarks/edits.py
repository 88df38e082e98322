"""Measure edits of held-out clips beside plain ways, and draw them.

    python benchmarks/edits.py enlarge --model runs/large --out enlarge.png
    python benchmarks/edits.py fps --model runs/edits --out fps.png
    python benchmarks/edits.py animate --model runs/edits --out animate.png
    python benchmarks/edits.py restyle --model runs/edits --out restyle.png

`enlarge` reads held-out clips of the model's own data, and makes their small
copies large again. The others are for models of StoryWorld, whose oracle reads
the results: `fps` gets every fourth frame of a clip, `animate` the first one,
and `restyle` the depth of one clip and a frame of another. Each makes what
`phenaki edit` makes of these inputs, prints a table, and draws the first clips.
A model has a few minutes of work.
"""

import argparse
import dataclasses
import pathlib
import tempfile
from collections.abc import Callable, Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import UInt8
from PIL import Image

from phenaki_jax.diffusion.enlargement import enlarge, reduce_uint8
from phenaki_jax.errors import UserError
from phenaki_jax.evaluation.reconstruction import psnr
from phenaki_jax.evaluation.storyworld import StoryWorld
from phenaki_jax.media.contact_sheet import contact_sheet
from phenaki_jax.pixels import normalise, to_uint8
from phenaki_jax.runs import experiment as experiment_lib
from phenaki_jax.runs.edit import Edit, edit
from phenaki_jax.runs.enlargement import Enlargement, enlarge_film
from phenaki_jax.runs.model import Model
from phenaki_jax.runs.open import load
from phenaki_jax.runs.pipelines import open_pipeline
from phenaki_jax.storyworld import read_depth, subset_named, training_clip
from phenaki_jax.storyworld.example import ClipExample
from phenaki_jax.types import VideoU8

TIMES = 4
IN_PLACE = 0.7  # IoU from which an object is where it should be
SEED = 5  # of the clips of StoryWorld
_SHOWN = 3  # clips of a picture
_MOVES = ('left', 'right', 'up', 'down')
Frames = UInt8[np.ndarray, '_ _ _ 3']


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
  """One way to make clips.

  Attributes:
    name: of the way.
    values: measures of each clip, by name.
    clips: the first clips, to be drawn.
  """

  name: str
  values: dict[str, list[float]]
  clips: list[np.ndarray]


def held(frames: VideoU8) -> VideoU8:
  """Show every fourth frame until the next one."""
  return frames[np.arange(len(frames)) // TIMES * TIMES]


def blended(frames: VideoU8) -> VideoU8:
  """Blend every two neighbours of every fourth frame."""
  at = np.arange(len(frames))
  first = at // TIMES * TIMES
  second = np.minimum(first + TIMES, len(frames) - 1)
  share = ((at - first) / TIMES)[:, None, None, None]
  mixed = frames[first] * (1 - share) + frames[second] * share
  return (mixed + 0.5).astype(np.uint8)


def _near(frames: VideoU8, subset: str) -> np.ndarray:
  return read_depth(frames, subset) > 127


def _overlaps(made: VideoU8, true: VideoU8, subset: str) -> np.ndarray:
  """Return `overlaps`, zeros for a clip that shows no place of the world."""
  try:
    return overlaps(made, true, subset)
  except UserError:
    return np.zeros(len(made))


def overlaps(clip: VideoU8, true: VideoU8, subset: str) -> np.ndarray:
  """Return the IoU of the objects of each frame with those of another clip."""
  a, b = _near(clip, subset), _near(true, subset)
  axes = (1, 2)
  return (a & b).sum(axes) / np.maximum((a | b).sum(axes), 1)


def moving_clips(model: Model, number: int) -> list[ClipExample]:
  """Return held-out clips of StoryWorld whose object moves straight."""
  found: list[ClipExample] = []
  index = 0
  while len(found) < number:
    clip = training_clip(
      SEED,
      index,
      model.subset,
      frames=model.data.frames,
      size=model.data.size,
      fps=model.defaults.fps,
      split='heldout',
    )
    if clip.facts.motion in _MOVES:
      found.append(clip)
    index += 1
  return found


def _edited(model: Model, folder: pathlib.Path, **request: object) -> VideoU8:
  """Make an edit as the command does; return its frames."""
  _, frames = edit(model, Edit(**request), folder / 'edit.mp4')  # type: ignore[arg-type]
  return np.load(frames)


def measure_fps(model: Model, folder: pathlib.Path, clips: int) -> list[Row]:
  """Make the frames between every fourth one, which is given."""
  ways: dict[str, Callable[[ClipExample], np.ndarray]] = {
    'hold the frame before': lambda clip: held(clip.frames),
    'blend both frames': lambda clip: blended(clip.frames),
  }

  def ours(clip: ClipExample) -> VideoU8:
    np.save(folder / 'given.npy', clip.frames[::TIMES])
    given = (str(folder / 'given.npy'),)
    return _edited(
      model,
      folder,
      action='fps',
      inputs=given,
      times=TIMES,
      prompt=clip.caption,
    )

  ways['phenaki edit fps'] = ours
  examples = moving_clips(model, clips)
  between = np.arange(model.data.frames) % TIMES > 0
  rows = [
    Row(
      name='clip, of which every fourth frame is given',
      values={},
      clips=[clip.frames for clip in examples[:_SHOWN]],
    )
  ]
  for name, way in ways.items():
    made = [way(clip) for clip in examples]
    values: dict[str, list[float]] = {'PSNR': [], 'IoU': [], 'in place': []}
    for one, clip in zip(made, examples, strict=True):
      values['PSNR'].append(_psnr(one[between], clip.frames[between]))
      iou = _overlaps(one, clip.frames, model.subset)[between]
      values['IoU'].append(float(iou.mean()))
      values['in place'].append(float((iou > IN_PLACE).mean()))
    rows.append(Row(name=name, values=values, clips=made[:_SHOWN]))
  return rows


def measure_animate(
  model: Model, folder: pathlib.Path, clips: int
) -> list[Row]:
  """Animate first frames; they and the prompts tell all that follows."""
  world = StoryWorld(subset=subset_named(model.subset), fps=model.defaults.fps)
  examples = moving_clips(model, clips)

  def ours(clip: ClipExample) -> VideoU8:
    Image.fromarray(clip.frames[0]).save(folder / 'first.png')
    return _edited(
      model,
      folder,
      action='animate',
      inputs=(str(folder / 'first.png'),),
      frames=model.data.frames - 1,
      prompt=clip.caption,
    )

  def without(clip: ClipExample) -> VideoU8:
    return model.sampler.clips(
      [clip.caption],
      size=model.data.size,
      seeds=[0],
      settings=model.defaults.settings,
    )[0]

  rows = [
    Row(name='clip', values={}, clips=[x.frames for x in examples[:_SHOWN]])
  ]
  for name, way in (
    ('prompt without the image', without),
    ('phenaki edit animate', ours),
  ):
    made = [way(clip) for clip in examples]
    values: dict[str, list[float]] = {
      key: [] for key in ('motion', 'looks', 'in place')
    }
    for one, clip in zip(made, examples, strict=True):
      read = {
        fact: found.value == getattr(clip.facts, fact)
        for fact, found in world.read(one).facts.items()
      }
      looks = read['shape'] and read['colour'] and read['place']
      values['motion'].append(float(read['motion']))
      values['looks'].append(float(looks))
      at = _overlaps(one, clip.frames, model.subset)[1:] > IN_PLACE
      values['in place'].append(float(at.mean()))
    rows.append(Row(name=name, values=values, clips=made[:_SHOWN]))
  return rows


def measure_restyle(
  model: Model, folder: pathlib.Path, clips: int
) -> list[Row]:
  """Make each clip in the looks of another one."""
  world = StoryWorld(subset=subset_named(model.subset), fps=model.defaults.fps)
  examples = moving_clips(model, 2 * clips)
  contents, made = [], []
  values: dict[str, list[float]] = {
    name: [] for name in ('IoU', 'colour', 'place', 'motion')
  }
  for number, clip in enumerate(examples[:clips]):
    content = next(
      other
      for other in examples[clips + number :] + examples
      if other.facts.colour != clip.facts.colour
      and other.facts.place != clip.facts.place
    )
    contents.append(content)
    np.save(folder / 'clip.npy', clip.frames)
    Image.fromarray(content.frames[0]).save(folder / 'content.png')
    one = _edited(
      model,
      folder,
      action='restyle',
      inputs=(str(folder / 'clip.npy'),),
      content=str(folder / 'content.png'),
      prompt='',
    )
    made.append(one)
    facts = world.read(one).facts
    iou = _overlaps(one, clip.frames, model.subset).mean()
    values['IoU'].append(float(iou))
    for name, of in (('colour', content), ('place', content), ('motion', clip)):
      wanted = getattr(of.facts, name)
      values[name].append(float(facts[name].value == wanted))
  shown = slice(0, _SHOWN)
  return [
    Row(name='clip', values={}, clips=[x.frames for x in examples[shown]]),
    Row(
      name='image of the content',
      values={},
      clips=[x.frames[:1] for x in contents[shown]],
    ),
    Row(name='phenaki edit restyle', values=values, clips=made[shown]),
  ]


def measure_enlarge(
  place: str,
  folder: pathlib.Path,
  clips: int,
  manifest: str = '',
  size: int = 0,
) -> list[Row]:
  """Make small copies of held-out clips large again.

  Args:
    place: run or bundle of super-resolution.
    folder: for files.
    clips: number of clips.
    manifest: of other clips than those of the model's data, all held out.
    size: side of the large clips; 0 for that of the model's data.
  """
  experiment = experiment_lib.read(place)
  factor = experiment.diffusion.enlarge
  data = experiment.data
  if manifest:
    data = dataclasses.replace(data, heldout_share=0.0)
  data = data.heldout(manifest)
  if size:
    data = dataclasses.replace(data, size=(size, size))
  ways: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    'pixels repeated': lambda small: small.repeat(factor, 1).repeat(factor, 2),
    'bicubic': lambda small: np.asarray(
      to_uint8(enlarge(normalise(small), factor))
    ),
  }

  def ours(small: np.ndarray) -> np.ndarray:
    np.save(folder / 'small.npy', small)
    request = Enlargement(inputs=(str(folder / 'small.npy'),))
    _, frames = enlarge_film(place, request, folder / 'large.mp4')
    return np.load(frames)

  ways['phenaki edit enlarge'] = ours
  pipeline = open_pipeline(experiment, data, None)
  originals = []
  for number in range(clips):
    part = pipeline.batch(number)['clips']
    originals.append(part['pixels'][0, : part['num_frames'][0]])
  smalls = [
    np.asarray(to_uint8(reduce_uint8(normalise(clip), factor)))
    for clip in originals
  ]
  rows = []
  for name, way in ways.items():
    made = [way(small) for small in smalls]
    found = [_psnr(a, b) for a, b in zip(made, originals, strict=True)]
    shown = [clip[:1] for clip in made[:_SHOWN]]
    rows.append(Row(name=name, values={'PSNR': found}, clips=shown))
  shown = [clip[:1] for clip in originals[:_SHOWN]]
  return [*rows, Row(name='original', values={}, clips=shown)]


def _psnr(a: np.ndarray, b: np.ndarray) -> float:
  return float(psnr(jnp.asarray(a), jnp.asarray(b)).mean())


def to_markdown(rows: Sequence[Row]) -> str:
  """Return the means over clips, with their standard errors."""
  rows = [row for row in rows if row.values]
  names = list(rows[0].values)
  lines = [
    f'| | {" | ".join(names)} |',
    '|---|' + '--:|' * len(names),
  ]
  for row in rows:
    cells = []
    for values in row.values.values():
      error = np.std(values, ddof=1) / len(values) ** 0.5
      cells.append(f'{np.mean(values):.2f} ± {error:.2f}')
    lines.append(f'| {row.name} | {" | ".join(cells)} |')
  return '\n'.join(lines) + '\n'


def picture(rows: Sequence[Row], *, min_height: int) -> np.ndarray:
  """Draw the first clips: of one frame side by side, or below each other."""
  if all(len(clip) == 1 for row in rows for clip in row.clips):
    strips = [
      (
        ', '.join(row.name for row in rows),
        [row.clips[number][0] for row in rows],
      )
      for number in range(len(rows[0].clips))
    ]
  else:
    strips = [
      (row.name, list(row.clips[number]))
      for number in range(len(rows[0].clips))
      for row in rows
    ]
  most = max(len(frames) for _, frames in strips)
  return contact_sheet(
    strips, columns=most, min_height=min_height, min_width=1, font_size=14
  )


def main(argv: Sequence[str] | None = None) -> None:
  """Make and measure one edit of held-out clips."""
  parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
  edits = {
    'fps': measure_fps,
    'animate': measure_animate,
    'restyle': measure_restyle,
  }
  parser.add_argument('action', choices=('enlarge', *edits))
  parser.add_argument('--model', required=True)
  parser.add_argument('--clips', type=int, default=16)
  parser.add_argument('--manifest', default='', help='other clips of enlarge')
  parser.add_argument('--size', type=int, default=0, help='of these clips')
  parser.add_argument('--out', type=pathlib.Path, help='picture to write')
  args = parser.parse_args(argv)
  with tempfile.TemporaryDirectory() as place:
    folder = pathlib.Path(place)
    if args.action == 'enlarge':
      rows = measure_enlarge(
        args.model, folder, args.clips, args.manifest, args.size
      )
    else:
      rows = edits[args.action](load(args.model), folder, args.clips)
  print(to_markdown(rows))
  if args.out:
    min_height = 192 if args.action == 'enlarge' else 64
    sheet = Image.fromarray(picture(rows, min_height=min_height))
    sheet.quantize(255).save(args.out, optimize=True)


if __name__ == '__main__':
  main()
