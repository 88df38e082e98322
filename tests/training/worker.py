"""One of several processes that train a small tokenizer on StoryWorld.

Each process has one device, and every parameter is sharded over all of them.
"""

import argparse
import os
import signal
import sys

import jax
import numpy as np

from phenaki_jax import sharding
from phenaki_jax.data.config import DataConfig
from phenaki_jax.data.pipeline import Pipeline
from phenaki_jax.tokenizer.config import TokenizerConfig
from phenaki_jax.training import loop
from phenaki_jax.training.config import OptimConfig, TrainConfig
from phenaki_jax.training.events import Events
from phenaki_jax.training.tokenizer_task import TokenizerTask
from phenaki_jax.training.writers import JsonlWriter

TOKENIZER = TokenizerConfig(
  patch=(8, 8),
  width=16,
  num_heads=2,
  mlp_dim=32,
  spatial_layers=1,
  temporal_layers=1,
)
DATA = DataConfig(
  size=(16, 16), frames=3, batch_size=8, image_share=0.5, context_frames=1
)


def main(argv):
  parser = argparse.ArgumentParser()
  parser.add_argument('workdir')
  parser.add_argument('--address', default='')
  parser.add_argument('--index', type=int, default=0)
  parser.add_argument('--count', type=int, default=1)
  parser.add_argument('--stop_at', type=int, default=-1)
  args = parser.parse_args(argv)
  if args.count > 1:
    jax.distributed.initialize(
      args.address, args.count, args.index, initialization_timeout=120
    )
  pipeline = Pipeline(
    DATA,
    lambda caption: np.array([2, 1, 0, 0], np.int32),
    tubelet=TOKENIZER.tubelet,
    text_length=4,
    process_index=args.index,
    process_count=args.count,
  )

  def batches(start):
    for step, batch in enumerate(pipeline.iterate(start), start):
      if step == args.stop_at:
        os.kill(os.getpid(), signal.SIGTERM)
      yield batch

  code = loop.train(
    task=TokenizerTask(config=TOKENIZER),
    optim=OptimConfig(warmup_steps=2),
    config=TrainConfig(steps=8, log_every=2, checkpoint_every=3),
    batches=batches,
    data_fingerprint=pipeline.fingerprint,
    experiment={'kind': 'tokenizer', 'seed': 0},
    workdir=args.workdir,
    mesh=sharding.make_mesh(sharding.MeshConfig(data=1, fsdp=args.count)),
    files={},
    writers=[JsonlWriter(os.path.join(args.workdir, 'metrics.jsonl'))],
    evaluators=[],
    events=Events(args.workdir),
    seed=0,
  )
  pipeline.close()
  return code


if __name__ == '__main__':
  sys.exit(main(sys.argv[1:]))
