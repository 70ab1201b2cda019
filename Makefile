# Needs make and Python 3.11 or newer; everything else is set up in .venv from the locked, hashed requirements.
# PYTHON=/path/to/python chooses the interpreter.

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: run test lint format sim mutants bench bench-backtest compile lock clean help
unexport PYTHONPATH PYTHONHOME PIP_USER PIP_TARGET PIP_PREFIX

VENV := .venv
PY := $(VENV)/bin/python
PYTHON ?= python3.13 python3.12 python3.11 python3 python
PIP := $(PY) -m pip --disable-pip-version-check --no-input
UV_VERSION := 0.13.8
CONFIG ?= config.example.yaml
HTTP ?= 127.0.0.1:8420
START ?= 0
MINUTES ?= 10
JOBS ?= 2
WORKERS ?= 3
HYPOTHESIS_PROFILE ?= ci
export HYPOTHESIS_PROFILE

NEW_ENOUGH := import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))
ifneq ($(shell $(PY) -c '$(NEW_ENOUGH)' >/dev/null 2>&1 && echo yes),yes)
.PHONY: $(VENV)/.python
endif

run: $(VENV)/.daemon ## make markets on the paper exchange until Ctrl-C (CONFIG=file, HTTP=address of the dashboard)
	@$(PY) .ci/foreground.py $(PY) -m marketmaker run $(CONFIG) --http $(HTTP)

test: $(VENV)/.dev ## format, lint, types, tests, coverage of the core (WORKERS=processes)
	@$(PY) -m ruff format --check .
	@$(PY) -m ruff check .
	@$(PY) -m mypy --strict marketmaker
	@$(PY) -m pytest -n $(WORKERS) tests/unit tests/property --cov=marketmaker.core --cov-branch --cov-fail-under=95
	@$(PY) -m pytest -n $(WORKERS) --dist loadscope -m 'not long' tests/contract tests/wire tests/sim tests/backtest tests/e2e tests/web

lint: $(VENV)/.dev ## format, lint and types only
	@$(PY) -m ruff format --check .
	@$(PY) -m ruff check .
	@$(PY) -m mypy --strict marketmaker

format: $(VENV)/.dev ## rewrite the code in the project's format
	@$(PY) -m ruff check --fix-only --quiet .
	@$(PY) -m ruff format .

sim: $(VENV)/.daemon ## simulate seeds with faults until Ctrl-C (START=seed, MINUTES=each, JOBS=processes)
	@$(PY) .ci/foreground.py $(PY) -m marketmaker simulate --forever --start $(START) --minutes $(MINUTES) --jobs $(JOBS)

mutants: $(VENV)/.dev ## break the code in fifty ways; the simulation has to find each
	@$(PY) -m tests.mutants

bench: $(VENV)/.dev ## time the core, and the way from a trade to its order beside the floor and ccxt
	@$(PY) benchmarks/core.py
	@$(PY) benchmarks/live.py

bench-backtest: $(VENV)/.dev ## time the backtest beside hftbacktest and numba (PEERS=python that has the extra bench)
	@$(PY) benchmarks/backtest.py --peers $(or $(PEERS),$(PY))

compile: $(VENV)/.dev ## build the compiled core (a C compiler, some minutes); run takes it, MARKETMAKER_COMPILED=1 has backtests use it
	@$(PY) scripts/compile_core.py

lock: $(VENV)/.python ## resolve the dependencies again and rewrite the locks
	@$(PIP) install --quiet uv==$(UV_VERSION)
	@set -e; compile() { \
		$(PY) -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --upgrade \
			--no-strip-extras --no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock' "$$@"; }; \
	compile pyproject.toml --extra dev --output-file requirements-dev.lock; \
	compile pyproject.toml --extra web --constraints requirements-dev.lock --output-file requirements.lock; \
	compile pyproject.toml --extra alerts --extra keys --extra ledger --extra live --extra postgres --extra web \
		--constraints requirements-dev.lock --output-file deploy/requirements.lock; \
	echo hatchling | compile - --constraints requirements-dev.lock --output-file requirements-build.lock
	@! grep -nE '://|index-url|find-links' requirements.lock requirements-build.lock requirements-dev.lock deploy/requirements.lock

clean: ## remove the environment, caches and build results
	@rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage .coverage.* htmlcov
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(VENV)/.python:
	@for python in $(PYTHON); do \
		if "$$python" -c '$(NEW_ENOUGH)' >/dev/null 2>&1; then \
			echo "creating $(VENV) with $$("$$python" --version)"; \
			"$$python" -m venv --clear $(VENV) && touch $@ && exit 0; \
			exit 1; \
		fi; \
	done; \
	echo "marketmaker needs Python 3.11 or newer with its venv module, and found none of: $(PYTHON)." \
		"Install it (on Debian and Ubuntu: apt install python3 python3-venv) or name it: make PYTHON=/path/to/python" >&2; \
	exit 1

# $(call install,LOCKS): the locked packages, then this package itself; a broken download is tried three times.
define install
@for try in 1 2 3; do \
	$(PIP) install --quiet --require-hashes $(foreach lock,$(1),-r $(lock)) && break; \
	if [ $$try = 3 ]; then echo "could not install $(1): is the package index within reach?" >&2; exit 1; fi; \
	echo "trying again ($$try of 2)" >&2; sleep 2; \
done
@$(PIP) install --quiet --no-deps --no-build-isolation --editable .
@touch $@
endef

$(VENV)/.daemon: $(VENV)/.python pyproject.toml requirements.lock requirements-build.lock
	@echo "installing the daemon"
	$(call install,requirements.lock requirements-build.lock)

$(VENV)/.dev: $(VENV)/.python pyproject.toml requirements-dev.lock
	@echo "installing the development tools"
	$(call install,requirements-dev.lock)
