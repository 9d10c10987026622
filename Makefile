# Each target sets up what it needs by itself, in the virtual environment $(VENV); `make help` lists them.
#
#   PYTHON       interpreter to make the environment with                    make test PYTHON=python3.12
#   DJANGO       series of Django, the newest that the Python takes without  make test DJANGO=5.2
#   VENV         folder of the environment                                   make test VENV=.venv-newest
#   DATABASES    which of sqlite, postgresql, mariadb                        make test DATABASES="sqlite mariadb"
#   JOBS         how many runs of the tests go on at a time, 2 without it    make test JOBS=1
#   PYTEST_ARGS  arguments of pytest                                         make test PYTEST_ARGS="-x -k history"
#   QUICK        1 for few repetitions and small tables                      make bench QUICK=1
#   BENCH_ARGS   arguments of the benchmark: a workload, --database, ...     make bench BENCH_ARGS="calls"
#
# From the environment: DATABASE_URL (the tests, or the demo, use that database only), HISTORY_DATABASE_URL (and that
# one for the extended history), ONE_DATABASE=1 (no tests with two databases), REQUIRE_DATABASES=1 and
# REQUIRE_BROWSER=1 (what is not installed is a failure instead of a skipped test).

PYTHON ?= python3
DJANGO ?=
VENV ?= .venv
DATABASES ?=
JOBS ?=
PYTEST_ARGS ?=
TOX_ARGS ?=
QUICK ?=
BENCH_ARGS ?=

IN_VENV := $(VENV)/bin/python
SET_UP = $(PYTHON) -m scripts.environment --venv $(VENV) --django "$(DJANGO)"

.PHONY: help test compatibility matrix demo demo-extended bench check lint types contracts migrations docs clean
.PHONY: test-environment compatibility-environment check-environment
.DEFAULT_GOAL := help

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 22

test: test-environment  ## run all tests, on SQLite and on own PostgreSQL and MariaDB servers, with one database and with two
	@$(IN_VENV) -m scripts.run_tests $(DATABASES:%=--database %) $(JOBS:%=--jobs %) -- $(PYTEST_ARGS)

compatibility: compatibility-environment  ## the stock workbench of xblock-sdk on our store, in an environment of its own
	@.venv-workbench/bin/python -m pytest tests/compatibility $(PYTEST_ARGS)

matrix:  ## the tests on every Python, Django and database that tox.ini names; TOX_ARGS="-f py313" for a part
	@$(SET_UP) matrix
	@$(IN_VENV) -m tox $(TOX_ARGS)

demo:  ## serve a course of real XBlocks; prints the address and the accounts
	@$(SET_UP) $(if $(filter mysql%,$(DATABASE_URL)),--optional mysql) demo postgresql
	@$(IN_VENV) -m demo

demo-extended: export DEMO_EXTENDED_HISTORY = 1
demo-extended: demo  ## the same, with the history in a second SQLite file

bench:  ## measure, and write docs/performance.md; half an hour, or about two minutes with QUICK=1
	@$(SET_UP) --optional mysql bench demo postgresql
	@$(IN_VENV) -m bench $(if $(QUICK),--quick) $(BENCH_ARGS)

check: lint types contracts migrations docs  ## all of the following checks; -k goes on after one that fails

lint: check-environment  ## ruff: lint and format
	$(IN_VENV) -m ruff check
	$(IN_VENV) -m ruff format --check

types: check-environment  ## mypy, strict
	$(IN_VENV) -m mypy

contracts: check-environment  ## import-linter: which module may import which
	$(VENV)/bin/lint-imports

migrations: check-environment  ## that the migrations say what the models say
	$(IN_VENV) -m django makemigrations --check --dry-run --settings=tests.settings

docs:  ## build the documentation into docs/_build/html; a warning is an error
	@$(SET_UP) docs
	$(IN_VENV) -m sphinx -W --keep-going -q -b html docs docs/_build/html

test-environment:
	@$(SET_UP) --optional mysql demo postgresql test

compatibility-environment:
	@$(PYTHON) -m scripts.environment --venv .venv-workbench --django "$(DJANGO)" test workbench

check-environment:
	@$(SET_UP) check demo docs postgresql test

clean:  ## remove everything that the other targets made
	rm -rf .venv .venv-newest .venv-workbench .tox .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	rm -rf build dist demo/var docs/_build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
