"""Compare orders of decoding, guidance and steps on StoryWorld.

A critic is trained for the reference checkpoint, whose own networks do not
change. Then clips of held-out prompts are generated with and without it, for
several guidance scales and numbers of decoding steps, and the oracle reads
their facts. The results are a table and a figure.

    python benchmarks/decoding/orders.py --workdir runs/critic --out docs

Training the critic and generating the clips take about ten minutes each on two
CPU cores. Both are kept in --workdir, where a stopped run goes on. The figure
needs matplotlib, which is in the extra `notebooks`.
"""

import argparse
import contextlib
import dataclasses
import json
import pathlib
import time
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from matplotlib import pyplot

from phenaki_jax import sharding
from phenaki_jax.data.config import DataConfig, SourceConfig
from phenaki_jax.data.pipeline import Pipeline
from phenaki_jax.evaluation.clips import Setup, report_clips
from phenaki_jax.evaluation.storyworld import StoryWorld
from phenaki_jax.runs.model import Model
from phenaki_jax.runs.open import load
from phenaki_jax.sampling.sampler import Sampler, SamplingSettings
from phenaki_jax.sharding import MeshConfig
from phenaki_jax.storyworld import subset_named
from phenaki_jax.training import checkpoints, loop
from phenaki_jax.training.config import OptimConfig, TrainConfig
from phenaki_jax.training.events import Events
from phenaki_jax.training.generator_config import GeneratorTaskConfig
from phenaki_jax.training.generator_task import GeneratorTask
from phenaki_jax.training.writers import JsonlWriter

ORDERS = ('random', 'confidence', 'gumbel', 'halton', 'revise', 'critic')
GUIDANCE = (1.0, 2.0, 4.0, 8.0)
STEPS = (4, 12, 24, 48)
# The value of the one where the other varies.
FIXED = {'guidance': 1.0, 'steps': 12}
# Noise on the scores of 'confidence' and 'critic'; 'random' is noise alone.
CHOICE_TEMPERATURE = 1.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
  """One line of the table.

  Attributes:
    order: which tokens are kept first.
    guidance: guidance scale.
    steps: decoding steps.
    right: share of the facts that are right.
    error: standard error of that share.
    seconds: CPU seconds to generate a clip; the guidance scale does not change
      them, so that those of guidance 1 are shown for all.
    prompts: number of clips.
  """

  order: str
  guidance: float
  steps: int
  right: float
  error: float
  seconds: float
  prompts: int


@dataclasses.dataclass(kw_only=True)
class Timed:
  """A sampler that times its batches."""

  sampler: Sampler
  seconds: list[float] = dataclasses.field(default_factory=list)

  @property
  def clip_frames(self) -> int:
    """Return the number of frames of a clip."""
    return self.sampler.clip_frames

  def frames_of(self, num_latent: int) -> int:
    """Return the number of frames of a number of latent frames."""
    return self.sampler.frames_of(num_latent)

  def clips(self, prompts: Sequence[str], **options: Any) -> np.ndarray:
    """Return clips, and keep the time of one of them."""
    start = time.process_time()
    frames = self.sampler.clips(prompts, **options)
    self.seconds.append((time.process_time() - start) / len(prompts))
    return frames


def train_critic(
  model: Model, workdir: pathlib.Path, *, steps: int, critic: str = 'token'
) -> Sampler:
  """Train a critic for a model, and return its sampler with the critic."""
  sampler = model.sampler
  config = dataclasses.replace(sampler.models.generator, critic=critic)
  task = GeneratorTask(
    config=config,
    text=sampler.models.text,
    tokenizer=sampler.models.tokenizer,
    tokenizer_params=sampler.tokenizer_params,
    training=GeneratorTaskConfig(trained='critic'),
    given=sampler.generator_params,
  )
  data = DataConfig(
    sources=(SourceConfig(layout='storyworld', subset=model.subset),),
    size=model.defaults.size,
    frames=model.defaults.clip_frames,
    batch_size=20,
    image_share=0.2,
    continuation_share=0.3,
    context_frames=model.defaults.context_frames,
  )
  tokenize = sampler.vocabulary.encode_padded
  length = sampler.models.text.max_length
  with contextlib.closing(
    Pipeline(
      data,
      lambda caption: tokenize(caption, length),
      tubelet=sampler.models.tokenizer.tubelet,
      text_length=length,
    )
  ) as pipeline:
    loop.train(
      task=task,
      optim=OptimConfig(learning_rate=3e-3, warmup_steps=20, ema_decay=0.98),
      config=TrainConfig(
        steps=steps, log_every=20, checkpoint_every=100, evaluate_every=steps
      ),
      batches=pipeline.iterate,
      data_fingerprint=pipeline.fingerprint,
      experiment={'model': model.fingerprint, 'critic': critic},
      workdir=workdir,
      mesh=sharding.make_mesh(MeshConfig(), devices=jax.devices()[:1]),
      files={},
      writers=[JsonlWriter(workdir / 'metrics.jsonl')],
      evaluators=[],
      events=Events(workdir),
      seed=0,
    )
  params = checkpoints.load_params(workdir).params
  return dataclasses.replace(
    sampler,
    models=dataclasses.replace(sampler.models, generator=config),
    generator_params=jax.tree.map(jax.numpy.asarray, params),
  )


def measure(
  sampler: Sampler, model: Model, settings: SamplingSettings, prompts: int
) -> Row:
  """Generate clips with some settings, and let the oracle read them."""
  setup = Setup(
    world=StoryWorld(subset=subset_named(model.subset), fps=model.defaults.fps),
    size=model.defaults.size,
    fps=model.defaults.fps,
    settings=settings,
    batch_size=8,
  )
  timed = Timed(sampler=sampler)
  right = report_clips(timed, setup, prompts=prompts).facts.total
  return Row(
    order=settings.order,
    guidance=settings.guidance,
    steps=settings.steps,
    right=right.accuracy,
    error=right.error,
    # The first batch includes the compilation, unless guidance alone changed.
    seconds=min(timed.seconds),
    prompts=prompts,
  )


def to_markdown(rows: list[Row]) -> str:
  """Return the table."""
  lines = [
    '| order | guidance | steps | facts right | ± | CPU seconds per clip |',
    '|---|---:|---:|---:|---:|---:|',
  ]
  seconds = {
    (row.order, row.steps): row.seconds
    for row in rows
    if row.guidance == FIXED['guidance']
  }
  lines += [
    f'| {row.order} | {row.guidance:g} | {row.steps} | {row.right:.3f} | '
    f'{row.error:.3f} | {seconds[row.order, row.steps]:.2f} |'
    for row in rows
  ]
  return '\n'.join(lines) + '\n'


def draw(rows: list[Row], path: pathlib.Path) -> None:
  """Draw accuracy over guidance, and over seconds for the decoding steps."""
  figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.5), sharey=True)
  for order in ORDERS:
    own = [row for row in rows if row.order == order]
    by_guidance = [row for row in own if row.steps == FIXED['steps']]
    by_steps = sorted(
      (row for row in own if row.guidance == FIXED['guidance']),
      key=lambda row: row.steps,
    )
    for axis, line, name in (
      (axes[0], by_guidance, 'guidance'),
      (axes[1], by_steps, 'steps'),
    ):
      axis.errorbar(
        [getattr(row, name) for row in line],
        [row.right for row in line],
        [row.error for row in line],
        marker='o',
        capsize=2,
        label=order,
      )
  axes[0].set(xlabel=f'guidance ({FIXED["steps"]} steps)', ylabel='facts right')
  axes[1].set(xlabel=f'decoding steps (guidance {FIXED["guidance"]:g})')
  for axis, ticks in zip(axes, (GUIDANCE, STEPS), strict=True):
    axis.set_xscale('log', base=2)
    axis.set_xticks(ticks, [f'{tick:g}' for tick in ticks])
    axis.grid(alpha=0.3)
  axes[1].legend()
  figure.tight_layout()
  figure.savefig(path, dpi=110)


def grid() -> list[dict[str, Any]]:
  """Return the settings of the rows: one of the two varies at a time."""
  return [
    {'order': order, 'guidance': guidance, 'steps': steps}
    for steps in STEPS
    for guidance in GUIDANCE
    if guidance == FIXED['guidance'] or steps == FIXED['steps']
    for order in ORDERS
  ]


def main() -> None:
  """Train the critic, measure all settings, write the table and the figure."""
  parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
  parser.add_argument('--workdir', type=pathlib.Path, required=True)
  parser.add_argument('--out', type=pathlib.Path, required=True)
  parser.add_argument('--train-steps', type=int, default=400)
  parser.add_argument('--prompts', type=int, default=48)
  options = parser.parse_args()
  model = load()
  sampler = train_critic(model, options.workdir, steps=options.train_steps)
  kept = options.workdir / 'rows.jsonl'
  lines = kept.read_text().splitlines() if kept.exists() else []
  rows = [Row(**json.loads(line)) for line in lines]
  for values in grid():
    wanted = {**values, 'prompts': options.prompts}
    if any(wanted.items() <= vars(row).items() for row in rows):
      continue
    settings = dataclasses.replace(
      model.defaults.settings, choice_temperature=CHOICE_TEMPERATURE, **values
    )
    rows.append(measure(sampler, model, settings, options.prompts))
    with kept.open('a') as file:
      file.write(json.dumps(vars(rows[-1])) + '\n')
    print(json.dumps(vars(rows[-1])), flush=True)
  rows = [row for row in rows if row.prompts == options.prompts]
  rows.sort(key=lambda row: (ORDERS.index(row.order), row.steps, row.guidance))
  options.out.mkdir(parents=True, exist_ok=True)
  (options.out / 'critic.md').write_text(to_markdown(rows))
  draw(rows, options.out / 'critic.png')


if __name__ == '__main__':
  main()
