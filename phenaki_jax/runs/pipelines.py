"""Open the data of a run as its model reads them."""

from typing import Any

import jax
import numpy as np

from phenaki_jax.data.config import DataConfig
from phenaki_jax.data.pipeline import Pipeline
from phenaki_jax.data.text_cache import TextCache
from phenaki_jax.runs.experiment import Experiment
from phenaki_jax.text.vocab import EOS_ID, PAD_ID, SentencePieceVocabulary


def text_length(experiment: Experiment) -> int:
  """Return the number of token ids of each text; 1 where none is read."""
  return experiment.text.max_length if experiment.reads_text else 1


def vector_width(experiment: Experiment) -> int:
  """Return the width of the text vectors of a batch; 0 for none."""
  text = experiment.text
  if not experiment.reads_text or text.encodes_in_step:
    return 0
  if experiment.kind == 'diffusion':
    return text.width if text.is_frozen else 0
  return experiment.generator.text_width or 0


def has_depth(experiment: Experiment) -> bool:
  """Return whether the clips of a batch have their depth."""
  task = experiment.task
  is_given = task.structure_share > 0 and not task.depth_weights
  return experiment.kind in ('generator', 'diffusion') and is_given


def history_slots(experiment: Experiment) -> int:
  """Return how many earlier scenes a clip of a batch has; 0 for none."""
  if experiment.kind not in ('generator', 'diffusion'):
    return 0
  ports = getattr(experiment, experiment.kind).ports
  return ports.memory_slots if experiment.task.scene_shares else 0


def open_pipeline(
  experiment: Experiment,
  data: DataConfig,
  vocabulary: SentencePieceVocabulary | None,
  **options: Any,
) -> Pipeline:
  """Open the data; without a vocabulary every text is empty."""
  length = text_length(experiment)

  def tokenize(caption: str) -> np.ndarray:
    if vocabulary is None:
      return np.array([EOS_ID] + [PAD_ID] * (length - 1), np.int32)
    return vocabulary.encode_padded(caption, length)

  source = experiment.text.source
  return Pipeline(
    data,
    tokenize,
    text_cache=TextCache(source) if source and vocabulary else None,
    tubelet=experiment.tokenizer.tubelet,
    text_length=length,
    depth=has_depth(experiment),
    process_index=jax.process_index(),
    process_count=jax.process_count(),
    history=history_slots(experiment),
    **options,
  )
