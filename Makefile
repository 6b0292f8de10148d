# make train   install into .venv and train on real digits; ARGS="model.latent_dim=10" passes overrides
# make test    install and run the tests; make test-all also runs the slow ones
# make test-next  run the tests that concern Hydra with its next version, of constraints-next.txt, in .venv-next
# make docs    regenerate docs/configuration.md and docs/schema.json, and run all commands and examples of the documents
# make check   check format, lint and types
# make format  format files as make check requires

PYTHON ?= python3

# Number of processes that run tests, with one thread each; the tests in a file stay together.
WORKERS ?= 2
BIN := .venv/bin
NEXT := .venv-next/bin
PYTEST = OMP_NUM_THREADS=1 $(BIN)/pytest -n $(WORKERS) --dist loadfile
export PIP_CONSTRAINT := constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: train test test-all test-next docs check format

train: .venv/installed
	$(BIN)/vae-train experiment=quickstart $(ARGS)

test: .venv/installed-dev
	$(PYTEST) -m "not slow" $(ARGS)

test-all: .venv/installed-dev
	$(PYTEST) $(ARGS)

test-next: .venv-next/installed
	OMP_NUM_THREADS=1 $(NEXT)/python -m pytest -n $(WORKERS) --dist loadfile -m "not slow" \
	    tests/commands tests/config tests/runs tests/sweeps $(ARGS)

docs: .venv/installed-dev
	$(BIN)/python docs/configuration.py
	$(BIN)/python docs/schema.py
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

# The packages of .venv, beneath those that constraints-next.txt puts before them.
.venv-next/installed: .venv/installed-dev constraints-next.txt
	$(BIN)/python -m venv --clear .venv-next
	echo "import site; site.addsitedir('$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')')" \
	    > "$$($(NEXT)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/beneath.pth"
	PIP_CONSTRAINT= $(NEXT)/python -m pip install --quiet --requirement constraints-next.txt
	touch $@
