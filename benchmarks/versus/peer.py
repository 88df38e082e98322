"""The worker of phenaki-pytorch, which is used through its public classes.

Run as `python -m versus.peer SHAPES CASES THREADS`, each argument as JSON, with
a Python that has torch and phenaki-pytorch. It does not use the network.
"""

import importlib.metadata
import json
import sys
import types
from collections.abc import Callable
from typing import Any

from versus import worker
from versus.shapes import MATMUL, Shapes


class _Absent(types.ModuleType):
  """A module in which every name is an empty class."""

  def __getattr__(self, name: str) -> Any:
    if name.startswith('__'):
      raise AttributeError(name)
    return type(name, (), {'__init__': lambda self, *args, **kwargs: None})


def _stand_in_for_torchvision() -> None:
  """Let phenaki-pytorch import without torchvision.

  It needs torchvision for its data sets and its GAN, which are not used here.
  Not every build of torch has a matching torchvision.
  """
  names = ('torchvision', 'transforms', 'datasets', 'utils')
  top = sys.modules['torchvision'] = _Absent('torchvision')
  for name in names[1:]:
    module = _Absent(f'torchvision.{name}')
    sys.modules[module.__name__] = module
    setattr(top, name, module)


def _import(threads: int) -> Any:
  import torch

  # transformers must look for torchvision before the stand-in is there.
  import transformers

  try:
    import torchvision  # noqa: F401
  except ImportError:
    _stand_in_for_torchvision()
  import phenaki_pytorch
  from phenaki_pytorch import t5

  # `Phenaki` asks the model hub for T5's width even if one is given.
  t5.T5_CONFIGS[t5.DEFAULT_T5_NAME] = {'config': transformers.T5Config()}
  torch.set_num_threads(threads)
  torch.manual_seed(0)
  return torch, phenaki_pytorch


def main(shapes: Shapes, names: list[str], threads: int) -> None:
  """Build the cases and time them on request."""
  answers = worker.take_output()
  torch, phenaki_pytorch = _import(threads)
  facts: dict[str, Any] = {
    'versions': {
      name: importlib.metadata.version(name)
      for name in ('phenaki-pytorch', 'torch')
    },
    'parameters': {},
    'flops': {},
  }

  def cvivit(**sizes: int) -> Any:
    return phenaki_pytorch.CViViT(
      codebook_size=shapes.codes,
      image_size=shapes.size,
      patch_size=shapes.patch,
      temporal_patch_size=2,
      use_vgg_and_gan=False,
      **sizes,
    )

  def phenaki() -> Any:
    maskgit = phenaki_pytorch.MaskGit(
      dim=shapes.width,
      num_tokens=shapes.codes,
      max_seq_len=shapes.tokens,
      heads=shapes.heads,
      dim_head=shapes.width // shapes.heads,
      depth=shapes.generator_layers,
      dim_context=shapes.text_width,
    )
    # Sampling ends with the tokenizer's decoder, which is not to be timed: a
    # narrow tokenizer makes its cost negligible.
    pixels = cvivit(
      dim=8, heads=1, dim_head=8, spatial_depth=1, temporal_depth=1
    )
    return phenaki_pytorch.Phenaki(
      maskgit=maskgit,
      cvivit=pixels,
      text_embed_dim=shapes.text_width,
      steps=shapes.steps,
    )

  def training(model: Any, loss: Callable[[], Any]) -> Callable[[], None]:
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(
      parameters, lr=1e-3, betas=(0.9, 0.99), weight_decay=1e-4
    )

    def step() -> None:
      loss().backward()
      torch.nn.utils.clip_grad_norm_(parameters, 1.0)
      optimizer.step()
      optimizer.zero_grad()

    return step

  def tokenizer() -> Callable[[], None]:
    model = cvivit(
      dim=shapes.width,
      heads=shapes.heads,
      dim_head=shapes.width // shapes.heads,
      spatial_depth=shapes.spatial_layers,
      temporal_depth=shapes.temporal_layers,
    )
    facts['parameters']['tokenizer'] = _count(model)
    clips = torch.rand(shapes.batch, 3, shapes.frames, shapes.size, shapes.size)
    return training(model, lambda: model(clips))

  def generator() -> Callable[[], None]:
    model = phenaki()
    facts['parameters']['generator'] = _count(model.maskgit)
    ids = torch.randint(0, shapes.codes, (shapes.batch, *shapes.grid))
    text = torch.randn(shapes.batch, shapes.text_length, shapes.text_width)
    return training(
      model.maskgit, lambda: model(video_codebook_ids=ids, text_embeds=text)
    )

  def sampling() -> Callable[[], None]:
    model = phenaki()
    facts['parameters']['sampling'] = _count(model.maskgit)
    text = torch.randn(1, shapes.text_length, shapes.text_width)
    model.encode_texts = lambda texts, output_device: text

    def sample() -> None:
      model.sample(
        num_frames=shapes.frames,
        texts='a prompt',
        cond_scale=shapes.guidance,
      )

    return sample

  def matmul() -> Callable[[], None]:
    left, right = torch.rand(2, shapes.matmul, shapes.matmul)
    return lambda: torch.mm(left, right)

  builders = {
    'tokenizer': tokenizer,
    'generator': generator,
    'sampling': sampling,
    MATMUL: matmul,
  }
  cases = {name: builders[name]() for name in names}
  from torch.utils.flop_counter import FlopCounterMode

  for name, call in cases.items():
    with FlopCounterMode(display=False) as counter:
      call()
    facts['flops'][name] = counter.get_total_flops()
  worker.serve(cases, facts, answers)


def _count(model: Any) -> int:
  return sum(parameter.numel() for parameter in model.parameters())


if __name__ == '__main__':
  main(Shapes.from_json(sys.argv[1]), *map(json.loads, sys.argv[2:]))
