# `make demo` and `make test` need Python 3.11 or newer and nothing else. `make help` lists the rest.

PYTHON ?= python3
UV ?= uv
ARGS ?=
JOBS ?= 2

BIN := .venv/bin
INSTALLED := .venv/installed
INSTALLED_DEV := .venv/installed-dev
# The locks are complete, so pip has nothing to resolve; it checks every file's hash.
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps
COMPILE := $(UV) pip compile pyproject.toml --quiet --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate --extra build

.DEFAULT_GOAL := help
.PHONY: help demo test check quick full start install install-dev golden lock

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' Makefile | expand -t 14

demo: $(INSTALLED) ## run two intents through the whole system and print the evidence
	$(BIN)/sisu demo

test: $(INSTALLED_DEV) ## every test, in JOBS processes (ARGS='-k name' for some)
	$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup --no-loadscope-reorder $(ARGS)

check: $(INSTALLED_DEV) ## formatting, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

quick: check ## check, and the tests that need no server: policy gates and units
	$(BIN)/python -m pytest tests/unit

full: check test ## check and test

start: $(INSTALLED) ## the whole stack in the foreground; Ctrl-C stops it
	$(BIN)/sisu start $(ARGS)

install: $(INSTALLED) ## the virtual environment .venv, from requirements.lock

install-dev: $(INSTALLED_DEV) ## the same with what tests and checks need

golden: $(INSTALLED_DEV) ## write docs/oracle.md again, from the laws
	$(BIN)/python -m tests.integration.oracle.docs

# uv writes the locks; it keeps what is locked already. To upgrade a package: make lock ARGS='-P dbos'
lock: ## write the lock files again (needs uv: pip install uv)
	$(COMPILE) $(ARGS) -o requirements.lock
	$(COMPILE) $(ARGS) --extra dev -o requirements-dev.lock

$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(INSTALL) --require-hashes -r requirements.lock
	$(INSTALL) --no-build-isolation --editable .
	touch $@

$(INSTALLED_DEV): $(INSTALLED) requirements-dev.lock
	$(INSTALL) --require-hashes -r requirements-dev.lock
	touch $@
