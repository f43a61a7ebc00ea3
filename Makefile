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

PYTEST := $(BIN)/python -m pytest
# A file is a worker's as a whole, and whole packages where they share a stack (`tests/conftest.py`).
PYTEST_JOBS := $(PYTEST) -n $(JOBS) --dist loadscope --no-loadscope-reorder
LAB := $(BIN)/sisu lab
# The same seed is the same schedule of faults.
SEED ?= 424242
# Of some two thousand; every one of them takes an hour (`sisu lab cuts`).
CUTS ?= 100

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test lint quick check full unit integration golden golden-refresh crashdemo chaos e2e slow \
	cuts fanout restart intent-chaos sandbox-soak ship start install install-dev canary lock

help: ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/\1\t\2/p' Makefile | expand -t 16

demo: $(INSTALLED) ## run two intents through the whole system and print the evidence
	$(BIN)/sisu demo

test: $(INSTALLED_DEV) ## every test, in JOBS processes (ARGS='-k name' for some)
	$(PYTEST_JOBS) $(ARGS)

lint: $(INSTALLED_DEV) ## formatting, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

# Three lanes, each one more than the one before. `make ship` takes their parts apart: nothing runs twice there.
quick: lint unit ## lint, policy gates, unit tests

check: quick integration golden crashdemo chaos ## quick, integration tests, golden files, crashdemo, a minute of chaos

full: check e2e slow cuts fanout restart intent-chaos sandbox-soak ## check, end-to-end, browser, slow tests, every lab

ship: $(INSTALLED_DEV) ## the ship checklist, each line once (ARGS='--list' shows them)
	$(BIN)/sisu ship $(ARGS)

unit: $(INSTALLED_DEV) ## policy gates and unit tests
	$(PYTEST_JOBS) tests/unit

integration: $(INSTALLED_DEV) ## tests on a real Postgres, real Dagster, real workers
	$(PYTEST_JOBS) tests/integration

golden: $(INSTALLED_DEV) ## runs compared byte for byte with tests/golden, docs/oracle.md with the laws
	$(PYTEST) tests/golden tests/integration/oracle/test_oracle_docs.py

golden-refresh: $(INSTALLED_DEV) ## write both again (REFRESH_GOLDEN=1, then read the difference)
	@[ "$(REFRESH_GOLDEN)" = 1 ] || { \
		echo "golden-refresh writes tests/golden and docs/oracle.md again: set REFRESH_GOLDEN=1 if that is meant" >&2; \
		exit 1; }
	$(BIN)/python -m tests.integration.oracle.docs
	REFRESH_GOLDEN=1 $(PYTEST) tests/golden

e2e: $(INSTALLED_DEV) ## whole stacks from outside, pages in a browser, the README's commands
	$(PYTEST_JOBS) tests/e2e

slow: $(INSTALLED_DEV) ## tests that take a minute or more: crash points of whole stacks, soaks
	$(PYTEST) -m slow

crashdemo: $(INSTALLED) ## lab: every process killed at once, Postgres too
	$(LAB) crashdemo --seed $(SEED)

chaos: $(INSTALLED) ## lab: a minute of random faults under load
	$(LAB) chaos --minutes 1 --seed $(SEED)

cuts: $(INSTALLED) ## lab: CUTS statements lose their connection, one at a time
	$(LAB) cuts --count $(CUTS) --seed $(SEED)

fanout: $(INSTALLED) ## lab L08: a fan-out's worker killed in its middle
	$(LAB) fanout-soak --seed $(SEED)

restart: $(INSTALLED) ## lab: a hundred intents wait while everything is killed
	$(LAB) restart --count 100 --seed $(SEED)

intent-chaos: $(INSTALLED) ## lab L13: kill -9 of the worker in ExecuteST
	$(LAB) intent-chaos --seed $(SEED)

sandbox-soak: $(INSTALLED) ## lab: a hundred intents at once
	$(LAB) sandbox-soak --seed $(SEED)

start: $(INSTALLED) ## the whole stack in the foreground; Ctrl-C stops it
	$(BIN)/sisu start $(ARGS)

install: $(INSTALLED) ## the virtual environment .venv, from requirements.lock

install-dev: $(INSTALLED_DEV) ## the same with what tests and checks need

canary: $(INSTALLED_DEV) ## private Dagster and DBOS API on the newest releases allowed (OFFLINE=1: on those in .venv)
	PYTHON=$(PYTHON) OFFLINE=$(OFFLINE) scripts/canary

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
