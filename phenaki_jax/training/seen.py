"""What a run has been trained on, in examples and in tokens.

Without buckets every batch has the same composition, so that the sums after a
step follow from one batch, also after a resume.
"""

from collections.abc import Mapping


def seen(
  num_examples: Mapping[str, int], step: int, tokens: Mapping[str, int]
) -> dict[str, float]:
  """Return what the steps up to this one have trained on.

  Args:
    num_examples: of each part of a global batch.
    step: number of the step, from 1.
    tokens: visual tokens of one example, by part; empty for a model without
      tokens.

  Returns:
    The number of examples of each part (`clips_seen`), their tokens
    (`tokens_seen`), and the share of images in each of the two.
  """
  images = num_examples.get('images', 0)
  values = {
    f'{part}_seen': float(step * count) for part, count in num_examples.items()
  }
  values['image_share'] = images / sum(num_examples.values())
  if tokens:
    total = sum(count * tokens[part] for part, count in num_examples.items())
    values['tokens_seen'] = float(step * total)
    values['image_token_share'] = images * tokens['images'] / total
  return values
