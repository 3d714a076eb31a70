# Quartet. Everything is installed into .venv and nowhere else.
#
#   make run          install what is missing and open the portal (ARGS="--port 8000")
#   make install      install only
#   make models       install what real models need: torch, transformers and kin
#   make check        format, lint, types, import contracts
#   make test         check, then every test
#   make e2e          the tests that start whole processes
#   make bench        the benchmarks: ratios
#   make docs         write docs/configuration.md and docs/models.md from the code's tables
#   make constraints  pin again what the requirements bring along

PYTHON ?= python3
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input

.DEFAULT_GOAL := run
.PHONY: run install models check test e2e bench docs constraints clean
.DELETE_ON_ERROR:

run: $(VENV)/portal.stamp
	exec $(BIN)/python app.py $(ARGS)

install: $(VENV)/portal.stamp

models: $(VENV)/models.stamp

check: $(VENV)/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: check
	$(BIN)/python -m pytest

e2e: $(VENV)/dev.stamp
	$(BIN)/python -m pytest tests/e2e

bench: $(VENV)/dev.stamp
	$(BIN)/python benchmarks/start.py

docs: $(VENV)/portal.stamp
	$(BIN)/python docs/make_configuration.py
	$(BIN)/python docs/make_models.py

# Keeps every version that still fits; an empty constraints.txt takes the newest of all.
constraints: $(BIN)/uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-annotate \
		--custom-compile-command 'make constraints' --output-file constraints.txt \
		requirements-dev.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-annotate \
		--custom-compile-command 'make constraints' \
		--output-file tests/clients/constraints.txt tests/clients/requirements.txt

$(BIN)/uv: | $(VENV)/made
	$(PIP) install "$$(grep --only-matching '^uv==[^ ]*' requirements-dev.txt)"

clean:
	rm -rf $(VENV) .venv-clients .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

# A stamp is newer than the files it was made from, so that a second start asks no index.
$(VENV)/portal.stamp: requirements-portal.txt constraints.txt $(VENV)/made
	$(PIP) install --requirement requirements-portal.txt --constraint constraints.txt
	@touch $@

$(VENV)/models.stamp: requirements.txt $(VENV)/portal.stamp
	$(PIP) install --requirement requirements.txt --constraint constraints.txt
	@touch $@

$(VENV)/dev.stamp: requirements-dev.txt $(VENV)/portal.stamp
	$(PIP) install --requirement requirements-dev.txt --constraint constraints.txt
	@touch $@

$(VENV)/made:
	@command -v $(PYTHON) > /dev/null || { \
		echo 'Quartet needs Python 3.11 to 3.13, and there is no $(PYTHON). On Debian: sudo apt install python3 python3-venv'; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
		echo "Quartet needs Python 3.11 to 3.13; $(PYTHON) is $$($(PYTHON) -V 2>&1). Name another one: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2> /dev/null || { \
		echo 'Python comes without venv here. On Debian: sudo apt install python3-venv'; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	@touch $@
