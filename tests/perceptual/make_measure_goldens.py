"""Write what PyTorch's classes of Inception-v3 and CLIP compute, for tests.

It needs PyTorch, and torchvision and pytorch-fid for the one, transformers for
the other:

    pip install torch torchvision pytorch-fid transformers
    python tests/perceptual/make_measure_goldens.py inception clip
"""

import argparse
import pathlib

import drawn
import numpy as np
import torch

FOLDER = pathlib.Path(__file__).parents[1] / 'golden'
# Small towers with heads of the published width, 64.
CLIP_TEXT = {
  'vocab_size': 600,
  'hidden_size': 64,
  'intermediate_size': 256,
  'num_hidden_layers': 2,
  'num_attention_heads': 1,
  'max_position_embeddings': 12,
  'projection_dim': 48,
  'bos_token_id': 598,
  'eos_token_id': 599,
}
CLIP_IMAGE = {
  'hidden_size': 128,
  'intermediate_size': 512,
  'num_hidden_layers': 2,
  'num_attention_heads': 2,
  'image_size': 32,
  'patch_size': 8,
  'projection_dim': 48,
}
TEXTS = [
  [598, 5, 70, 320, 599, 599, 599, 599, 599, 599, 599, 599],
  [598, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 599],
]


def _load(model, seed):
  """Give a model drawn weights; return names and shapes, as arrays."""
  state = model.state_dict()
  shapes = {
    name: tuple(tensor.shape)
    for name, tensor in state.items()
    if tensor.ndim and not name.endswith('position_ids')
  }
  for name, values in drawn.draw(shapes, seed).items():
    state[name].copy_(torch.from_numpy(values))
  model.eval()
  return {
    'names': np.array(sorted(shapes)),
    'shapes': np.array([' '.join(map(str, shapes[n])) for n in sorted(shapes)]),
  }


def _pixels(*shape, seed):
  return torch.from_numpy(drawn.pixels(*shape, seed=seed)).permute(0, 3, 1, 2)


def inception():
  """Return the features and logits of pytorch-fid's network."""
  from pytorch_fid import inception as published

  # The class downloads its weights; they are drawn instead.
  states = torch.nn.Module.load_state_dict
  published.load_state_dict_from_url = lambda *args, **options: None
  torch.nn.Module.load_state_dict = lambda self, state: None
  net = published.fid_inception_v3()
  torch.nn.Module.load_state_dict = states
  golden = _load(net, 8)
  golden['logits'] = net(_pixels(2, 75, 91, 3, seed=9)).numpy()
  golden['logits'] -= net.fc.bias.numpy()
  net.fc = torch.nn.Identity()
  golden['pool3'] = net(_pixels(2, 75, 91, 3, seed=9)).numpy()
  return golden


def clip():
  """Return the embeddings of transformers' class."""
  import transformers

  net = transformers.CLIPModel(
    transformers.CLIPConfig(
      text_config=CLIP_TEXT, vision_config=CLIP_IMAGE, projection_dim=48
    )
  )
  golden = _load(net, 10)
  pixels = _pixels(2, 32, 32, 3, seed=11)
  mean = torch.tensor([0.48145466, 0.4578275, 0.40821073])[:, None, None]
  std = torch.tensor([0.26862954, 0.26130258, 0.27577711])[:, None, None]
  out = net(
    input_ids=torch.tensor(TEXTS),
    attention_mask=torch.ones(2, 12, dtype=torch.long),
    pixel_values=((pixels + 1) / 2 - mean) / std,
  )
  golden['texts'] = np.array(TEXTS, np.int32)
  golden['image'] = out.image_embeds.numpy()
  golden['text'] = out.text_embeds.numpy()
  return golden


def main():
  parser = argparse.ArgumentParser()
  parser.add_argument('names', nargs='+', choices=('inception', 'clip'))
  with torch.no_grad():
    for name in parser.parse_args().names:
      golden = {'inception': inception, 'clip': clip}[name]()
      np.savez_compressed(FOLDER / f'{name}.npz', **golden)


if __name__ == '__main__':
  main()
