"""How consistent the frames of a clip are, by embeddings (arXiv 2302.03011).

The embeddings may come from any network that maps images, and for prompts also
texts, to vectors of one space; the papers use CLIP.
"""

import numpy as np
from jaxtyping import Float


def frame_consistency(embeddings: Float[np.ndarray, 'T E']) -> float:
  """Return the mean cosine of the embeddings of consecutive frames, -1 to 1.

  A clip without motion has 1.

  Raises:
    ValueError: there is only one frame.
  """
  if len(embeddings) < 2:
    raise ValueError('the consistency of frames needs at least 2')
  unit = _unit(embeddings)
  return float((unit[1:] * unit[:-1]).sum(-1).mean())


def prompt_consistency(
  embeddings: Float[np.ndarray, 'T E'], prompt: Float[np.ndarray, ' E']
) -> float:
  """Return the mean cosine of each frame's embedding and a prompt's, -1 to 1.

  The mean of it over prompts is CLIPSIM (arXiv 2104.14806).
  """
  return float((_unit(embeddings) @ _unit(prompt[None])[0]).mean())


def _unit(vectors: Float[np.ndarray, 'rows E']) -> Float[np.ndarray, 'rows E']:
  vectors = vectors.astype(np.float64)
  lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
  if not lengths.all():
    raise ValueError('an embedding is 0, which has no direction')
  return vectors / lengths
