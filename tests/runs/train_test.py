"""What a run says about huge pages, the processes that it joins, a bucket."""

import contextlib
import json
import logging
import os
import pathlib
import platform
import socket
import subprocess
import sys

import pytest
from etils import epath

from phenaki_jax.runs import train
from phenaki_jax.runs.experiment import Experiment
from phenaki_jax.training.config import WandbConfig
from phenaki_jax.training.writers import WandbWriter

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Builds and ingests data into the bucket, trains 2 steps on them, resumes the
# run for 2 more, and prints what is in the run directory.
PROGRAM = """
import json
from etils import epath
from phenaki_jax.cli import main
from phenaki_jax.runs import experiment
from phenaki_jax.runs.train import train
from phenaki_jax.training.checkpoints import load_params
def call(*words):
  assert main.main(list(words)) == 0, words
call('data', 'storyworld', '--out', 'world', '--clips', '6', '--images', '6',
  '--size', '32')
call('data', 'build', '--webvid', 'world/webvid', '--img2dataset',
  'world/img2dataset', '--out', 'gs://runs/manifest')
call('data', 'ingest', 'gs://runs/manifest', '--out', 'gs://runs/set',
  '--size', '16', '--workers', '1')
small = ['data.size=16,16', 'data.frames=3', 'data.continuation_share=0',
  'data.batch_size=4', 'data.heldout_share=0.2', 'tokenizer.width=16',
  'tokenizer.num_heads=2', 'tokenizer.mlp_dim=32',
  'tokenizer.spatial_layers=1', 'tokenizer.temporal_layers=1',
  'data.sources=[{"layout": "manifest", "path": "gs://runs/set"}]']
for steps in (2, 4):
  chosen = experiment.resolve('CONFIG',
    [*small, f'train.steps={steps}', 'train.log_every=1',
    'train.checkpoint_every=2', 'train.evaluate_every=4'])
  assert train(chosen, 'gs://runs/run') == 0
run = epath.Path('gs://runs/run')
lines = (run / 'metrics.jsonl').read_text().splitlines()
print(json.dumps({
  'names': sorted(entry.name for entry in run.iterdir()),
  'steps': sorted({json.loads(line)['step'] for line in lines}),
  'step': load_params(run).step,
  'starts': len(list((run / 'events').iterdir())),
}))
"""
IS_GLIBC = sys.platform == 'linux' and platform.libc_ver()[0] == 'glibc'


@pytest.mark.skipif(not IS_GLIBC, reason='the setting is of glibc')
@pytest.mark.parametrize(
  ('given', 'is_logged'),
  [
    (None, True),
    ('glibc.pthread.rseq=0', True),
    ('glibc.malloc.hugetlb=1', False),
    ('glibc.pthread.rseq=0:glibc.malloc.hugetlb=0', False),
  ],
)
def test_cpu_run_without_huge_pages_says_how_to_get_them(
  monkeypatch, caplog, given, is_logged
):
  monkeypatch.delenv('GLIBC_TUNABLES', raising=False)
  if given is not None:
    monkeypatch.setenv('GLIBC_TUNABLES', given)
  with caplog.at_level(logging.INFO, 'phenaki_jax'):
    train.log_missing_huge_pages()
  assert ('GLIBC_TUNABLES=glibc.malloc.hugetlb=1' in caplog.text) == is_logged


def test_single_process_joins_none_and_is_the_first(monkeypatch):
  monkeypatch.delenv('PHENAKI_COORDINATOR', raising=False)
  with train.joined_processes() as is_first:
    assert is_first


@pytest.mark.slow
@pytest.mark.unoptimized
def test_a_run_in_a_bucket_trains_and_resumes(
  tmp_path, monkeypatch, compiled_once
):
  """Google Cloud Storage is a local server with its interface."""
  from gcp_storage_emulator.handlers import objects
  from gcp_storage_emulator.server import create_server

  def download(request, response, storage, *, plain=objects.download):
    plain(request, response, storage)
    names = request.params['bucket_name'], request.params['object_id']
    with contextlib.suppress(objects.NotFound):
      found = storage.get_file_obj(*names)
      response['x-goog-generation'] = found['generation']

  # TensorStore needs it to write a file again, and the emulator leaves it out.
  monkeypatch.setattr(objects, 'download', download)
  with socket.create_server(('127.0.0.1', 0)) as free:
    port = free.getsockname()[1]
  server = create_server(
    '127.0.0.1', port, in_memory=True, default_bucket='runs'
  )
  server.start()
  try:
    config = ROOT / 'configs' / 'tokenizer' / 'tiny.py'
    done = subprocess.run(
      [sys.executable, '-c', PROGRAM.replace('CONFIG', str(config))],
      cwd=tmp_path,
      capture_output=True,
      text=True,
      env={
        **os.environ,
        'PYTHONPATH': str(ROOT),
        'JAX_NUM_CPU_DEVICES': '1',
        'XDG_CACHE_HOME': str(tmp_path / 'cache'),
        'EPATH_USE_TF': 'false',
        'STORAGE_EMULATOR_HOST': f'http://127.0.0.1:{port}',
        'TENSORSTORE_GCS_HTTP_URL': f'http://127.0.0.1:{port}',
        'GOOGLE_AUTH_TOKEN_FOR_TESTING': 'none',
        **compiled_once,
      },
    )
  finally:
    server.stop()
  assert done.returncode == 0, done.stderr[-4000:]
  found = json.loads(done.stdout.splitlines()[-1])
  assert found['steps'] == [1, 2, 3, 4] and found['step'] == 4
  assert found['starts'] == 2
  assert set(found['names']) >= {
    *('checkpoints', 'config.json', 'events', 'metrics.jsonl'),
    *('samples', 'tensorboard'),
  }


def test_wandb_is_written_to_if_a_project_is_named(tmp_path):
  plain = Experiment(kind='tokenizer')
  assert train.wandb_writers(plain, epath.Path(tmp_path)) == []
  sent = Experiment(kind='tokenizer', wandb=WandbConfig(project='stories'))
  (writer,) = train.wandb_writers(sent, epath.Path(tmp_path))
  assert isinstance(writer, WandbWriter)
  # Nothing is opened before the training has its directory.
  assert not list(tmp_path.iterdir())
