#!/bin/bash
# Install phenaki_jax from the current folder for TPUs and buckets, in .venv.
# Images of TPU VMs bring Python 3.10, which is too old.
set -euo pipefail
python3 -m pip install --quiet uv
python3 -m uv venv --quiet --allow-existing --python 3.11 .venv
python3 -m uv pip install --quiet --python .venv/bin/python -e '.[tpu]' gcsfs
