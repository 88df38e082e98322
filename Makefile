# The two commands are `make story` and `make test`; both start from a bare
# Python 3.11 and make their own virtual environment.

VENV ?= .venv
RUN ?= runs/story
STORY ?= configs/stories/circle.yaml
SCORED ?= --prompts 64 --stories 4 --scenes 4
EXTRAS ?=
WORKERS ?= auto
# The first that runs: a name on the path may be a shim of nothing.
ifndef PYTHON
PYTHON := $(shell for name in python3.11 python3.12 python3 python; do \
  $$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
  2> /dev/null && command -v $$name && break; done)
endif

BIN := $(VENV)/bin
PHENAKI := $(BIN)/python -m phenaki_jax
PIP := $(BIN)/python -m pip --disable-pip-version-check
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --maxprocesses 4

comma := ,
BASE := .$(if $(EXTRAS),[$(EXTRAS)])
TESTS := .[test$(if $(EXTRAS),$(comma)$(EXTRAS))]

.PHONY: help story test test-slow test-all lint format bench clean

help:
	@echo 'make story      train both models small and tell a story with them'
	@echo 'make test       lint, types and the fast tests'
	@echo 'make test-slow  the slow tests; make test-all: both'
	@echo 'make lint       ruff and mypy; make format: let ruff rewrite'
	@echo 'make bench      the benchmarks, one after the other'
	@echo 'EXTRAS=gpu or EXTRAS=tpu adds an accelerator to what is installed.'

# Each step resumes, or finds its work done, when it was interrupted.
story: $(VENV)/base.stamp
	$(PHENAKI) train --config configs/tokenizer/tiny.py \
	  --workdir $(RUN)/tokenizer
	$(PHENAKI) train --config configs/generator/tiny.py \
	  --workdir $(RUN)/generator --set tokenizer_dir=$(RUN)/tokenizer
	$(PHENAKI) story $(STORY) --model $(RUN)/generator --out $(RUN)/story.mp4
	$(PHENAKI) story $(STORY) --out $(RUN)/reference.mp4
	$(PHENAKI) evaluate --model $(RUN)/generator --out $(RUN)/scores \
	  $(SCORED)
	$(PHENAKI) evaluate --out $(RUN)/reference_scores $(SCORED)
	@echo 'Two stories: $(RUN)/story.mp4 by the models trained just now, and'
	@echo '$(RUN)/reference.mp4 by the reference. Beside each stand a GIF, a'
	@echo 'contact sheet and how it was made; what the oracle says of both'
	@echo 'models is in $(RUN)/scores and $(RUN)/reference_scores.'

test: lint
	$(PYTEST) -m 'not slow'

test-slow: $(VENV)/test.stamp
	$(PYTEST) -m slow

test-all: $(VENV)/test.stamp
	$(PYTEST)

lint: $(VENV)/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/test.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/base.stamp
	@set -e; for file in benchmarks/*.py; do \
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

# A virtual environment without pip is one whose making was interrupted.
define make_venv
'$(PYTHON)' -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
  2> /dev/null || { \
  echo 'phenaki-jax needs Python 3.11 or newer, and none was found' \
    '$(if $(PYTHON),($(PYTHON) is not),on the path); name one:' \
    'make $(MAKECMDGOALS) PYTHON=/path/to/python3.11' >&2; exit 1; }; \
$(PIP) --version > /dev/null 2>&1 || '$(PYTHON)' -m venv --clear '$(VENV)'
endef
