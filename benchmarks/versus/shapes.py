"""The sizes of the models of both sides, and the names of the cases.

This module and `worker` import the standard library only, since the peer's
Python has no jax and ours has no torch.
"""

import dataclasses
import json

CASES = ('tokenizer', 'generator', 'sampling')
MATMUL = 'matmul'


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shapes:
  """Sizes of the models and batches; published numbers use the defaults.

  Attributes:
    width: width of both models.
    heads: attention heads; the width of a head is width / heads.
    mlp_dim: hidden width of the MLPs, 4 * width. The peer's gated MLPs have 2/3
      of it, which gives the same number of parameters.
    spatial_layers: spatial blocks of the encoder, and of the decoder.
    temporal_layers: temporal blocks of the encoder, and of the decoder.
    generator_layers: blocks of the masked transformer.
    patch: height and width of a patch in pixels; a tubelet has two frames.
    codes: size of the codebook, a power of four.
    batch: clips per training step.
    frames: frames of a clip, odd.
    size: height and width of a frame in pixels.
    text_length: text vectors of a prompt.
    text_width: width of a text vector.
    steps: decoding steps per sample.
    guidance: guidance scale in the peer's convention, where 1 means none.
    matmul: size of the square matrices of the matmul.
  """

  width: int = 256
  heads: int = 4
  mlp_dim: int = 1024
  spatial_layers: int = 4
  temporal_layers: int = 4
  generator_layers: int = 6
  patch: int = 8
  codes: int = 1024
  batch: int = 4
  frames: int = 9
  size: int = 64
  text_length: int = 32
  text_width: int = 768
  steps: int = 18
  guidance: float = 3.0
  matmul: int = 2048

  @property
  def grid(self) -> tuple[int, int, int]:
    """Return the token grid of a clip: latent frames, rows, columns."""
    side = self.size // self.patch
    return 1 + (self.frames - 1) // 2, side, side

  @property
  def tokens(self) -> int:
    """Return the number of tokens of a clip."""
    t, h, w = self.grid
    return t * h * w

  def to_json(self) -> str:
    """Serialise the sizes as an argument for a worker."""
    return json.dumps(dataclasses.asdict(self))

  @classmethod
  def from_json(cls, text: str) -> 'Shapes':
    """Parse the output of `to_json`."""
    return cls(**json.loads(text))
