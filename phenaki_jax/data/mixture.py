"""How many clips and images every batch holds, from one image share.

The composition is a function of the config alone, the same in every batch and
on every process, so shapes are static and no process waits for another. An
image has the tokens of one latent step, a clip those of all its steps, so that
equal shares of examples are very unequal shares of tokens.
"""

import dataclasses
import logging

from phenaki_jax.errors import UserError

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Composition:
  """Hold what each batch is made of.

  Attributes:
    num_clips, num_images: examples of a batch, over all processes.
    requested_image_share, realised_image_share: in examples.
  """

  num_clips: int
  num_images: int
  requested_image_share: float
  realised_image_share: float

  def token_share(self, steps: int) -> float:
    """Return the images' share of visual tokens, with clips of `steps` each."""
    return self.num_images / (self.num_images + self.num_clips * steps)


def compose(*, batch_size: int, image_share: float) -> Composition:
  """Divide a batch into clips and images.

  Args:
    batch_size: examples of a batch, over all processes.
    image_share: wanted share of images, 0 to 1.

  Returns:
    The counts, with the shares that they realise.
  """
  num_images = round(image_share * batch_size)
  realised = num_images / batch_size
  if image_share > 0 and not num_images:
    _log.warning(
      'an image share of %g of %d examples is less than one image: no batch '
      'holds any',
      image_share,
      batch_size,
    )
  return Composition(
    num_clips=batch_size - num_images,
    num_images=num_images,
    requested_image_share=image_share,
    realised_image_share=realised,
  )


def rows_of_process(
  count: int, *, part: str, process_index: int, process_count: int
) -> range:
  """Return the rows of a part of the global batch that a process loads.

  The rows of all processes, one after the other, are the global batch.

  Raises:
    UserError: the rows cannot be divided equally.
  """
  if not 0 <= process_index < process_count:
    raise UserError(
      f'process_index is {process_index}; it must lie in '
      f'0..{process_count - 1}, one less than process_count'
    )
  if count % process_count:
    raise UserError(
      f'a batch has {count} {part}, which {process_count} processes cannot '
      'share equally; change data.batch_size or data.image_share'
    )
  rows = count // process_count
  return range(process_index * rows, (process_index + 1) * rows)
