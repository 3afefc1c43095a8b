# make demo: see the portrait move.   make test: check that everything works.
FITS   := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))
PYTHON ?= $(shell for p in python3.11 python3.12 python3 python; do \
            $$p -c '$(FITS)' 2>/dev/null && echo $$p && break; done)
VENV   ?= .venv
BIN    := $(VENV)/bin

.PHONY: demo test docs lint clean

$(VENV)/base.stamp: pyproject.toml
	@"$(or $(PYTHON),false)" -c '$(FITS)' 2>/dev/null || \
	  { echo "Python 3.11 or 3.12 is needed: make PYTHON=/path/to/python3.11"; exit 2; }
	@echo "Installing into $(VENV): a minute or two"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q --upgrade pip
	@PYTHONWARNINGS=ignore $(BIN)/python -m pip install -q -e '.[serve]'
	@touch $@

$(VENV)/dev.stamp: $(VENV)/base.stamp
	@echo "Installing what the tests need: a few minutes"
	@PYTHONWARNINGS=ignore $(BIN)/python -m pip install -q -e '.[dev]'
	@touch $@

demo: $(VENV)/base.stamp
	$(BIN)/avatar demo

test: $(VENV)/dev.stamp
	@sh tests/install_system.sh
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

docs: $(VENV)/dev.stamp
	NO_MKDOCS_2_WARNING=1 PYTHONPATH=. $(BIN)/mkdocs build --strict -q -f docs/mkdocs.yml
	@echo "The pages are in build/site: open build/site/index.html"

clean:
	rm -rf $(VENV) build *.egg-info
