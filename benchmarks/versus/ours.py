"""The worker of phenaki_jax: its training steps and its decoding loop.

Run as `python -m versus.ours SHAPES CASES THREADS`, each argument as JSON. The
training steps are those of `phenaki train`. Unlike the peer's they also average
the parameters and check that all values are finite.
"""

import dataclasses
import importlib.metadata
import json
import math
import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from phenaki_jax import rng as rngs
from phenaki_jax import sharding
from phenaki_jax.masked_transformer.config import GeneratorConfig
from phenaki_jax.masked_transformer.losses import token_loss
from phenaki_jax.masked_transformer.masking import hide
from phenaki_jax.masked_transformer.model import MaskedTransformer
from phenaki_jax.planning import flops as flops_lib
from phenaki_jax.sampling.config import DecodeConfig
from phenaki_jax.sampling.decode import decode
from phenaki_jax.sampling.guidance import guide
from phenaki_jax.tokenizer.config import TokenizerConfig
from phenaki_jax.training import state as state_lib
from phenaki_jax.training import step as step_lib
from phenaki_jax.training.config import OptimConfig
from phenaki_jax.training.metrics import Mean
from phenaki_jax.training.optim import make_optimizer
from phenaki_jax.training.tokenizer_task import TokenizerTask
from versus import worker
from versus.shapes import MATMUL, Shapes


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextVectorTask(state_lib.Task):
  """A task that trains the masked transformer alone, on text vectors.

  `GeneratorTask` also trains the text encoder and encodes pixels with a frozen
  tokenizer; the peer is timed without both.
  """

  config: GeneratorConfig
  text_width: int

  def init(self, rng: Any) -> Any:
    """Create the parameters, boxed with their logical axis names."""
    ids = jnp.zeros((1, *self.config.grid), jnp.int32)
    text = jnp.zeros((1, 1, self.text_width))
    mask = jnp.ones((1, 1), bool)
    return MaskedTransformer(self.config).init(rng, ids, text, mask)['params']

  def loss(
    self,
    params: Any,
    frozen: Any,
    batch: dict[str, Any],
    rng: Any,
    *,
    deterministic: bool = False,
  ) -> tuple[Any, dict[str, Mean]]:
    """Hide random tokens and compute the cross-entropy of predicting them."""
    del frozen, deterministic
    ids, text = batch['ids'], batch['text']
    maskable = jnp.ones((ids.shape[0], ids[0].size), bool)
    hidden = hide(rng, maskable=maskable).reshape(ids.shape)
    logits = MaskedTransformer(self.config).apply(
      {'params': params},
      jnp.where(hidden, self.config.codebook_size, ids),
      text,
      jnp.any(text != 0, -1),
      # Segment ids of the latent frames, as in training.
      jnp.zeros(ids.shape[:2], jnp.int32),
    )
    result = token_loss(logits, ids, hidden)
    return result.total / result.count, {
      'loss': Mean(result.total, result.count)
    }


def tokenizer_config(shapes: Shapes) -> TokenizerConfig:
  """Return the config of a tokenizer; FSQ with four levels per dimension."""
  return TokenizerConfig(
    patch=(shapes.patch, shapes.patch),
    tubelet=2,
    width=shapes.width,
    num_heads=shapes.heads,
    mlp_dim=shapes.mlp_dim,
    spatial_layers=shapes.spatial_layers,
    temporal_layers=shapes.temporal_layers,
    fsq_levels=(4,) * round(math.log(shapes.codes, 4)),
  )


def generator_config(shapes: Shapes) -> GeneratorConfig:
  """Return the config of a masked transformer."""
  return GeneratorConfig(
    codebook_size=shapes.codes,
    grid=shapes.grid,
    width=shapes.width,
    num_layers=shapes.generator_layers,
    num_heads=shapes.heads,
    mlp_dim=shapes.mlp_dim,
  )


def count(shapes: Shapes) -> dict[str, int]:
  """Count the FLOPs of one call of each case."""
  text = {
    'text_length': shapes.text_length,
    'text_width': shapes.text_width,
    'learned_text': False,
  }
  config = generator_config(shapes)
  # Guidance doubles the batch of one sample.
  guided = flops_lib.generator(config, batch=2, **text).forward
  return {
    'tokenizer': flops_lib.tokenizer(
      tokenizer_config(shapes),
      batch=shapes.batch,
      frames=shapes.frames,
      size=(shapes.size, shapes.size),
    ).training,
    'generator': flops_lib.generator(
      config, batch=shapes.batch, **text
    ).training,
    'sampling': guided * shapes.steps,
    MATMUL: 2 * shapes.matmul**3,
  }


def _training(
  task: Any, batch: dict[str, Any], facts: dict[str, Any], name: str
) -> Callable[[], None]:
  """Return a function that runs one training step per call."""
  optim = OptimConfig()
  optimizer = make_optimizer(
    optim, steps=1000, params=state_lib.boxed_params(task)
  )
  mesh = sharding.make_mesh(sharding.MeshConfig())
  abstract = state_lib.abstract_state(task, optimizer, mesh)
  root = rngs.root(0)
  state = state_lib.create_state(task, optimizer, abstract, root)
  facts['parameters'][name] = _count(state.params)
  step = step_lib.compile_step(
    step_lib.make_step(task, optimizer, ema_decay=optim.ema_decay), abstract
  )
  batch = sharding.global_batch(batch, mesh)

  def call() -> None:
    nonlocal state
    state, metrics = jax.block_until_ready(step(state, batch, root, {}))
    step_lib.check_finite(int(state.step), jax.device_get(metrics))

  return call


def _tokenizer(shapes: Shapes, facts: dict[str, Any]) -> Callable[[], None]:
  rng = np.random.default_rng(0)
  clip = (shapes.batch, shapes.frames, shapes.size, shapes.size, 3)
  batch = {
    'clips': {
      'pixels': rng.integers(0, 256, clip, np.uint8),
      'num_frames': np.full(shapes.batch, shapes.frames, np.int32),
    }
  }
  task = TokenizerTask(config=tokenizer_config(shapes))
  return _training(task, batch, facts, 'tokenizer')


def _generator(shapes: Shapes, facts: dict[str, Any]) -> Callable[[], None]:
  rng = np.random.default_rng(0)
  text = rng.normal(size=(shapes.batch, shapes.text_length, shapes.text_width))
  ids = rng.integers(0, shapes.codes, (shapes.batch, *shapes.grid), np.int32)
  task = TextVectorTask(
    config=generator_config(shapes), text_width=shapes.text_width
  )
  batch = {'ids': ids, 'text': text.astype(np.float32)}
  return _training(task, batch, facts, 'generator')


def _sampling(shapes: Shapes, facts: dict[str, Any]) -> Callable[[], None]:
  config = generator_config(shapes)
  model = MaskedTransformer(config)
  task = TextVectorTask(config=config, text_width=shapes.text_width)
  params = jax.jit(lambda key: sharding.unbox(task.init(key)))(rngs.root(0))
  facts['parameters']['sampling'] = _count(params)
  text = jax.random.normal(
    rngs.root(1), (1, shapes.text_length, shapes.text_width)
  )
  mask = jnp.ones(text.shape[:2], bool)
  empty = mask.at[:, 1:].set(False)

  @jax.jit
  def sample(params: Any, text: Any, keys: Any) -> Any:
    texts, masks = jnp.concatenate([text, text]), jnp.concatenate([mask, empty])

    def predict(shown: Any, progress: Any) -> Any:
      del progress
      doubled = jnp.concatenate([shown, shown]).reshape(-1, *shapes.grid)
      logits = model.apply({'params': params}, doubled, texts, masks)
      logits = logits.reshape(2, *shown.shape, -1)
      # Scale s here is scale 1 + s of the peer.
      scale = jnp.full((1,), shapes.guidance - 1.0)
      return guide(logits[0], logits[1], scale)

    return decode(
      predict,
      ids=jnp.zeros((1, shapes.tokens), jnp.int32),
      known=jnp.zeros((1, shapes.tokens), bool),
      keys=keys,
      mask_id=config.codebook_size,
      config=DecodeConfig(steps=shapes.steps),
      temperature=jnp.ones(1),
      choice_temperature=jnp.full((1,), 4.5),
    ).ids

  keys = rngs.root(2)[None]
  return lambda: jax.block_until_ready(sample(params, text, keys))


def _matmul(shapes: Shapes, facts: dict[str, Any]) -> Callable[[], None]:
  del facts
  key = rngs.root(0)
  left, right = jax.random.uniform(key, (2, shapes.matmul, shapes.matmul))
  product = jax.jit(jnp.matmul)
  return lambda: jax.block_until_ready(product(left, right))


BUILDERS = {
  'tokenizer': _tokenizer,
  'generator': _generator,
  'sampling': _sampling,
  MATMUL: _matmul,
}


def _count(params: Any) -> int:
  return sum(leaf.size for leaf in jax.tree.leaves(params))


def main(shapes: Shapes, names: list[str], threads: int) -> None:
  """Build the cases and time them on request."""
  # jax reads the number of threads from the environment.
  del threads
  answers = worker.take_output()
  facts: dict[str, Any] = {
    'versions': {
      name: importlib.metadata.version(name) for name in ('jax', 'flax')
    },
    'parameters': {},
  }
  cases = {name: BUILDERS[name](shapes, facts) for name in names}
  worker.serve(cases, facts, answers)


if __name__ == '__main__':
  main(Shapes.from_json(sys.argv[1]), *map(json.loads, sys.argv[2:]))
