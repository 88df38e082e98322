"""Settings of the computation that the configs of all models share."""

from typing import Literal

# The dtype of the computation; parameters are always float32.
Dtype = Literal['float32', 'bfloat16']

# The activations that the backward pass keeps (see `nn.blocks`).
Remat = Literal['none', 'matmuls', 'full']
