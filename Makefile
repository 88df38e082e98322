# The two main targets are `make story` and `make test`. Both need only Python
# 3.11 or newer, and create their own virtual environment.

VENV ?= .venv
RUN ?= runs/story
STORY ?= configs/stories/circle.yaml
SCORED ?= --prompts 64 --stories 4 --scenes 4 --changes 5
EXTRAS ?=
WORKERS ?= auto
# Huge pages save about a quarter of each training step on a CPU (Linux, glibc).
export GLIBC_TUNABLES ?= glibc.malloc.hugetlb=1
# The first that runs, because a name on the path may be a shim without Python.
ifndef PYTHON
PYTHON := $(shell for name in python3.11 python3.12 python3 python; do \
  $$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
  2> /dev/null && command -v $$name && break; done)
endif

BIN := $(VENV)/bin
PHENAKI := $(BIN)/python -m phenaki_jax
PIP := $(BIN)/python -m pip --disable-pip-version-check
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --maxprocesses 4 --dist loadfile

comma := ,
BASE := .$(if $(EXTRAS),[$(EXTRAS)])
TESTS := .[test$(if $(EXTRAS),$(comma)$(EXTRAS))]

.PHONY: help story test test-slow test-all lint format bench clean

help:
	@echo 'make story      generate a story video, train both models, compare'
	@echo 'make test       lint, types and the fast tests'
	@echo 'make test-slow  the slow tests (make test-all runs both)'
	@echo 'make lint       ruff and mypy (make format lets ruff rewrite files)'
	@echo 'make bench      benchmarks, one after the other'
	@echo 'EXTRAS=gpu or EXTRAS=tpu installs support for an accelerator.'

# After an interruption each command resumes, or finds its work done.
story: $(VENV)/base.stamp
	@echo 'Generating a story video with the reference model:'
	@$(PHENAKI) story $(STORY) --model storyworld --out $(RUN)/reference.mp4
	@echo 'That is the video, a GIF, a contact sheet and how they were made.'
	@echo 'Training models of the same kind; their samples appear in'
	@echo '$(RUN)/tokenizer/samples and $(RUN)/generator/samples.'
	$(PHENAKI) train --config configs/tokenizer/tiny.py \
	  --workdir $(RUN)/tokenizer
	$(PHENAKI) train --config configs/generator/tiny.py \
	  --workdir $(RUN)/generator --set tokenizer_dir=$(RUN)/tokenizer
	$(PHENAKI) story $(STORY) --model $(RUN)/generator --out $(RUN)/story.mp4
	$(PHENAKI) evaluate --model $(RUN)/generator --out $(RUN)/scores \
	  $(SCORED)
	$(PHENAKI) evaluate --out $(RUN)/reference_scores $(SCORED)
	@echo 'The same story twice: $(RUN)/reference.mp4 by the reference model and'
	@echo '$(RUN)/story.mp4 by the models trained just now. The scores of both'
	@echo 'are in $(RUN)/reference_scores and $(RUN)/scores.'

test: lint
	$(PYTEST) -m 'not slow'

test-slow: $(VENV)/test.stamp
	$(PYTEST) --no-loadscope-reorder -m slow

test-all: $(VENV)/test.stamp
	$(PYTEST) --no-loadscope-reorder

lint: $(VENV)/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/test.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# One needs a trained model, and one a GPU; one is a client of the server.
BENCHMARKS := $(filter-out %/edits.py %/gpu.py,$(wildcard benchmarks/*.py))
bench: $(VENV)/test.stamp
	@set -e; for file in $(BENCHMARKS); do \
	  echo "== $$file"; $(BIN)/python $$file; done

clean:
	rm -rf build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache

$(VENV)/base.stamp: pyproject.toml setup.py
	@$(call make_venv)
	@echo 'Installing phenaki-jax into $(VENV); this takes a few minutes.'
	@$(PIP) install --quiet --editable '$(BASE)'
	@touch $@

$(VENV)/test.stamp: pyproject.toml setup.py
	@$(call make_venv)
	@echo 'Installing phenaki-jax and its tests into $(VENV).'
	@$(PIP) install --quiet --editable '$(TESTS)'
	@touch $@ $(VENV)/base.stamp

# A virtual environment without pip is one whose creation was interrupted.
define make_venv
'$(PYTHON)' -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
  2> /dev/null || { \
  echo 'phenaki-jax needs Python 3.11 or newer, and none was found' \
    '$(if $(PYTHON),($(PYTHON) is not),on the path); name one:' \
    'make $(MAKECMDGOALS) PYTHON=/path/to/python3.11' >&2; exit 1; }; \
$(PIP) --version > /dev/null 2>&1 || '$(PYTHON)' -m venv --clear '$(VENV)'
endef
