PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
UV_COMPILE = $(BIN)/uv pip compile --generate-hashes --no-header --quiet pyproject.toml --extra encryption
UNIVERSAL = --universal --python-version 3.10 --override requirements/base.overrides
GPU_IMAGE = --python-version 3.12 --python-platform x86_64-manylinux_2_28

.PHONY: serve test lint types demo lock clean

serve: $(VENV)/.base  ## install what the service needs and start it on 127.0.0.1:8000
	$(BIN)/faceserve serve

test: lint types  ## lint, types and every test
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

demo: $(VENV)/.base  ## enrol two people, recognise them in a group picture
	$(BIN)/faceserve demo

lock: $(VENV)/.dev  ## renew the lock files from pyproject.toml
	$(BIN)/pip install --quiet uv
	$(UV_COMPILE) $(UNIVERSAL) --upgrade --output-file requirements/base.lock
	$(UV_COMPILE) $(UNIVERSAL) --upgrade --extra dev --output-file requirements/dev.lock
	$(UV_COMPILE) $(GPU_IMAGE) --upgrade --constraint requirements/base.lock --override requirements/gpu.overrides \
		requirements/gpu.in --output-file requirements/gpu.lock

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 10) <= v <= (3, 13) else \
	"Python %d.%d is not supported: name one of 3.10 to 3.13, as in `make serve PYTHON=python3.12`" % v)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.base: requirements/base.lock pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --no-compile --no-deps --require-hashes -r requirements/base.lock
	$(BIN)/pip install --quiet --no-deps --editable .
	touch $@

$(VENV)/.dev: requirements/dev.lock $(VENV)/.base
	$(BIN)/pip install --quiet --no-compile --no-deps --require-hashes -r requirements/dev.lock
	touch $@
