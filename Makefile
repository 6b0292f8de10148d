# make train   install into .venv and train on real digits; ARGS="model.latent_dim=10" passes overrides on
# make test    install and run the tests; make test-all runs the slow ones too
# make docs    write docs/configuration.md anew from conf/, and run every command and example of the documents, small
# make check   format, lint and types
# make format  put files into the format that make check asks for

PYTHON ?= python3

# Tests run in so many processes, each with one thread; the tests of a file stay together.
WORKERS ?= 2
BIN := .venv/bin
PYTEST = OMP_NUM_THREADS=1 $(BIN)/pytest -n $(WORKERS) --dist loadfile
export PIP_CONSTRAINT := constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: train test test-all docs check format

train: .venv/installed
	$(BIN)/vae-train experiment=quickstart $(ARGS)

test: .venv/installed-dev
	$(PYTEST) -m "not slow" $(ARGS)

test-all: .venv/installed-dev
	$(PYTEST) $(ARGS)

docs: .venv/installed-dev
	$(BIN)/python docs/configuration.py
	$(PYTEST) tests/test_docs.py $(ARGS)

check: .venv/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: .venv/installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.venv/bin/pip:
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/pip pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --editable .
	touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@
