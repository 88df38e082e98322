"""Make the golden files of Hugging Face's T5 encoder, with random weights.

    python -m venv /tmp/torch
    /tmp/torch/bin/pip install torch transformers safetensors
    /tmp/torch/bin/python tests/golden/t5_torch.py

writes, for each activation, a folder as `save_pretrained` makes it, and beside
it the inputs and the outputs that the torch classes compute in float32.
"""

import pathlib

import numpy as np
import torch
import transformers

FOLDER = pathlib.Path(__file__).parent / 't5_torch'
ACTIVATIONS = {'gated_gelu': 'gated-gelu', 'relu': 'relu'}


def main():
  """Write both models."""
  draws = np.random.default_rng(0)
  ids = draws.integers(3, 40, (3, 40))
  # Lengths with and without padding; the last one has none.
  for row, length in enumerate((4, 17, 40)):
    ids[row, length - 1 :] = 0
    ids[row, length - 1] = 1
  for name, activation in ACTIVATIONS.items():
    config = transformers.T5Config(
      vocab_size=40,
      d_model=24,
      d_kv=8,
      d_ff=40,
      num_layers=2,
      num_heads=3,
      feed_forward_proj=activation,
      tie_word_embeddings=name == 'relu',
      relative_attention_num_buckets=8,
    )
    # The scale of T5's own initialisation: with larger weights the attention
    # multiplies rounding errors, and float32 and float64 of torch itself
    # differ by more than the tolerance of the test.
    torch.manual_seed(0)
    model = transformers.T5EncoderModel(config).eval()
    with torch.no_grad():
      for weight in model.parameters():
        if weight.ndim == 1:
          noise = draws.normal(1, 0.2, weight.shape)
          weight.copy_(torch.from_numpy(noise.astype(np.float32)))
      mask = torch.from_numpy((ids > 0).astype(np.int64))
      outputs = model(
        input_ids=torch.from_numpy(ids), attention_mask=mask
      ).last_hidden_state.numpy()
    model.save_pretrained(FOLDER / name)
    np.savez_compressed(
      FOLDER / f'{name}.npz', ids=ids.astype(np.int32), encoded=outputs
    )


if __name__ == '__main__':
  main()
