# `make demo` and `make test` require only Python 3.11 or newer. `make help` lists all targets.

PYTHON ?= python3
UV ?= uv
ARGS ?=
# One more than the two cores of a small machine: tests also wait, for processes, deadlines and browsers.
JOBS ?= 3

BIN := .venv/bin
INSTALLED := .venv/installed
INSTALLED_DEV := .venv/installed-dev
# The lock files are complete: pip resolves nothing and verifies the hash of every file.
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps
COMPILE := $(UV) pip compile pyproject.toml --quiet --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate --extra build

PYTEST := $(BIN)/python -m pytest
# Tests are distributed by file, or by package where a package shares a stack (`tests/conftest.py`).
PYTEST_JOBS := $(PYTEST) -n $(JOBS) --dist loadscope --no-loadscope-reorder
LAB := $(BIN)/sisu lab
# Equal seeds draw equal fault schedules.
SEED ?= 424242
# Of some thousands; all of them take hours (`sisu lab cuts`).
CUTS ?= 100
# Generated requests of one run.
ODD ?= 500

# What `check` adds to `quick`, and what `full` adds to `check` besides the two soaks.
CHECK_PARTS := integration golden crashdemo chaos
FULL_PARTS := e2e slow cuts chaos-live fanout restart

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test coverage lint quick check full unit integration golden golden-refresh clients crashdemo chaos e2e slow \
	odd-requests cuts chaos-live fanout restart intent-chaos intent-chaos-soak sandbox-soak ship start install \
	install-dev canary lock failover nightly

help: ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/\1\t\2/p' Makefile | expand -t 20

demo: $(INSTALLED) ## run three intents through the whole system and print the evidence
	$(BIN)/sisu demo

test: $(INSTALLED_DEV) ## run every test in JOBS processes (ARGS='-k name' selects some)
	$(PYTEST_JOBS) $(ARGS)

# Measured: 88 % of the product code outside proof/, without the browser tests. Processes that a test kills, and those
# that run as another user or in a sandbox, report nothing.
COVERAGE := $(BIN)/coverage
COVERAGE_FLOOR ?= 87
coverage: $(INSTALLED_DEV) ## run every test in JOBS processes and check the branch coverage of the product code
	rm -rf .coverage && mkdir .coverage
	$(COVERAGE) run -m pytest -n $(JOBS) --dist loadscope --no-loadscope-reorder $(ARGS)
	$(COVERAGE) combine --quiet
	$(COVERAGE) report --fail-under=$(COVERAGE_FLOOR)

lint: $(INSTALLED_DEV) ## check formatting, lint rules, types and import layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

# Three lanes, each a superset of the one before.
quick: lint unit ## run lint, policy gates and unit tests

check: quick $(CHECK_PARTS) ## run quick, integration tests, golden files, crashdemo and a minute of chaos

full: check $(FULL_PARTS) failover intent-chaos sandbox-soak ## run check, end-to-end, browser and slow tests, and every lab

# Each part of the lanes once, the first soak in its long form. Golden files: if the schema changed, run
# `REFRESH_GOLDEN=1 make golden-refresh` first.
SHIP := quick $(CHECK_PARTS) $(FULL_PARTS) intent-chaos-soak sandbox-soak
ship: $(INSTALLED_DEV) ## run every line of the ship checklist once, stop at the first failure
	@number=0; for part in $(SHIP); do \
		number=$$((number + 1)); echo "ship $$number/$(words $(SHIP)): $$part"; \
		$(MAKE) --silent $$part || { echo "ship: $$part FAILED" >&2; exit 1; }; \
	done
	@echo "ship: passed: mise run quick, check and full; wf:intent:chaos:soak; sandbox:soak; golden files are current"

unit: $(INSTALLED_DEV) ## run policy gates and unit tests
	$(PYTEST_JOBS) tests/unit

integration: $(INSTALLED_DEV) ## run the tests on a real Postgres, real Dagster and real workers
	$(PYTEST_JOBS) tests/integration

golden: $(INSTALLED_DEV) ## compare runs with tests/golden byte for byte, and docs/oracle.md with the laws
	$(PYTEST) tests/golden tests/integration/oracle/test_oracle_docs.py

golden-refresh: $(INSTALLED_DEV) ## write both and the generated pages again (requires REFRESH_GOLDEN=1; then review the diff)
	@[ "$(REFRESH_GOLDEN)" = 1 ] || { \
		echo "golden-refresh overwrites tests/golden and the generated pages of docs; set REFRESH_GOLDEN=1 to confirm" >&2; \
		exit 1; }
	$(BIN)/python -m tests.integration.oracle.docs
	$(BIN)/python -m tests.docs_generators
	REFRESH_GOLDEN=1 $(PYTEST) tests/golden

e2e: $(INSTALLED_DEV) ## test whole stacks from outside, pages in a browser, the README's commands
	$(PYTEST_JOBS) tests/e2e

clients: $(INSTALLED_DEV) ## generate clients from the OpenAPI document and run them (downloads three generators)
	$(PYTEST) -m "slow or not slow" tests/e2e/test_clients.py

slow: $(INSTALLED_DEV) ## run long tests and further cases: stacks of their own, crash points, labs
	$(PYTEST) -m slow

odd-requests: $(INSTALLED_DEV) ## submit ODD generated odd but valid requests and run each to its end
	ODD_REQUESTS=$(ODD) $(PYTEST) -m "slow or not slow" tests/e2e/test_odd_requests.py

crashdemo: $(INSTALLED) ## lab: kill every process at once, sometimes Postgres too
	$(LAB) crashdemo --seed $(SEED)

chaos: $(INSTALLED) ## lab: inject random faults under load for a minute
	$(LAB) chaos --minutes 1 --seed $(SEED)

chaos-live: $(INSTALLED) ## lab: the same while a coding agent plans 200 intents, in ten minutes
	$(LAB) chaos --live --minutes 10 --seed $(SEED)

cuts: $(INSTALLED) ## lab: cut the connection of CUTS statements, one at a time
	$(LAB) cuts --count $(CUTS) --seed $(SEED)

fanout: $(INSTALLED) ## lab L08: kill the sandbox worker in the middle of a fan-out
	$(LAB) fanout-soak --seed $(SEED)

restart: $(INSTALLED) ## lab: kill everything while a hundred intents wait for approval
	$(LAB) restart --count 100 --seed $(SEED)

failover: $(INSTALLED) ## lab: kill the primary under load and promote its standby, three times
	$(LAB) failover --rounds 3 --seed $(SEED)

nightly: $(INSTALLED_DEV) ## run every long lab for hours and write its report to docs (COMMIT=1 commits it)
	scripts/nightly

intent-chaos: $(INSTALLED) ## lab L13: kill -9 the worker in ExecuteST
	$(LAB) intent-chaos --seed $(SEED)

intent-chaos-soak: $(INSTALLED) ## lab L13 twenty times
	$(LAB) intent-chaos --soak 20 --seed $(SEED)

sandbox-soak: $(INSTALLED) ## lab: run a hundred intents with about two hundred sandbox tasks
	$(LAB) sandbox-soak --seed $(SEED)

start: $(INSTALLED) ## run the whole stack in the foreground until Ctrl-C
	$(BIN)/sisu start $(ARGS)

install: $(INSTALLED) ## create the virtual environment .venv from requirements.lock

install-dev: $(INSTALLED_DEV) ## the same, with the requirements of tests and checks

canary: $(INSTALLED_DEV) ## test the private API of Dagster and DBOS on the newest allowed releases (OFFLINE=1: on .venv)
	PYTHON=$(PYTHON) OFFLINE=$(OFFLINE) scripts/canary

# uv keeps the locked versions. To upgrade a package: make lock ARGS='-P dbos'
lock: ## write the lock files again (requires uv: pip install uv)
	$(COMPILE) $(ARGS) -o requirements.lock
	$(COMPILE) $(ARGS) --extra dev -o requirements-dev.lock

$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is required; run: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(INSTALL) --require-hashes -r requirements.lock
	$(INSTALL) --no-build-isolation --editable .
	touch $@

$(INSTALLED_DEV): $(INSTALLED) requirements-dev.lock
	$(INSTALL) --require-hashes -r requirements-dev.lock
	touch $@
