"""Evaluate a story model with the StoryWorld oracle, and write the report."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import jax
from etils import epath

import phenaki_jax
from phenaki_jax import progress
from phenaki_jax.errors import UserError
from phenaki_jax.evaluation import (
  storyworld,
  storyworld_report,
  storyworld_stories,
)
from phenaki_jax.evaluation.storyworld import Setup
from phenaki_jax.files.atomic import replace_file
from phenaki_jax.media.png import write_png
from phenaki_jax.runs.model import Model
from phenaki_jax.storyworld import subset_named

_POSITIVE = ('scenes', 'image_only_prompts', 'batch_size')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
  """What to evaluate.

  Attributes:
    prompts: number of clips of single prompts; 0 for none.
    split: combinations of facts in these prompts: 'heldout', 'train' or 'all'.
    stories: number of stories; 0 for none.
    scenes: number of scenes in each story.
    image_only: whether to make clips of concepts that only images show.
    image_only_prompts: number of clips of each such concept.
    subset: part of StoryWorld; None for the one the model was trained on.
    settings: sampling settings that replace the defaults of the model.
    seed: of prompts and samples.
    batch_size: clips sampled at once; it changes no number.
  """

  prompts: int = 200
  split: str = 'heldout'
  stories: int = 20
  scenes: int = 8
  image_only: bool = False
  image_only_prompts: int = 20
  subset: str | None = None
  settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  seed: int = 0
  batch_size: int = 16

  def __post_init__(self) -> None:
    """Validate the counts."""
    for name in ('prompts', 'stories', 'seed', *_POSITIVE):
      least, value = int(name in _POSITIVE), getattr(self, name)
      if value < least:
        raise UserError(f'{name} is {value}; it must be at least {least}')
    if not (self.prompts or self.stories or self.image_only):
      raise UserError(
        'there is nothing to evaluate; set prompts, stories or image_only'
      )


def evaluate(model: Model, request: Request) -> storyworld_report.Report:
  """Evaluate a model, with a progress bar for each part of the request.

  Raises:
    UserError: the model was not trained on StoryWorld and the request names no
      subset, or the subset or a setting does not exist.
  """
  setup = _setup(model, request)
  protocol = _protocol(model, request, setup)
  reports: dict[str, Any] = {}

  def add(name: str, report: Any, total: int, **options: Any) -> None:
    desc = name.replace('_', '-')
    with progress.bar(total=total, unit='example', desc=desc) as bar:
      options['on_done'] = bar.update
      reports[name] = report(model.sampler, setup, **options)

  if count := request.prompts:
    report = storyworld.report_clips
    add('clips', report, count, prompts=count, split=request.split)
  if count := request.stories:
    names = ('stories', 'scenes', 'frames_per_scene', 'context_frames')
    counts = {name: protocol[name] for name in names}
    add('stories', storyworld_stories.report_stories, count, **counts)
  if request.image_only:
    count = request.image_only_prompts
    total = count * len(storyworld.image_only_values(setup.subset))
    add('image_only', storyworld.report_image_only, total, prompts=count)
  return storyworld_report.Report(protocol=protocol, **reports)


def write_report(
  report: storyworld_report.Report, folder: epath.PathLike
) -> list[epath.Path]:
  """Write tables, numbers and contact sheets, and return their paths."""
  folder = epath.Path(folder)
  numbers = json.dumps(storyworld_report.to_json(report), indent=2) + '\n'
  paths = [folder / 'storyworld.md', folder / 'storyworld.json']
  replace_file(paths[0], storyworld_report.to_markdown(report).encode())
  replace_file(paths[1], numbers.encode())
  for name, sheet in storyworld_report.sheets(report):
    paths.append(folder / f'{name}.png')
    write_png(paths[-1], sheet, provenance=report.protocol)
  return paths


def _setup(model: Model, request: Request) -> Setup:
  subset = request.subset or model.subset
  if not subset:
    raise UserError(
      f'{model.name} was not trained on StoryWorld, which is all that the '
      'oracle reads; name a subset to evaluate it anyway'
    )
  return Setup(
    subset=subset_named(subset),
    size=model.defaults.size,
    fps=model.defaults.fps,
    settings=dataclasses.replace(model.defaults.settings, **request.settings),
    seed=request.seed,
    batch_size=request.batch_size,
  )


def _protocol(model: Model, request: Request, setup: Setup) -> dict[str, Any]:
  """Return everything that the numbers depend on."""
  asked = ('split', 'prompts', 'stories', 'scenes')
  clip_frames = model.sampler.clip_frames
  context_frames = model.defaults.context_frames
  return {
    'model': model.name,
    'fingerprint': model.fingerprint,
    'subset': setup.subset.name,
    **{name: getattr(request, name) for name in asked},
    # Scenes are two windows long.
    'frames_per_scene': 2 * (clip_frames - context_frames),
    'image_only_prompts': request.image_only * request.image_only_prompts,
    'seed': setup.seed,
    'size': list(setup.size),
    'clip_frames': clip_frames,
    'context_frames': context_frames,
    'fps': setup.fps,
    'settings': dataclasses.asdict(setup.settings),
    'phenaki_jax': phenaki_jax.__version__,
    'jax': jax.__version__,
    'platform': jax.default_backend(),
  }
