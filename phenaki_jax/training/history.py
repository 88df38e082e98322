"""Earlier scenes of training clips, in the memory of a generator (AR-LDM).

In training these are true frames and captions (teacher forcing, arXiv
2211.10950, section 3.2); the story sampler takes those that it made. Without
their captions they stand for pictures of a character, which a user gives.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from phenaki_jax.nn.conditions import Entries, as_values, earlier
from phenaki_jax.pixels import normalise
from phenaki_jax.rng import stream


def tokenized(
  clips: dict[str, Any],
  encode: Callable[[Array], Array],
  encode_texts: Callable[[Array], Array] | None,
) -> dict[str, Any]:
  """Return clips whose earlier scenes are tokens.

  Args:
    clips: see `data.spec`; they may have no earlier scenes.
    encode: encodes normalised frames [N, 1, H, W, 3] as ids [N, 1, h, w], or as
      vectors [N, 1, n, D].
    encode_texts: a frozen text encoder, from token ids [N, L] to vectors;
      None: the captions are encoded elsewhere.
  """
  found = dict(clips)
  if 'history_text' not in clips:
    return found
  texts = found['history_text']
  batch, slots = texts.shape[:2]
  tokens = found.pop('history_tokens', None)
  if tokens is None:
    pixels = found.pop('history_pixels')
    frames = normalise(pixels).reshape(batch * slots, 1, *pixels.shape[2:])
    tokens = encode(frames)[:, 0]
  found['history'] = as_values(tokens, batch, slots)
  if encode_texts is not None:
    vectors = encode_texts(texts.reshape(batch * slots, -1))
    found['history_text_vectors'] = vectors.reshape(*texts.shape, -1)
  return found


def entries(
  clips: dict[str, Any],
  rng: Key[Array, ''],
  *,
  share: float,
  latent_frames: int,
  role: str = 'history',
) -> Entries:
  """Show a share of the clips the scenes before theirs.

  Slots after the last scene are padding, which no latent frame sees.

  Args:
    clips: the clips, after `tokenized`.
    rng: random key.
    share: how many of the clips see them.
    latent_frames: of a clip.
    role: 'history', or 'character', which has no captions.
  """
  values, texts = clips['history'], clips['history_text']
  batch, slots = values.shape[:2]
  index = jnp.broadcast_to(jnp.arange(slots, dtype=jnp.int32), (batch, slots))
  is_seen = jax.random.bernoulli(stream(rng, role), share, (batch,))
  # A clip shows the scene after those of its history; one that sees none is
  # the first scene.
  scenes = jnp.where(is_seen, clips['history_count'], 0)
  scenes = jnp.broadcast_to(scenes[:, None], (batch, latent_frames))
  found = Entries(values=values, slots=index, visible=earlier(scenes, index))
  if role != 'history':
    return found
  vectors = clips.get('history_text_vectors')
  return dataclasses.replace(
    found,
    captions=texts if vectors is None else vectors,
    spoken=None if vectors is None else texts > 0,
  )
