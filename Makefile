# Chargeplane. `make` prints the verbs.
SHELL := /bin/sh
BIN := .venv/bin
ARGS ?=

help: ## these verbs
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1\t\2/' | expand -t 15

setup: ## makes .venv with everything for running, testing and checking
	@tools/setup.sh dev

run: ## sets up what is missing and starts the server: OCPP on 9000, REST on 8080 (ARGS="--config FILE")
	@tools/setup.sh runtime
	@exec $(BIN)/chargeplane serve $(ARGS)

test: setup ## sets up what is missing and runs the tests (ARGS="-k transaction")
	@$(BIN)/pytest -n auto $(ARGS)

check: setup ## what CI checks besides the tests: format, lint, types, rings, generated files
	@tools/check.sh

fmt: setup ## formats the code and mends what the linter can mend
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix-only .

conformance: setup ## runs the official conformance cases and writes docs/conformance.md
	@$(BIN)/python tools/conformance.py $(ARGS)

bench: setup ## the benchmarks (ARGS="--help" lists their parts)
	@$(BIN)/python benchmarks/run.py $(ARGS)

bench-roaming: setup ## the benchmarks of roaming over HTTP, about five minutes (ARGS="--help" lists their parts)
	@$(BIN)/python benchmarks/roaming_http.py $(ARGS)

docs: setup ## writes the generated pages again
	@$(BIN)/python tools/generate_config_docs.py
	@$(BIN)/python tools/requirement_lines.py

ocpi: setup ## compares the objects of OCPI with the tables of the specification (ARGS="a clone of github.com/ocpi/ocpi")
	@$(BIN)/python tools/check_ocpi_models.py $(ARGS)

lock: setup ## writes requirements/*.txt again from pyproject.toml (ARGS="--upgrade")
	@tools/lock.sh $(ARGS)

soak: setup ## the long fault tests: 200 kills under load, 25 with PostgreSQL, 100 of two that roam, outages, hostile frames (ARGS="-k kills")
	@$(BIN)/pytest -n0 -s -v -m soak $(ARGS)

.PHONY: help setup run test check fmt conformance bench bench-roaming docs ocpi lock soak
