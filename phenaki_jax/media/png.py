"""Images as PNG."""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from etils import epath
from PIL import Image, PngImagePlugin

from phenaki_jax.files.paths import checked_path
from phenaki_jax.media.credentials import Certificate, signed_file
from phenaki_jax.media.frames import checked_frame
from phenaki_jax.media.provenance import COMMENT, provenance_json


def encode_png(
  image: np.ndarray, *, provenance: Mapping[str, Any] | None = None
) -> bytes:
  """Encode an image, uint8 RGB [H, W, 3], as PNG.

  Raises:
    UserError: for another dtype or shape.
  """
  info = PngImagePlugin.PngInfo()
  if provenance is not None:
    info.add_text(COMMENT, provenance_json(provenance))
  file = io.BytesIO()
  Image.fromarray(checked_frame(image)).save(file, 'PNG', pnginfo=info)
  return file.getvalue()


def write_png(
  path: epath.PathLike,
  image: np.ndarray,
  *,
  provenance: Mapping[str, Any],
  certificate: Certificate | None = None,
) -> None:
  """Write an image, uint8 RGB [H, W, 3], as PNG.

  Args:
    path: ends in .png.
    image: the pixels.
    provenance: JSON values that describe how it was made.
    certificate: signs the file; see `credentials`.

  Raises:
    UserError: for another dtype, shape or suffix.
  """
  path = checked_path(path, '.png')
  content = encode_png(image, provenance=provenance)
  with signed_file(path, certificate, provenance) as part:
    part.write_bytes(content)
