# make help lists what can be asked for. PYTHON chooses the interpreter: make test PYTHON=python3.13

PYTHON ?= python3
ARGS ?=
EXIT ?=
# Test processes side by side, each with servers of its own; most of the time they wait.
JOBS ?= 2
# So many busy loops run beside the tests, to see how they do on a slow machine.
BUSY ?=
STARTED := $(shell date +%s)

MINOR = $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
VENV = .venv-$(MINOR)
BIN = $(VENV)/bin
# An environment whose interpreter has gone is as good as none.
FRESH = $(if $(wildcard $(BIN)/python),$(shell $(BIN)/python -c '' 2>/dev/null || echo stale),)

.DEFAULT_GOAL := help
.PHONY: help venv test lint format demo bench faults pins clean python stale
.DELETE_ON_ERROR:

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo '  Options: PYTHON=python3.13 · ARGS="-k expired" BUSY=2 for test · EXIT=1 BROKER=amqp://… for demo · MINUTES=15 SEED=1 for faults'

python:
	@command -v "$(PYTHON)" >/dev/null || \
	  { echo "OrderSaga: '$(PYTHON)' is not there. Install Python 3.11 or newer, or say make … PYTHON=/path/to/python3." >&2; exit 1; }
	@"$(PYTHON)" -c '' || { echo "OrderSaga: '$(PYTHON)' is found but does not run (above: why; a pyenv shim needs its version enabled). Say make … PYTHON=/path/to/python3." >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "OrderSaga: '$(PYTHON)' is Python $(MINOR), but 3.11 or newer is needed. Say make … PYTHON=python3.13." >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "OrderSaga: '$(PYTHON)' has no venv module. On Debian and Ubuntu: apt-get install python$(MINOR)-venv" >&2; exit 1; }

venv: python $(BIN)/.installed  ## create or renew the environment .venv-<python version>

$(BIN)/.installed: requirements.txt $(if $(FRESH),stale) | python
	@test -x $(BIN)/python && test -z "$(FRESH)" || "$(PYTHON)" -m venv --clear $(VENV)
	@echo "OrderSaga: installing the packages of requirements.txt into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

test: venv  ## run every test on private servers and real processes (ARGS="-k foo" goes to pytest)
	@$(BIN)/python -m tests.support.programs
	$(if $(BUSY),$(BIN)/python -m tests.support.busy $(BUSY)) $(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

lint: venv  ## ruff, mypy and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: venv  ## let ruff arrange the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

demo: venv  ## the whole house on this machine, nothing to install (EXIT=1 ends by itself)
	@$(BIN)/python manage.py demo --since $(STARTED) $(if $(EXIT),--exit) $(ARGS)

bench: venv  ## measure against plain Celery, side by side (ONLY=drain,latency ROUNDS=3); reports in docs/reports
	@$(BIN)/python -m tests.support.programs
	$(BIN)/python -m benchmarks $(if $(ONLY),--only $(ONLY)) $(if $(ROUNDS),--rounds $(ROUNDS)) $(ARGS)

faults: venv  ## orders at an even rate while one fault after another happens (MINUTES=15 SEED=1); report in docs/reports
	@$(BIN)/python -m tests.support.programs
	$(BIN)/python -m tests.faults $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED)) $(if $(KINDS),--kinds "$(KINDS)") $(ARGS)

pins: python  ## renew requirements.txt from the ranges of pyproject.toml
	@"$(PYTHON)" -m venv --clear .venv-pins
	@.venv-pins/bin/python -m pip install --quiet --disable-pip-version-check '.[test,lint]'
	@{ head -n 2 requirements.txt; .venv-pins/bin/python -m pip freeze --disable-pip-version-check --exclude ordersaga; } > requirements.new
	@mv requirements.new requirements.txt && rm -rf .venv-pins build ordersaga.egg-info

clean:  ## remove environments and caches
	rm -rf .venv-* .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .run
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
