# Two commands do all their own set-up: `make demo` and `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
RELEASE := $(VENV)/.release
# Where `make lock` writes.
LOCK ?= .

.PHONY: demo test lint docs reference setup lock licences dist clean

demo: $(STAMP)
	@$(BIN)/fetcher demo

test: $(STAMP)
	@$(BIN)/python -m pytest

lint: $(STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/hadolint --failure-threshold style Dockerfile

# The site of docs/, in site/: a link or an anchor that leads nowhere fails it.
docs: $(STAMP)
	@$(BIN)/python -m sphinx --builder html --nitpicky --fail-on-warning --keep-going --quiet docs site

# The tables of the reference, written anew from the code.
reference: $(STAMP)
	@$(BIN)/python -m tests.site.reference

setup: $(STAMP)

# Set up again whenever a dependency changes; otherwise this costs nothing.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "fetcher needs Python 3.11 or newer; name one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "Setting up $(VENV) (once)…" >&2
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

$(RELEASE): $(STAMP)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[release]'
	@touch $@

# The versions of constraints.txt with the hashes of all their files: what runs, and what builds the wheel.
COMPILE = $(BIN)/uv pip compile --quiet --python-version 3.11 --python-platform linux --generate-hashes \
	--no-header --no-annotate --constraint constraints.txt

lock: $(RELEASE)
	@$(COMPILE) pyproject.toml --output-file $(LOCK)/requirements.lock
	@echo hatchling | $(COMPILE) - --output-file $(LOCK)/requirements-build.lock

licences: $(STAMP)
	@$(BIN)/python -m tests.dependencies >docs/licences.md

# The wheel, the sdist and the bill of materials of what is committed, tried before they are in dist/.
dist: $(RELEASE)
	@.ci/package dist

clean:
	rm -rf site $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
