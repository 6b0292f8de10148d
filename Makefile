# make train     install into .venv and train on real digits; ARGS="model.latent_dim=10" passes overrides
# make test      install and run the tests; make test-all also runs the slow ones
# make coverage  run the tests and show which lines of the package they run
# make docs      regenerate docs/configuration.md and docs/schema.json, and run all commands and examples of the documents
# make site      build the documentation site into site/, which a browser opens without a server
# make check     check format, lint, types, spelling and the site's links
# make format    format files as make check requires
# make release   build the wheel and the source distribution, and try them out in a bare environment
#
# With other versions of the dependencies:
# make test-lowest  run the tests with the lowest versions that pyproject.toml allows, in .venv-lowest
# make test-next    run the tests that concern Hydra with its next version, of constraints-next.txt, in .venv-next

# The Python that creates .venv: 3.11 or newer.
PYTHON ?= python3
export PYTHON

# Number of processes that run tests, with one thread each; the tests in a file stay together.
WORKERS ?= 2
BIN := .venv/bin
NEXT := .venv-next/bin
LOWEST := .venv-lowest/bin
TESTS = -n $(WORKERS) --dist loadfile
PYTEST = OMP_NUM_THREADS=1 $(BIN)/pytest $(TESTS)
# A terminal shows what pip does; a log of thousands of lines would not help.
QUIET = $$([ -t 2 ] || echo --quiet)
export PIP_CONSTRAINT := constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: train test test-all test-lowest test-next coverage docs site check format release

train: .venv/installed
	$(BIN)/vae-train experiment=quickstart $(ARGS)

test: .venv/installed-dev
	$(PYTEST) -m "not slow" $(ARGS)

test-all: .venv/installed-dev
	$(PYTEST) $(ARGS)

test-lowest: .venv-lowest/installed
	OMP_NUM_THREADS=1 $(LOWEST)/python -m pytest $(TESTS) -m "not slow" $(ARGS)

test-next: .venv-next/installed
	OMP_NUM_THREADS=1 $(NEXT)/python -m pytest $(TESTS) -m "not slow" \
	    tests/commands tests/config tests/runs tests/sweeps $(ARGS)

coverage: .venv/installed-dev
	$(PYTEST) -m "not slow" --cov --cov-report=term:skip-covered --cov-report=html $(ARGS)

docs: .venv/installed-dev
	$(BIN)/python docs/configuration.py
	$(BIN)/python docs/schema.py
	$(PYTEST) tests/test_docs.py $(ARGS)

site: .venv/installed-dev
	EXECUTE=true OMP_NUM_THREADS=1 $(BIN)/mkdocs build
	@echo "open site/index.html"

# .pre-commit-config.yaml has the same commands.
check: .venv/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/codespell
	$(BIN)/mkdocs build --site-dir build/site

format: .venv/installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

release: .venv/installed-dev
	$(BIN)/python scripts/release.py $(ARGS)

# Environments. The mark of an incomplete installation becomes the stamp of a complete one.

.venv/installed: pyproject.toml constraints.txt
	@scripts/environment.sh .venv
	@echo "installing vae-lightning into .venv (on Linux, torch with CUDA: 3 GB to download, 6 GB on disk)"
	@$(BIN)/pip install $(QUIET) --editable .
	@mv .venv/installing $@

.venv/installed-dev: .venv/installed
	@scripts/environment.sh .venv
	@echo "installing what the tests need into .venv"
	@$(BIN)/pip install $(QUIET) --editable '.[dev]'
	@mv .venv/installing $@

.venv-lowest/installed: pyproject.toml
	@scripts/environment.sh .venv-lowest
	@echo "installing the lowest versions into .venv-lowest"
	@$(LOWEST)/pip install $(QUIET) uv
	@$(LOWEST)/uv pip install $(QUIET) --python $(LOWEST)/python --resolution lowest-direct --editable '.[dev]'
	@mv .venv-lowest/installing $@

# The packages of .venv, beneath those that constraints-next.txt puts before them.
.venv-next/installed: .venv/installed-dev constraints-next.txt
	$(BIN)/python -m venv --clear .venv-next
	echo "import site; site.addsitedir('$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')')" \
	    > "$$($(NEXT)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/beneath.pth"
	PIP_CONSTRAINT= $(NEXT)/python -m pip install --quiet --requirement constraints-next.txt
	touch $@
