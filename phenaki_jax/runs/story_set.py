"""Measure a model on the stories of a set, as story papers do.

A story has a caption and a picture for each scene. Story continuation: the
first picture is given, and not measured. It is the first scene of the story, so
that the second one continues it and all later ones have it in their history; a
model that reads a source frame sees it there, too. Story visualisation: all
scenes are generated.
"""

import dataclasses
import logging
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from PIL import Image

import phenaki_jax
from phenaki_jax import progress
from phenaki_jax.data.story_sets import sets
from phenaki_jax.data.story_sets.story import Account
from phenaki_jax.data.story_sets.story import Story as Told
from phenaki_jax.data.transforms import fit
from phenaki_jax.errors import UserError
from phenaki_jax.evaluation.characters import CharacterScores, score_characters
from phenaki_jax.evaluation.clips import in_batches
from phenaki_jax.evaluation.measure import Measure
from phenaki_jax.evaluation.report import Report
from phenaki_jax.evaluation.stories import film_scenes
from phenaki_jax.evaluation.story_fid import StoryFrames
from phenaki_jax.runs.characters import check_names, open_reader
from phenaki_jax.runs.model import Model
from phenaki_jax.runs.networks import open_features
from phenaki_jax.runs.request import Request, StoryTask
from phenaki_jax.stories.seeds import candidate_seed
from phenaki_jax.stories.story import Scene, Story
from phenaki_jax.types import ImageU8

_log = logging.getLogger(__name__)

_SPLIT = 'test'


def report_story_set(model: Model | None, request: Request) -> Report:
  """Generate stories of a set, and compare them with their pictures.

  Args:
    model: a story model.
    request: its story_set, stories, features, reader, settings, seed and
      batch_size are read.

  Raises:
    UserError: the model, the set or the reader is of another kind.
  """
  if model is None:
    raise UserError(
      '--story-set generates stories, but --model is a tokenizer; name a story '
      'model'
    )
  file = sets.open_set('hdf5', request.story_set)
  account = Account()
  told = [one for one in file.stories(account) if one.split == _SPLIT]
  left_out = account.to_dict()[_SPLIT]['left_out']
  if left_out:
    _log.warning(
      '%s: stories of %s are left out, by reason: %s.',
      *(request.story_set, _SPLIT, left_out),
    )
  if len(told) < request.stories:
    raise UserError(
      f'{request.story_set} has {len(told)} stories of {_SPLIT}; set --stories '
      f'to at most {len(told)}'
    )
  told = told[: request.stories]
  first = int(_task(model, request) == 'continuation')
  if len(told[0].captions) <= first:
    raise UserError(
      f'{request.story_set} has stories of one scene, which is given in a '
      'continuation; name a set of longer stories'
    )
  gathered = []
  for spec in request.features:
    features = open_features(spec)
    if features.of_clips:
      raise UserError(
        f'--features is {spec}, a network of clips; story FID compares single '
        'frames: use inception=FILE'
      )
    gathered.append(StoryFrames(features))
  if gathered and request.stories < 2:
    raise UserError('--stories is 1; story FID compares at least 2')
  reader = open_reader(request.reader) if request.reader else None
  if reader is not None:
    check_names(reader, file.characters, request.story_set)
    if any(one.labels is None for one in told):
      raise UserError(
        f'{request.story_set} has no labels of characters in {_SPLIT}; leave '
        '--reader out'
      )
  found, shown = [], []
  with progress.bar(total=len(told), unit='story', desc='stories') as bar:
    for story, pictures, frames in _told(model, request, told):
      for one in gathered:
        one.add(generated=frames[first:], real=pictures[first:])
      if reader is not None:
        found.append(reader.read(frames[first:]))
        shown.append(np.asarray(story.labels, bool)[first:])
      bar.update(1)
  stamp = {**_stamp(model, request), 'left_out': left_out}
  measures = [one.measure(protocol=stamp) for one in gathered]
  if reader is not None:
    scores = score_characters(np.concatenate(found), np.concatenate(shown))
    measures += _character_measures(scores, stamp, request.reader)
  return Report(
    protocol={'model': model.name, 'name': 'story set'},
    measures=tuple(measures),
  )


def _task(model: Model, request: Request) -> StoryTask:
  if request.task:
    return request.task
  return 'continuation' if _reads_source(model) else 'visualisation'


def _reads_source(model: Model) -> bool:
  """Return whether the model reads a source frame."""
  if not hasattr(model.sampler, 'with_source'):
    return False
  return 'source' in model.sampler.models.ports.memory


def _told(
  model: Model, request: Request, told: list[Told]
) -> Iterator[tuple[Told, list[ImageU8], np.ndarray]]:
  """Yield each story with its pictures, and a generated frame of each scene."""
  continues = _task(model, request) == 'continuation'
  has_source = continues and _reads_source(model)
  stories = [
    (one, _story(model, request, one, number))
    for number, one in enumerate(told)
  ]
  # A source is seen by all clips of a batch.
  most = 1 if has_source else request.batch_size
  for batch, padded in in_batches(stories, most):
    pictures = [[scene[0] for scene in one.scenes()] for one, _ in padded]
    maker, given = model.sampler, None
    if continues:
      size, frames = model.defaults.size, model.defaults.context_frames
      firsts = [fit(Image.fromarray(shown[0]), size) for shown in pictures]
      given = np.repeat(np.stack(firsts)[:, None], frames, axis=1)
      if has_source:
        maker = maker.with_source(given[0, 0])
    films = film_scenes(maker, [story for _, story in padded], given)
    for (one, _), real, scenes in zip(batch, pictures, films, strict=False):
      middles = [scene[len(scene) // 2] for scene in scenes]
      yield one, real, np.stack(middles)


def _story(model: Model, request: Request, told: Told, number: int) -> Story:
  """Return the resolved story of the captions; a scene is one window.

  A given scene has the frames that the next one continues.
  """
  defaults = model.defaults
  frames = max(1, model.sampler.clip_frames - defaults.context_frames)
  lengths = [frames] * len(told.captions)
  if _task(model, request) == 'continuation':
    lengths[0] = defaults.context_frames
  seed = candidate_seed(request.seed, number, 0)
  return Story(
    scenes=tuple(
      Scene(prompt=caption, frames=lengths[scene], cut=not scene, seed=seed)
      for scene, caption in enumerate(told.captions)
    ),
    size=defaults.size,
    fps=defaults.fps,
    context_frames=defaults.context_frames,
    sampling=request.sampling(defaults.settings),
  )


def _stamp(model: Model, request: Request) -> dict[str, Any]:
  """Return what the numbers depend on."""
  return {
    'model': model.fingerprint,
    'set': request.story_set,
    'split': _SPLIT,
    'task': _task(model, request),
    'frame': 'middle of each scene; the first of a real one',
    'size': list(model.defaults.size),
    'fps': model.defaults.fps,
    'samples': {'generated': request.stories, 'real': request.stories},
    'settings': dataclasses.asdict(request.sampling(model.defaults.settings)),
    'seed': request.seed,
    'phenaki_jax': phenaki_jax.__version__,
    'platform': jax.default_backend(),
  }


def _character_measures(
  scores: CharacterScores, stamp: dict[str, Any], reader: str
) -> list[Measure]:
  values = {
    'character_f1_micro': scores.micro_f1,
    'character_f1_macro': scores.macro_f1,
    'frame_accuracy': scores.frame_accuracy,
  }
  protocol = {**stamp, 'reader': reader, 'vectors': {'frames': scores.frames}}
  return [
    Measure(name=name, value=value, protocol=protocol)
    for name, value in values.items()
  ]
