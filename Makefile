# Every target does its own set-up, from a fresh clone: a virtual environment in .venv, the dependencies, the broker.
# Nothing is needed but Python >= 3.11 with venv, and a package index. `make help` lists the targets.

SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
PEERS := .venv-peers
LOWEST := .venv-lowest
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
PYTEST_ARGS ?=
DEMO_ARGS ?=
GUARD_ARGS ?=
BENCH_ARGS ?=
PART ?=
BEFORE ?= 7d0a2c7
COVERAGE_MIN := 90
TWO := -n 2 --dist loadfile
QUICK := -m "not long" --ignore tests/bench --ignore tests/examples --ignore tests/packaging --ignore tests/simulation \
    --ignore tests/system

.DEFAULT_GOAL := help
PROOFS := INGEST_KILLS=100 INGEST_BROKER_KILLS=10 INGEST_NODE_KILLS=10 INGEST_PAUSE_SECONDS=120 \
    INGEST_REST_DOWN_SECONDS=60 INGEST_ROTATIONS=3 INGEST_ALERTS=1

.PHONY: help demo test test-quick test-peers test-lowest test-upgrade prove lint format docs reference bench guard dist \
    clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

# At a terminal the demo is a job of its own, so that Ctrl-C reaches it and not make, which would call that an error.
demo: $(VENV)/.installed  ## watch events flow from a simulated exchange into an embedded Kafka; Ctrl-C ends it
	@if [ -t 0 ]; then set -m; fi; $(BIN)/python -m ingest_actors demo $(DEMO_ARGS); exit $$?

# Hours on virtual time are run without coverage, which makes them five times as slow. Two files at a time, for half of
# the tests wait for processes and brokers; more would be more brokers than a small machine has memory for.
test: lint  ## all checks and all tests, with branch coverage
	$(BIN)/python -m pytest -m "not long" $(TWO) --cov --cov-report=term --cov-fail-under=$(COVERAGE_MIN) $(PYTEST_ARGS)
	$(BIN)/python -m pytest -m long $(TWO) $(PYTEST_ARGS)

# Another interpreter: make test-quick VENV=.venv-3.13 PYTHON=/path/to/python3.13
test-quick: $(VENV)/.installed-test  ## what takes minutes of the tests: no simulated days, no runs of the whole
	$(BIN)/python -m pytest $(QUICK) $(TWO) $(PYTEST_ARGS)

test-peers: $(VENV)/.installed-test $(PEERS)/.installed  ## other people's clients against the simulated exchange
	PEERS_VENV=$(PEERS) $(BIN)/python -m pytest tests/peers -n 3 --dist loadfile $(PYTEST_ARGS)

# What stands in pyproject.toml as the least is what is installed here, on the oldest Python where that is there.
test-lowest: $(LOWEST)/.installed  ## the quick tests with the lowest version of every dependency
	$(LOWEST)/bin/python -m pytest $(QUICK) $(TWO) $(PYTEST_ARGS)

# BEFORE names a commit: the release before. The default is the last one that had an older form of the state.
test-upgrade: $(VENV)/.installed-test  ## another release and this one, on one broker: upgrade, rollback, take-over
	$(BIN)/python tests/packaging/upgrade_trial.py $(BEFORE)

# docs/DELIVERY.md names what these are; the suite runs them small.
prove: $(VENV)/.installed-test  ## the long runs of what is promised: processes and brokers killed, an hour or so
	$(PROOFS) $(BIN)/python -m pytest --log-cli-level=INFO $(PYTEST_ARGS) tests/system/test_killed_services.py \
	    tests/system/test_killed_brokers.py tests/system/test_hard_times_in_kafka.py \
	    tests/system/test_replaced_connections.py tests/telemetry/test_alerts_for_real.py

lint: $(VENV)/.installed-test  ## style, types and the directions of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.installed-test  ## put the code into its style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The pages of reference are written from the code; the site is made of these and all the others, and whatever is odd
# in one, a link that leads nowhere above all, is an error.
docs: $(VENV)/.installed-docs  ## the documents as a site, in build/site
	$(BIN)/python -m sphinx -c docs -b html -W --keep-going -q . build/site
	@echo "build/site/index.html"

reference: $(VENV)/.installed-docs  ## write the pages of reference anew from the code
	$(BIN)/python docs/reference_settings.py
	$(BIN)/python docs/reference.py

# PART names one or more of the parts (make bench PART=latency); BENCH_ARGS=--quick gives a look in some minutes.
bench: $(VENV)/.installed-bench  ## how fast it is, beside what others write; about half an hour
	$(BIN)/python bench/suite.py $(PART) $(BENCH_ARGS)

guard: $(VENV)/.installed-test  ## whether a message still costs what it did, beside the naive pipeline; a minute
	$(BIN)/python bench/guard.py $(GUARD_ARGS)

dist: $(VENV)/.installed-test  ## a wheel and a source archive, in dist/, as an index would take them
	$(PIP) twine
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/python -m twine check --strict dist/*

clean:  ## remove what these targets have made, but for the broker's jars in the user's cache
	rm -rf $(VENV) $(PEERS) $(LOWEST) dist build .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# The stamps say what is installed, so that the second run is quick; a changed pyproject.toml installs again.

$(VENV)/.installed: $(BIN)/python pyproject.toml
	@echo "installing ingest-actors into $(VENV)"
	@$(PIP) --editable .
	@touch $@

$(VENV)/.installed-test: $(BIN)/python pyproject.toml
	@echo "installing ingest-actors and what its tests need into $(VENV)"
	@$(PIP) --editable '.[test]'
	@touch $@ $(VENV)/.installed $(VENV)/.installed-docs

$(VENV)/.installed-docs: $(BIN)/python pyproject.toml
	@echo "installing ingest-actors and what its documents need into $(VENV)"
	@$(PIP) --editable '.[docs]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-bench: $(BIN)/python pyproject.toml
	@echo "installing ingest-actors and what its benches need into $(VENV)"
	@$(PIP) --editable '.[bench,dev-broker]'
	@touch $@ $(VENV)/.installed

# Only what the product itself needs is at its lowest, what tests it is not.
$(LOWEST)/.installed: $(BIN)/python pyproject.toml
	@echo "installing ingest-actors with the lowest versions that it allows into $(LOWEST)"
	@$(PIP) uv
	@$(BIN)/uv venv --quiet --clear --python $(or $(PYTHON),$(BIN)/python) $(LOWEST)
	@$(BIN)/uv pip compile --quiet --resolution lowest-direct --python $(LOWEST)/bin/python pyproject.toml \
	    --output-file $(LOWEST)/lowest.txt
	@UV_LINK_MODE=copy $(BIN)/uv pip install --quiet --python $(LOWEST)/bin/python \
	    --constraints $(LOWEST)/lowest.txt --editable '.[test]'
	@touch $@

# Other people's clients have an environment of their own, and each its own list: what one cannot be without (a C
# compiler, say) keeps only that one out, and its tests are skipped with the reason.
$(PEERS)/.installed: $(BIN)/python tests/peers/install.py $(wildcard tests/peers/requirements-*.txt)
	@echo "installing other people's clients into $(PEERS)"
	@$(BIN)/python tests/peers/install.py $(PEERS)
	@touch $@

# PYTHON names the interpreter; otherwise the first of these that is new enough. (A shim that only says that its
# version is not installed is passed over.)
$(BIN)/python:
	@for python in $(or $(PYTHON),python3.13 python3.12 python3.11 python3 python); do \
	    if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	        if $$python -m venv $(VENV); then exit 0; fi; \
	        rm -rf $(VENV); \
	        echo "$$python cannot make virtual environments (Debian, Ubuntu: apt-get install python3-venv)" >&2; exit 1; \
	    fi; \
	done; \
	echo "Python 3.11 or newer is needed and none was found; name one: make PYTHON=/path/to/python3 ..." >&2; exit 1
