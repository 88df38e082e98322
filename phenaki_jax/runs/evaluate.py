"""Evaluate a model in the world of its data, and write the report."""

import dataclasses
import json
import logging
from collections.abc import Callable
from typing import Any

import jax
from etils import epath

import phenaki_jax
from phenaki_jax import progress
from phenaki_jax.errors import UserError
from phenaki_jax.evaluation import report as report_lib
from phenaki_jax.evaluation.changes import report_changes
from phenaki_jax.evaluation.clips import (
  Setup,
  report_clips,
  report_image_only,
)
from phenaki_jax.evaluation.fidelity import report_fidelity
from phenaki_jax.evaluation.frechet import ClipMoments, report_frechet
from phenaki_jax.evaluation.measure import network_name
from phenaki_jax.evaluation.report import Report
from phenaki_jax.evaluation.returns import report_returns
from phenaki_jax.evaluation.stories import report_stories
from phenaki_jax.evaluation.world import World
from phenaki_jax.files.atomic import replace_file
from phenaki_jax.media.png import write_png
from phenaki_jax.runs import worlds
from phenaki_jax.runs.enlargement import is_enlarger, report_enlargement
from phenaki_jax.runs.follow import follow
from phenaki_jax.runs.gathered import Gathered
from phenaki_jax.runs.model import Model
from phenaki_jax.runs.networks import WITHOUT_DISTANCE, open_features
from phenaki_jax.runs.protocol import load_protocol, run_protocol
from phenaki_jax.runs.request import Request
from phenaki_jax.runs.story_set import report_story_set
from phenaki_jax.runs.subject import Subject, open_subject
from phenaki_jax.types import VideoU8

_log = logging.getLogger(__name__)

SCORES_FILE = 'scores.json'
_RECONSTRUCTIONS = 32
# The only values of a request that a protocol leaves open.
_OF_PROTOCOL = ('features', 'manifest', 'seed', 'settings')


def evaluate(subject: Subject, request: Request) -> Report:
  """Evaluate a model, with a progress bar for each part of the request.

  Of a tokenizer, reconstructions alone are measured.

  Raises:
    UserError: the model was trained on no world that can be read and the
      request names none, the held-out clips cannot be read, or a world, subset,
      reader or setting does not exist.
  """
  _check_features(subject, request)
  number, batches = _heldout_clips(subject, request)
  world = _world(subject, request)
  protocol = _protocol(subject, request, world, number)
  reports: dict[str, Any] = {}
  networks = [open_features(spec) for spec in request.features]
  gathered = Gathered(networks)
  features, made = None, None
  if subject.model is not None and request.frechet:
    features = open_features('open_nsfw')
    made = ClipMoments(features)

  def on_clip(frames: VideoU8, prompt: str) -> None:
    gathered.add(frames, prompt)
    if made is not None:
      made.add(frames)

  if subject.model is not None and request.tells_stories:
    reports = _generate(subject.model, request, world, protocol, on_clip)
  if networks and gathered.count > 1:
    real = subject.heldout_clips(
      gathered.count, manifest=request.manifest, batch_size=request.batch_size
    )
    with progress.bar(
      total=gathered.count, unit='clip', desc='features'
    ) as bar:
      reports['measures'] = gathered.compare(
        real,
        protocol=subject.clip_protocol(request.manifest),
        on_done=bar.update,
      )
  if features is not None and made is not None:
    total = request.prompts
    real = subject.heldout_clips(
      total, manifest=request.manifest, batch_size=request.batch_size
    )
    with progress.bar(total=total, unit='clip', desc='frechet') as bar:
      reports['frechet'] = report_frechet(
        made,
        real,
        features=features,
        network=features.describe(),
        on_done=bar.update,
      )
  if number:
    distances = {
      f'lpips@{network_name(one.describe())}': one
      for one in networks
      if one.has_distance
    }
    with progress.bar(total=number, unit='clip', desc='decoded') as bar:
      reports['fidelity'] = report_fidelity(
        subject.reconstruct,
        batches,
        world=world,
        distances={name: one.distance for name, one in distances.items()},
        protocol={
          **subject.clip_protocol(request.manifest),
          'networks': {
            name: one.describe_distance() for name, one in distances.items()
          },
        },
        on_done=bar.update,
      )
  return Report(protocol=protocol, **reports)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Places:
  """Where a model is, and the protocol to measure it by.

  Attributes:
    model: a bundle or run directory; None for the reference.
    tokenizer, encoder: parts that were moved; see `runs.open.load`.
    protocol: file of a protocol; None for what the request says.
    clips: real clips of the protocol, in place of its own number.
  """

  model: str | None = None
  tokenizer: str | None = None
  encoder: str | None = None
  protocol: str | None = None
  clips: int | None = None


def evaluate_all(
  request: Request,
  places: Places,
  folder: epath.PathLike,
  *,
  seconds: float | int | None,
  show: Callable[[str], object],
) -> None:
  """Evaluate a model, or each new checkpoint of a run that trains.

  Args:
    request: what to measure.
    places: the model.
    folder: of the report; those of checkpoints are in a folder of each step.
    seconds: between two looks for a checkpoint; None evaluates once.
    show: called with each report and with the paths of its files.

  Raises:
    UserError: the request has values that a protocol, or its absence, leaves
      without meaning; and see `evaluate_to` and `follow`.
  """
  _check_protocol(request, places)

  def measure(out: epath.PathLike, step: int | None = None) -> None:
    show('\n'.join(map(str, evaluate_to(request, places, out, step=step))))

  if seconds is None:
    measure(folder)
    return
  if places.model is None:
    raise UserError('--follow needs --model, the --workdir of a run')
  follow(
    places.model,
    lambda step: measure(epath.Path(folder) / str(step), step),
    seconds=seconds,
  )


def evaluate_to(
  request: Request,
  places: Places,
  folder: epath.PathLike,
  *,
  step: int | None = None,
) -> list[Any]:
  """Evaluate a model, and write the report.

  Args:
    request: what to measure.
    places: the model.
    folder: of the report.
    step: of the checkpoint of a run; None for the newest intact one.

  Returns:
    The report as Markdown, and the paths of its files.

  Raises:
    UserError: see `evaluate` and `run_protocol`.
  """
  if is_enlarger(places.model):
    if request.story_set:
      raise UserError(
        f'--story-set generates stories, but {places.model} enlarges clips; '
        'name a story model'
      )
    report = report_enlargement(request, places.model, step)
    return [report_lib.to_markdown(report), *write_report(report, folder)]
  subject = open_subject(
    places.model,
    tokenizer=places.tokenizer,
    encoder=places.encoder,
    step=step,
  )
  if request.story_set:
    report = report_story_set(subject.model, request)
  elif places.protocol is None:
    report = evaluate(subject, request)
  else:
    protocol = load_protocol(places.protocol, clips=places.clips)
    measures = run_protocol(
      subject,
      protocol,
      features=request.features,
      manifest=request.manifest,
      seed=request.seed,
    )
    report = Report(
      protocol={'model': subject.name, 'name': protocol.name},
      measures=measures,
    )
  return [report_lib.to_markdown(report), *write_report(report, folder)]


def _check_protocol(request: Request, places: Places) -> None:
  if places.protocol is None:
    if places.clips is not None:
      raise UserError(
        f'--clips is {places.clips}, but it shortens a --protocol, and none is '
        'named; leave it out, or set --prompts'
      )
    return
  if not request.features:
    raise UserError(
      '--protocol needs --features, the networks that compare the clips'
    )
  unused = [
    f'--{field.name.replace("_", "-")}'
    for field in dataclasses.fields(Request)
    if field.name not in _OF_PROTOCOL
    and getattr(request, field.name) != getattr(Request(), field.name)
  ] + [f'--{name}' for name in request.settings]
  if unused:
    raise UserError(
      f'--protocol measures as a paper did, and takes no {", ".join(unused)}; '
      'leave them out, or change the file of the protocol'
    )


def _check_features(subject: Subject, request: Request) -> None:
  """Raise if a network without a distance has no two clips to compare."""
  count = request.prompts if subject.model is not None else 0
  names = [
    spec for spec in request.features if spec.startswith(WITHOUT_DISTANCE)
  ]
  if names and count < 2:
    raise UserError(
      f'the features {", ".join(names)} compare clips of single prompts, of '
      f'which there are {count}; set --prompts to at least 2 for a story '
      'model, or leave these features out'
    )


def _generate(
  model: Model,
  request: Request,
  world: World | None,
  protocol: dict[str, Any],
  on_clip: Callable[[VideoU8, str], None],
) -> dict[str, Any]:
  """Return the reports on what the model generates, by field of `Report`.

  `on_clip` is called with the clips of single prompts, and these.
  """
  if world is None:
    raise UserError(
      f'{model.name} was trained on captions of neither StoryWorld nor the '
      'sprite world; name the world whose prompts it knows with --world '
      f'{" or ".join(worlds.NAMES)}'
    )
  setup = Setup(
    world=world,
    size=model.defaults.size,
    fps=model.defaults.fps,
    settings=request.sampling(model.defaults.settings),
    seed=request.seed,
    batch_size=request.batch_size,
  )
  reports: dict[str, Any] = {}

  def add(name: str, report: Any, total: int, **options: Any) -> None:
    desc = name.replace('_', '-')
    with progress.bar(total=total, unit='example', desc=desc) as bar:
      options['on_done'] = bar.update
      reports[name] = report(model.sampler, setup, **options)

  lengths = {
    name: protocol[name] for name in ('frames_per_scene', 'context_frames')
  }
  if count := request.prompts:
    add(
      'clips',
      report_clips,
      count,
      prompts=count,
      split=request.split,
      on_clip=on_clip,
    )
  if count := request.stories:
    counts = {'stories': count, 'scenes': request.scenes, **lengths}
    add('stories', report_stories, count, **counts)
  if count := request.returns:
    add('returns', report_returns, count, returns=count, **lengths)
  if count := request.changes:
    total = count * len(world.changes)
    add('changes', report_changes, total, changes=count, **lengths)
  if request.image_only:
    count = request.image_only_prompts
    total = count * len(world.image_only)
    add('image_only', report_image_only, total, prompts=count)
  return reports


def write_report(report: Report, folder: epath.PathLike) -> list[epath.Path]:
  """Write tables, numbers and contact sheets, and return their paths."""
  folder = epath.Path(folder)
  numbers = json.dumps(report_lib.to_json(report), indent=2) + '\n'
  paths = [folder / 'scores.md', folder / SCORES_FILE]
  replace_file(paths[0], report_lib.to_markdown(report).encode())
  for name, sheet in report_lib.sheets(report):
    paths.append(folder / f'{name}.png')
    write_png(paths[-1], sheet, provenance=report.protocol)
  # Last, because whoever finds the numbers takes the evaluation as finished.
  replace_file(paths[1], numbers.encode())
  return paths


def _heldout_clips(subject: Subject, request: Request) -> tuple[int, Any]:
  """Return the number of clips to reconstruct, and their batches."""
  number = request.reconstructions
  is_open = number is None and not request.manifest
  if number is None:
    number = _RECONSTRUCTIONS
  if not number:
    return 0, ()
  try:
    return number, subject.heldout_clips(
      number, manifest=request.manifest, batch_size=request.batch_size
    )
  except UserError as error:
    # The data of a bundle is rarely where it was trained.
    if not is_open or subject.model is None:
      raise
    _log.warning(
      'Reconstructions are left out, because the training data cannot be '
      'read here (%s); --manifest DIR names other clips.',
      error,
    )
    return 0, ()


def _world(subject: Subject, request: Request) -> World | None:
  """Open the world of the request or of the training data."""
  subset = request.subset or subject.subset
  name = request.world or worlds.name_world(
    subset, None if subset else subject.words
  )
  if name is None:
    return None
  return worlds.open_world(
    name, subset=subset, reader=request.reader, fps=subject.data.fps
  )


def _protocol(
  subject: Subject, request: Request, world: World | None, clips: int
) -> dict[str, Any]:
  """Return everything that the numbers depend on."""
  asked = ('split', 'prompts', 'stories', 'scenes', 'changes')
  found: dict[str, Any] = {
    'model': subject.name,
    'fingerprint': subject.fingerprint,
    'world': world.name if world else None,
    **(world.describe() if world else {}),
    'size': list(subject.data.size),
    'fps': subject.data.fps,
    'reconstructions': clips,
    'manifest': request.manifest or 'held-out training data',
    'features': list(request.features),
    'seed': request.seed,
  }
  if subject.model is not None:
    clip_frames = subject.model.sampler.clip_frames
    context_frames = subject.model.defaults.context_frames
    found |= {
      **{name: getattr(request, name) for name in asked},
      **({'returns': request.returns} if request.returns else {}),
      # Scenes are two windows long.
      'frames_per_scene': 2 * (clip_frames - context_frames),
      'image_only_prompts': request.image_only * request.image_only_prompts,
      'clip_frames': clip_frames,
      'context_frames': context_frames,
      'settings': dataclasses.asdict(
        request.sampling(subject.model.defaults.settings)
      ),
    }
  return {
    **found,
    'phenaki_jax': phenaki_jax.__version__,
    'jax': jax.__version__,
    'platform': jax.default_backend(),
  }
