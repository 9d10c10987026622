# `make help` lists the targets. Each installs its needs into the virtual environment $(VENV) first.
#
#   PYTHON       interpreter to make the environment with                    make test PYTHON=python3.12
#   DJANGO       series of Django (default: the one in constraints/)         make test DJANGO=5.2
#   VENV         folder of the environment                                   make test VENV=.venv-newest
#   DATABASES    some of sqlite, postgresql, mariadb (default: all)          make test DATABASES="sqlite mariadb"
#   JOBS         runs of the tests at a time (default: 2)                    make test JOBS=1
#   COVERAGE     least coverage of all runs together, in percent             make test COVERAGE=97
#   PYTEST_ARGS  arguments of pytest                                         make test PYTEST_ARGS="-x -k history"
#   TIMES        repetitions (default: 10)                                   make under-load TIMES=3
#   PORT         port of the demo (default: 8000, or the next free one) or
#                of the service (default: 8010)                                 make demo PORT=8078
#   SAMPLE       1 for fifty invented learners in the demo                   make demo SAMPLE=1
#   QUICK        1 for few repetitions and small tables                      make bench QUICK=1
#   BENCH_ARGS   arguments of the benchmark: a workload, --database, ...     make bench BENCH_ARGS="calls"
#
# From the environment: DATABASE_URL (the only database of the tests, or of the demo), HISTORY_DATABASE_URL (the second
# database, for the extended history), ONE_DATABASE=1 (no tests with two databases), PREPARE_STATEMENTS (always or never),
# REMOTE=1 (the tests of the contract over real HTTP, with PYTEST_ARGS=tests/integration/contract),
# HISTORY_PARTITIONS (learner or time: the history of the tests in partitions, on PostgreSQL and MariaDB),
# REQUIRE_DATABASES=1 and REQUIRE_BROWSER=1 (a missing database or browser is a failure instead of a skipped test).

PYTHON ?= python3
DJANGO ?=
VENV ?= .venv
DATABASES ?=
JOBS ?=
COVERAGE ?=
PYTEST_ARGS ?=
TOX_ARGS ?=
TIMES ?=
PORT ?=
SAMPLE ?=
QUICK ?=
BENCH_ARGS ?=

IN_VENV := $(VENV)/bin/python
SET_UP = $(PYTHON) -m scripts.environment --venv $(VENV) --django "$(DJANGO)"

.PHONY: help test under-load compatibility matrix demo demo-extended demo-remote demo-import serve bench check lint types contracts migrations spelling docs
.PHONY: constraints clean
.PHONY: test-environment compatibility-environment check-environment
.DEFAULT_GOAL := help

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 22

test: test-environment  ## run all tests on SQLite, PostgreSQL and MariaDB, with one database and with two
	@$(if $(COVERAGE),$(IN_VENV) -m coverage erase)
	@$(if $(COVERAGE),COVERAGE_CORE=sysmon) $(IN_VENV) -m scripts.run_tests $(if $(COVERAGE),--coverage) $(DATABASES:%=--database %) $(JOBS:%=--jobs %) -- $(PYTEST_ARGS)
	@$(if $(COVERAGE),$(IN_VENV) -m coverage combine --quiet && $(IN_VENV) -m coverage report --fail-under=$(COVERAGE))

compatibility: compatibility-environment  ## test the stock workbench of xblock-sdk, and the guide to a runtime, in separate environments
	@.venv-workbench/bin/python -m pytest tests/compatibility $(PYTEST_ARGS)

under-load: test-environment  ## repeat the tests of races and kills ten times on all databases, with all processors busy
	@$(IN_VENV) -m scripts.under_load $(if $(TIMES),--times $(TIMES)) $(JOBS:%=--jobs %) $(DATABASES:%=--database %)

matrix:  ## run the tests on every Python, Django and database in tox.ini; TOX_ARGS="-f py313" for a part
	@$(SET_UP) matrix
	@$(IN_VENV) -m tox $(TOX_ARGS)

demo:  ## serve a course of real XBlocks; prints the address and the accounts; SAMPLE=1 adds fifty invented learners
	@$(SET_UP) $(if $(filter mysql%,$(DATABASE_URL)),--optional mysql) demo postgresql
	@$(if $(SAMPLE),$(IN_VENV) -W ignore -m django make_sample --settings demo.settings)
	@$(IN_VENV) -m demo $(if $(PORT),--port $(PORT))

demo-extended: export DEMO_EXTENDED_HISTORY = 1
demo-extended: demo  ## serve the course with the history in a second SQLite file

demo-remote:  ## serve the course by two processes: the host, and its learners' state behind a service over HTTP
	@$(SET_UP) $(if $(filter mysql%,$(DATABASE_URL)),--optional mysql) client demo postgresql server
	@$(IN_VENV) -m demo.remote $(if $(PORT),--port $(PORT))

demo-import: export DEMO_OLD_SITE = 1
demo-import:  ## import an old Open edX site in which the demo's accounts have taken the course, and serve it
	@$(SET_UP) $(if $(filter mysql%,$(DATABASE_URL)),--optional mysql) demo postgresql
	@$(IN_VENV) -W ignore -m django make_old_site --settings demo.settings
	@$(IN_VENV) -W ignore -m django import_openedx --settings demo.settings --from old_site --report demo/var/import.jsonl
	@$(IN_VENV) -m demo $(if $(PORT),--port $(PORT))

serve:  ## serve the store over HTTP, in two processes; prints the address and the command for a token
	@$(SET_UP) $(if $(filter mysql%,$(DATABASE_URL)),--optional mysql) demo postgresql server
	@$(IN_VENV) -W ignore -m demo.service_site $(if $(PORT),--port $(PORT))

bench:  ## measure, and write docs/performance.md; an hour, or some minutes with QUICK=1
	@$(SET_UP) --optional mysql bench client demo postgresql server
	@$(IN_VENV) -m bench $(if $(QUICK),--quick) $(BENCH_ARGS)

check: lint types contracts migrations spelling docs  ## run all of the following checks; make -k goes on after a failure

lint: check-environment  ## ruff: lint and format
	$(IN_VENV) -m ruff check
	$(IN_VENV) -m ruff format --check

types: check-environment  ## mypy, strict
	$(IN_VENV) -m mypy

contracts: check-environment  ## import-linter: the layers of the modules
	$(VENV)/bin/lint-imports

migrations: check-environment  ## check that the migrations match the models
	$(IN_VENV) -m django makemigrations --check --dry-run --settings=tests.settings

spelling: check-environment  ## codespell: common misspellings, in every file
	$(IN_VENV) -m codespell_lib

docs:  ## build the documentation into docs/_build/html; a warning is an error
	@$(SET_UP) docs
	$(IN_VENV) -m sphinx -W --keep-going -q -b html docs docs/_build/html

constraints:  ## pin the newest releases in constraints/, for the version of PYTHON
	@$(PYTHON) -m scripts.constraints

test-environment:
	@$(SET_UP) --optional mysql demo postgresql test

compatibility-environment:
	@$(PYTHON) -m scripts.environment --venv .venv-workbench --django "$(DJANGO)" test workbench

check-environment:
	@$(SET_UP) check demo docs postgresql test

clean:  ## remove the files of all other targets
	rm -rf .venv .venv-newest .venv-workbench .tox .postgresql .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache .coverage .coverage.*
	rm -rf build dist demo/var docs/_build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
