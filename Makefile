# Every verb of the project. `make` alone shows them.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Seconds a single test may take; broker tests wait for conditions with their own deadlines.
PYTEST := $(BIN)/python -m pytest
LONG_MINUTES ?= 30
SEED ?= 1

.PHONY: help setup demo check test test-unit test-broker test-failed test-long bench up down lock compile clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: $(VENV)/.done ## make .venv with the locked versions (and a Java runtime if there is none)

$(VENV)/.done: requirements/dev.txt requirements/java.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: Python 3.11 or newer is needed, $$($(PYTHON) --version) found" >&2; \
	    echo "hint: make setup PYTHON=/path/to/python3.11" >&2; exit 3; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@sh deploy/local_kafka/has_java.sh || \
	  $(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/java.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: setup ## the main job, from a scan file to three tenants' topics, on a real broker
	$(BIN)/midgate demo

check: setup ## ruff, mypy --strict, import direction, sizes, compose file, Dockerfile
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(PYTEST) -q tests/unit/test_architecture.py tests/unit/test_tidy.py tests/unit/test_deploy_files.py

test: check test-unit test-broker ## everything a change must pass, with a slice of every suite

test-unit: setup ## tests without network
	$(PYTEST) -q tests/unit

test-broker: setup ## tests on a real Kafka, with a slice of the fault tests
	$(PYTEST) -q -m "not slow" tests/integration tests/faults

test-failed: setup ## again, only the broker tests that failed the last time
	$(PYTEST) -q -m "not slow" --last-failed --last-failed-no-failures none tests/integration tests/faults

test-long: setup ## the whole of the fault tests, resumable (LONG_MINUTES, SEED)
	$(BIN)/python -m tests.long_run --minutes $(LONG_MINUTES) --seed $(SEED)

bench: setup ## throughput of the router beside a plain Faust agent, ingest, rights
	$(BIN)/python -m tests.bench.run

up: setup ## start a local Kafka with Midgate's topics
	$(BIN)/midgate up

down: setup ## stop it
	$(BIN)/midgate down

lock: setup ## write requirements/*.txt anew from pyproject.toml
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes \
	  --custom-compile-command "make lock" -o requirements/run.txt pyproject.toml
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --extra dev --generate-hashes \
	  --custom-compile-command "make lock" -o requirements/dev.txt pyproject.toml

compile: setup ## optional: build the hot core modules with mypyc (needs a C compiler)
	$(BIN)/python -m deploy.compile_core

clean: ## remove what the tools left behind (never the broker's data)
	rm -f *__mypyc*.so schemas/*.so streams/*.so
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
	find . -name __pycache__ -not -path './.venv/*' -exec rm -rf {} +
