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
  sampler = model.sampler
  context_frames = model.defaults.context_frames
  # Two windows, which is as long as the model is asked to remember.
  frames_per_scene = 2 * (sampler.clip_frames - context_frames)

  def measure(name: str, report: Any, total: int, **options: Any) -> Any:
    with progress.bar(total=total, unit='example', desc=name) as bar:
      return report(sampler, setup, on_done=bar.update, **options)

  clips = stories = image_only = None
  if count := request.prompts:
    clips = measure(
      'clips',
      storyworld.report_clips,
      count,
      prompts=count,
      split=request.split,
    )
  if count := request.stories:
    stories = measure(
      'stories',
      storyworld_stories.report_stories,
      count,
      stories=count,
      scenes=request.scenes,
      frames_per_scene=frames_per_scene,
      context_frames=context_frames,
    )
  if request.image_only:
    count = request.image_only_prompts
    image_only = measure(
      'image-only',
      storyworld.report_image_only,
      count * len(storyworld.image_only_values(setup.subset)),
      prompts=count,
    )
  return storyworld_report.Report(
    protocol=_protocol(model, request, setup, frames_per_scene),
    clips=clips,
    stories=stories,
    image_only=image_only,
  )


def write_report(
  report: storyworld_report.Report, folder: epath.PathLike
) -> list[epath.Path]:
  """Write tables, numbers and contact sheets, and return their paths."""
  folder = epath.Path(folder)
  text = storyworld_report.to_markdown(report)
  numbers = json.dumps(storyworld_report.to_json(report), indent=2) + '\n'
  paths = [folder / 'storyworld.md', folder / 'storyworld.json']
  for path, content in zip(paths, (text, numbers), strict=True):
    replace_file(path, content.encode())
  for name, sheet in storyworld_report.sheets(report):
    paths.append(folder / f'{name}.png')
    write_png(paths[-1], sheet, provenance=report.protocol)
  return paths


def _setup(model: Model, request: Request) -> Setup:
  subset = request.subset or model.subset
  if not subset:
    raise UserError(
      f'{model.name} was not trained on StoryWorld, which is all that the '
      'oracle reads; name a subset to evaluate it nevertheless'
    )
  return Setup(
    subset=subset_named(subset),
    size=model.defaults.size,
    fps=model.defaults.fps,
    settings=dataclasses.replace(model.defaults.settings, **request.settings),
    seed=request.seed,
    batch_size=request.batch_size,
  )


def _protocol(
  model: Model, request: Request, setup: Setup, frames_per_scene: int
) -> dict[str, Any]:
  """Return everything that the numbers depend on."""
  asked = ('split', 'prompts', 'stories', 'scenes')
  return {
    'model': model.name,
    'fingerprint': model.fingerprint,
    'subset': setup.subset.name,
    **{name: getattr(request, name) for name in asked},
    'frames_per_scene': frames_per_scene,
    'image_only_prompts': request.image_only * request.image_only_prompts,
    'seed': setup.seed,
    'size': list(setup.size),
    'clip_frames': model.sampler.clip_frames,
    'context_frames': model.defaults.context_frames,
    'fps': setup.fps,
    'settings': dataclasses.asdict(setup.settings),
    'phenaki_jax': phenaki_jax.__version__,
    'jax': jax.__version__,
    'platform': jax.default_backend(),
  }
