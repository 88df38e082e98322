"""The sizes that both sides build, and the names of what is timed.

Only the standard library is imported here and in `worker`: the peer's Python
need not have jax, nor ours torch.
"""

import dataclasses
import json

CASES = ('tokenizer', 'generator', 'sampling')
MATMUL = 'matmul'


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shapes:
  """Describe the work; the defaults are what the published numbers mean.

  Attributes:
    width: width of both models.
    heads: attention heads; a head is width / heads wide.
    mlp_dim: hidden width of the MLPs, 4 * width. The peer's are gated, with
      2/3 of it, which makes the same number of weights.
    spatial_layers: blocks inside a frame, on each side of the tokenizer.
    temporal_layers: blocks over time, on each side of the tokenizer.
    generator_layers: blocks of the masked transformer.
    patch: height and width of a patch in pixels; a tubelet is two frames.
    codes: size of the codebook, a power of four.
    batch: clips of a training step.
    frames: frames of a clip, odd.
    size: height and width of a frame in pixels.
    text_length: text vectors of a prompt.
    text_width: width of a text vector.
    steps: decoding steps of a sample.
    guidance: guidance scale as the peer counts it, where 1 is none.
    matmul: rows and columns of the square matrices multiplied.
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
    """Return the token grid of a clip: latent steps, rows, columns."""
    side = self.size // self.patch
    return 1 + (self.frames - 1) // 2, side, side

  @property
  def tokens(self) -> int:
    """Return the number of tokens of a clip."""
    t, h, w = self.grid
    return t * h * w

  def to_json(self) -> str:
    """Write the sizes down, as an argument for a worker."""
    return json.dumps(dataclasses.asdict(self))

  @classmethod
  def from_json(cls, text: str) -> 'Shapes':
    """Read what `to_json` wrote."""
    return cls(**json.loads(text))
