# Everything a contributor runs. Needs make and a Python >= 3.11; the rest goes into .venv.

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# The first Python that is new enough and can make a virtual environment. Not `which`: a name on
# the path may be a version manager's shim for a version that is not switched on.
PYTHON ?= $(shell for name in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$name -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' \
		>/dev/null 2>&1 && echo $$name && break; done)

need-python = @test -n "$(PYTHON)" || { echo "make: no Python >= 3.11 with ensurepip found;" \
	"name one: make PYTHON=/path/to/python3.12" >&2; exit 1; }

PIP := $(BIN)/python -m pip --disable-pip-version-check -qq
# ARGS: more arguments for the tool, as in `make test ARGS="-k architecture"`.
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help env test storm lint types docs demo bench-quick bench bench-scale matrix plugins format lock news clean

help:  ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | while IFS='	' read -r name what; \
		do printf '  make %-12s %s\n' "$$name" "$$what"; done

env: $(READY)  ## make .venv with everything locked, and the project editable in it

$(VENV)/.locked: locks/dev.txt
	$(call need-python)
	@echo "make: $(VENV) from $$($(PYTHON) --version)"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(PIP) install --require-hashes -r locks/dev.txt
	@touch $@

# Of its own: pyproject.toml changes far more often than the lock.
$(READY): $(VENV)/.locked pyproject.toml
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

test: $(READY)  ## the project's tests
	$(BIN)/python -m pytest $(ARGS)

storm: $(READY)  ## suites that crash, hang and leak by chance, checked from the event log
	$(BIN)/python tools/storm.py $(ARGS)

lint: $(READY)  ## ruff: rules and format
	$(BIN)/ruff check $(ARGS) .
	$(BIN)/ruff format --check .

format: $(READY)  ## let ruff repair what it can
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

types: $(READY)  ## mypy --strict over source, tests and tools
	$(BIN)/mypy $(ARGS)

docs: $(READY)  ## the site, strictly, into site/
	$(BIN)/sphinx-build --fail-on-warning --keep-going --quiet --fresh-env docs site

news: $(READY)  ## the next release's changelog, as the fragments have it
	@$(BIN)/towncrier build --draft

demo:  ## the suite of networkx, serially and with -n auto, side by side
	$(call need-python)
	@$(PYTHON) tools/demo.py

bench-quick: $(READY)  ## plain pytest, xdist and braid in two minutes
	$(BIN)/python -m bench quick

bench: $(READY)  ## the same with more rounds and suites, in fifteen
	$(BIN)/python -m bench full

bench-scale: $(READY)  ## 50,000 tests, plain pytest and braid: CPU and peak memory
	$(BIN)/python -m bench scale --contenders plain,control,braid

matrix: $(READY)  ## the tests against the built wheel, on every Python, oldest and newest pytest
	$(BIN)/nox $(ARGS)

plugins: $(READY)  ## third-party plugins, the newest releases, serially and with -n 2: the table in the docs
	$(BIN)/nox --session plugins $(if $(ARGS),-- $(ARGS))

# `make lock ARGS=--upgrade` moves to the newest versions; without it only what must change does.
lock: $(READY)  ## remake the lock files from pyproject.toml
	@for group in dev test demo; do \
		echo "make: locks/$$group.txt"; \
		$(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 \
			--no-emit-index-url --custom-compile-command 'make lock' $(ARGS) \
			$$(test $$group = dev || echo --constraints locks/dev.txt) \
			pyproject.toml --group $$group --output-file locks/$$group.txt || exit 1; \
	done

clean:  ## remove everything made here
	rm -rf $(VENV) .demo-venv .bench-venvs .nox .mypy_cache .pytest_cache .ruff_cache .hypothesis site dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
