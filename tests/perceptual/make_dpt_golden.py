"""Write what the PyTorch class of DPT computes, for the test of its port.

pip install torch transformers
python tests/perceptual/make_dpt_golden.py
"""

import pathlib

import drawn
import numpy as np
import torch
import transformers

GOLDEN = pathlib.Path(__file__).parents[1] / 'golden' / 'dpt.npz'


def main():
  config = transformers.DPTConfig(
    hidden_size=128,
    num_hidden_layers=4,
    num_attention_heads=2,
    intermediate_size=48,
    image_size=64,
    backbone_out_indices=[0, 1, 2, 3],
    neck_hidden_sizes=[8, 12, 16, 20],
    fusion_hidden_size=8,
    attn_implementation='eager',
  )
  model = transformers.DPTForDepthEstimation(config).eval()
  state = model.state_dict()
  shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
  for name, values in drawn.draw(shapes, 0).items():
    state[name].copy_(torch.from_numpy(values))
  pixels = torch.from_numpy(drawn.pixels(2, 64, 64, 3, seed=1))
  with torch.no_grad():
    found = model(pixels.permute(0, 3, 1, 2)).predicted_depth
  names = sorted(shapes)
  np.savez_compressed(
    GOLDEN,
    depth=found.numpy(),
    names=np.array(names),
    shapes=np.array([' '.join(map(str, shapes[name])) for name in names]),
  )


if __name__ == '__main__':
  main()
