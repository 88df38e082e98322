"""Write what PyTorch's own classes compute, for tests of their ports.

It needs PyTorch, torchvision and lpips, and a copy of pytorch_i3d.py from the
repository piergiaj/pytorch-i3d:

    pip install torch torchvision lpips
    python tests/perceptual/make_goldens.py --i3d pytorch_i3d.py
"""

import argparse
import importlib.util
import pathlib

import drawn
import lpips
import numpy as np
import torch

GOLDEN = pathlib.Path(__file__).parents[1] / 'golden' / 'perceptual.npz'


def _load(model, seed):
  """Give a model drawn weights; return their shapes."""
  state = model.state_dict()
  shapes = {
    name: tuple(tensor.shape)
    for name, tensor in state.items()
    # Aliases of `lin0` and so on, counters, and constants.
    if not name.startswith(('lins.', 'scaling_layer.'))
    and not name.endswith('num_batches_tracked')
  }
  tensors = drawn.draw(shapes, seed)
  for name, values in tensors.items():
    state[name].copy_(torch.from_numpy(values))
  model.eval()
  return shapes


def main():
  parser = argparse.ArgumentParser()
  parser.add_argument('--i3d', required=True)
  args = parser.parse_args()
  spec = importlib.util.spec_from_file_location('pytorch_i3d', args.i3d)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  golden = {}
  with torch.no_grad():
    net = lpips.LPIPS(
      net='vgg', pretrained=False, pnet_rand=True, verbose=False
    )
    shapes = _load(net, 0)
    pair = [
      torch.from_numpy(drawn.pixels(2, 32, 48, 3, seed=seed).copy())
      for seed in (1, 2)
    ]
    one, other = (x.permute(0, 3, 1, 2) for x in pair)
    golden['lpips'] = net(one, other).numpy().reshape(-1)
    features = net.net(net.scaling_layer(one))
    for index, layer in enumerate(features):
      golden[f'vgg_{index}'] = layer.mean((2, 3)).numpy()
    golden['vgg_names'] = np.array(sorted(shapes))

    net = module.InceptionI3d()
    shapes = _load(net, 3)
    clip = torch.from_numpy(drawn.pixels(1, 9, 32, 32, 3, seed=4))
    x = clip.permute(0, 4, 1, 2, 3)
    for name in net.VALID_ENDPOINTS:
      if name in net.end_points:
        x = net._modules[name](x)
    golden['i3d'] = x.mean((2, 3, 4)).numpy()
    golden['i3d_names'] = np.array(sorted(shapes))
    golden['i3d_shapes'] = np.array(
      [' '.join(map(str, shapes[name])) for name in sorted(shapes)]
    )
  np.savez_compressed(GOLDEN, **golden)


if __name__ == '__main__':
  main()
