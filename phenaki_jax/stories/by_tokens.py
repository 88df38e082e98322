"""Generate stories whose windows carry on tokens instead of frames.

The windows since a cut are parts of one sequence of tokens. Nothing is encoded
again: the next window sees the tokens of the last latent frames, and all frames
come from one streaming decoder (see `sampling.token_windows`). The generator
must know windows that start in the middle of a clip (`task.midway_share`): only
the first latent frame of a sequence holds a single frame.
"""

import collections
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import Int, UInt8

from phenaki_jax.errors import UserError
from phenaki_jax.sampling.sampler import Sampler
from phenaki_jax.sampling.token_windows import decode_stream, sample_window
from phenaki_jax.stories.seeds import window_seed
from phenaki_jax.stories.story import Story
from phenaki_jax.stories.timeline import Window
from phenaki_jax.types import VideoU8

Made = tuple[Window, UInt8[np.ndarray, 'B _ H W 3']]
"""A window, and its new frames of every story."""


def generate_by_tokens(
  maker: object,
  stories: Sequence[Story],
  windows: Iterable[Window],
  starts: Mapping[int, VideoU8],
) -> Iterator[Made]:
  """Generate resolved stories of equal timelines, window by window.

  At most one window and the memory of the decoder are held.

  Args:
    maker: the model, a `Sampler`.
    stories: at least one, without candidates.
    windows: the plan of the stories.
    starts: frames that scenes start from.

  Raises:
    UserError: the model has no tokens or reads a history, or a scene has
      candidates.
  """
  if not isinstance(maker, Sampler):
    raise UserError(
      'the story has context: tokens, which a server, a diffusion model and a '
      'model of clips without captions cannot carry on; use context: frames, '
      'or `phenaki story` and another generator'
    )
  if maker.history_slots:
    raise UserError(
      'the story has context: tokens, but the model reads first frames of '
      'earlier scenes, which are not decoded yet; use context: frames'
    )
  if any((s.candidates or 1) > 1 for one in stories for s in one.scenes):
    raise UserError(
      'the story has context: tokens and a scene with candidates; use '
      'context: frames, or candidates: 1'
    )
  cuts = list(
    itertools.accumulate(int(scene.cut) for scene in stories[0].scenes)
  )
  for _, some in itertools.groupby(windows, lambda window: cuts[window.scene]):
    yield from _sequence(maker, stories, some, starts)


def _sequence(
  sampler: Sampler,
  stories: Sequence[Story],
  windows: Iterator[Window],
  starts: Mapping[int, VideoU8],
) -> Iterator[Made]:
  """Generate the windows from one cut to the next."""
  size = stories[0].size
  assert size is not None, 'the story is not resolved'
  tubelet = sampler.models.tokenizer.tubelet
  # Windows whose tokens the decoder has been given; None for what the sequence
  # starts from.
  given: collections.deque[Window | None] = collections.deque()

  def tokens() -> Iterator[Int[np.ndarray, 'B _ h w']]:
    tail = None
    for window in windows:
      scenes = [story.scenes[window.scene] for story in stories]
      if tail is None and window.sees:
        start = starts[window.scene][None, -window.sees :]
        tail = sampler.encode(start.repeat(len(stories), 0))
        given.append(None)
        yield tail
      seen = 1 + (window.sees - 1) // tubelet if window.sees else 0
      context = None if tail is None else tail[:, -seen:]
      made = sample_window(
        sampler,
        [scene.prompt for scene in scenes],
        size=size,
        seeds=[
          window_seed(scene.seed or 0, window.scene, window.number)
          for scene in scenes
        ],
        settings=stories[0].settings(scenes[0]),
        context=context,
        fps=stories[0].fps,
      )
      first = 0 if context is None else context.shape[1]
      # Only the first latent frame of a sequence holds a single frame.
      count = -(-window.frames // tubelet)
      if tail is None:
        count = 1 + (window.frames - 1) // tubelet
      new = made[:, first : first + count]
      tail = new if tail is None else np.concatenate([tail, new], 1)
      tail = tail[:, -made.shape[1] :].copy()
      given.append(window)
      yield new

  frames = stories[0].num_frames
  frames += sum(len(start) for start in starts.values())
  longest = 2 + frames // tubelet
  for some in decode_stream(sampler, tokens(), longest=longest):
    window = given.popleft()
    if window is not None:
      assert some.shape[1] == window.frames, 'scenes end with latent frames'
      yield window, some
