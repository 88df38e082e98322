"""Seeds and names that follow from a resolved story."""

import dataclasses
import hashlib
import itertools
import json
import types
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from phenaki_jax.earlier_scenes import recalled
from phenaki_jax.errors import UserError
from phenaki_jax.stories.story import Story


def window_seed(seed: int, scene: int, window: int) -> int:
  """Derive the seed of a window, 0 to 2**32 - 1; equal on every machine.

  Args:
    seed: seed of the scene.
    scene: number of the scene in the story, from 0.
    window: number of the window in the scene, from 0.
  """
  return _hash32(f'{seed}/{scene}/{window}')


def candidate_seed(seed: int, scene: int, candidate: int) -> int:
  """Derive the seed of a candidate of a scene; the first has the scene's own.

  Args:
    seed: seed of the scene.
    scene: number of the scene in the story, from 0.
    candidate: number of the candidate, from 0.
  """
  return _hash32(f'candidate/{seed}/{scene}/{candidate}') if candidate else seed


def scene_keys(
  story: Story,
  origin: Mapping[str, Any],
  starts: Mapping[int, np.ndarray] = types.MappingProxyType({}),
  *,
  slots: int = 0,
  reads_fps: bool = False,
) -> list[str]:
  """Return a key of each scene: a hash of everything that its frames need.

  A key depends on the origin, the size, the scene's number, prompt, length, K,
  seed and settings, on the frames that it starts from, on how candidates are
  chosen, on the key of the previous scene, unless the scene begins with a cut,
  and on the keys of the scenes in its history.

  Args:
    story: a resolved story.
    origin: JSON values that describe the model and the versions.
    starts: by number of the scene, the frames that it starts from.
    slots: earlier scenes that the clips of the model see; 0 for none.
    reads_fps: whether they depend on the frame rate.
  """
  histories = recalled(tuple(scene.prompt for scene in story.scenes), slots)
  base: dict[str, Any] = {
    # No frame depends on the licence.
    'origin': {name: x for name, x in origin.items() if name != 'license'},
    'size': list(story.size or ()),
  }
  if reads_fps:
    base['fps'] = story.fps
  keys: list[str] = []
  for number, scene in enumerate(describe(story)['scenes']):
    del scene['start']
    previous = None if scene['cut'] else keys[-1]
    if scene.pop('starts_from', None) is not None:
      digest = hashlib.sha256(np.ascontiguousarray(starts[number]).tobytes())
      previous = digest.hexdigest()
    if scene['candidates'] > 1:
      scene['choose'] = story.choose
    content = [base, previous, number, scene]
    if histories[number]:
      content.append([keys[earlier] for earlier in histories[number]])
    text = json.dumps(content, sort_keys=True)
    keys.append(hashlib.sha256(text.encode()).hexdigest()[:32])
  return keys


def describe(story: Story) -> dict[str, Any]:
  """Return a resolved story as JSON values.

  `start` of a scene is the number of its first frame in the story.
  """
  lengths = [scene.frames or 0 for scene in story.scenes]
  starts = itertools.accumulate(lengths, initial=0)
  scenes = [
    {
      'prompt': scene.prompt,
      'start': start,
      'frames': scene.frames,
      'cut': scene.cut,
      **({'starts_from': scene.start} if scene.start else {}),
      'context_frames': scene.context_frames or story.context_frames,
      'seed': scene.seed,
      'candidates': scene.candidates or 1,
      **dataclasses.asdict(story.settings(scene)),
    }
    for scene, start in zip(story.scenes, starts, strict=False)
  ]
  return {
    'size': list(story.size or ()),
    'fps': story.fps,
    'context_frames': story.context_frames,
    # Left out where it is what it always was.
    **({} if story.context == 'frames' else {'context': story.context}),
    'frames': story.num_frames,
    'choose': story.choose,
    'scenes': scenes,
  }


def reroll(story: Story, numbers: Iterable[int]) -> Story:
  """Give scenes of a resolved story new seeds, derived from their old ones.

  Args:
    story: a resolved story.
    numbers: numbers of the scenes, from 1; a number that appears twice
      changes the seed twice.

  Raises:
    UserError: there is no scene with that number.
  """
  scenes = list(story.scenes)
  for number in numbers:
    if not 1 <= number <= len(scenes):
      raise UserError(
        f'there is no scene {number} to roll again; the story has scenes 1 to '
        f'{len(scenes)}'
      )
    scene = scenes[number - 1]
    seed = _hash32(f'reroll/{scene.seed}/{number}')
    scenes[number - 1] = dataclasses.replace(scene, seed=seed)
  return dataclasses.replace(story, scenes=tuple(scenes))


def take_seeds(story: Story, description: Any) -> Story | None:
  """Return the story with the seeds of a description of the same story.

  Returns:
    None if the description differs from the story in more than its seeds.
  """
  try:
    scenes = tuple(
      dataclasses.replace(scene, seed=described['seed'])
      for scene, described in zip(
        story.scenes, description['scenes'], strict=True
      )
    )
  except (KeyError, TypeError, ValueError):
    return None
  other = dataclasses.replace(story, scenes=scenes)
  return other if describe(other) == description else None


def _hash32(name: str) -> int:
  digest = hashlib.blake2b(name.encode(), digest_size=4).digest()
  return int.from_bytes(digest, 'little')
