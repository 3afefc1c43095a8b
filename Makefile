# make demo: see the portrait move.   make test: check that everything works.   make test-all: and what takes minutes.
FITS   := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))
PYTHON ?= $(shell for p in python3.11 python3.12 python3 python; do \
            $$p -c '$(FITS)' 2>/dev/null && echo $$p && break; done)
VENV   ?= .venv
BIN    := $(VENV)/bin
# Without remarks about root in a container or a newer pip; what fails is said all the same.
PIP    := PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONWARNINGS=ignore $(BIN)/python -m pip install -q
# The same, with a line for each library as it is fetched.
SAYING := $(subst install -q,install --progress-bar off,$(PIP))

.PHONY: demo test test-wheel test-slow test-wan test-all coverage docs lint clean

$(VENV)/base.stamp: pyproject.toml
	@"$(or $(PYTHON),false)" -c '$(FITS)' 2>/dev/null || \
	  { echo "Python 3.11 or 3.12 is needed: make PYTHON=/path/to/python3.11"; exit 2; }
	@echo "1 of 3: an environment of its own in $(VENV), with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) --upgrade pip
	@echo "2 of 3: the libraries, about 400 MB: one to three minutes, by the network"
	@$(SAYING) -e '.[serve,vcam]'
	@echo "3 of 3: done; next time this takes no time"
	@touch $@

$(VENV)/dev.stamp: $(VENV)/base.stamp
	@echo "Installing what the tests need: a few minutes"
	@$(PIP) -e '.[dev]'
	@touch $@

demo: $(VENV)/base.stamp
	$(BIN)/avatar demo

# Browsers, sockets and frames in real time, two at once: what fails is run up to twice more, and is named at the end.
test: lint
	@sh tests/install_system.sh
	$(BIN)/python -m pytest -n auto --dist loadgroup --reruns 2
	@echo "All of it passed; what was skipped, and why, is said above. What takes minutes: make test-slow"
	@echo "Next: make demo, or $(BIN)/avatar doctor"

test-wheel: $(VENV)/dev.stamp
	$(BIN)/python -m pytest -m slow tests/packaging

test-slow: $(VENV)/dev.stamp
	$(BIN)/python -m pytest -m slow

test-wan: $(VENV)/dev.stamp
	@echo "Installing the extra wan: about 50 MB come over the network"
	@$(PIP) -e '.[dev,wan]'
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/film

test-all: test test-slow test-wan

coverage: $(VENV)/dev.stamp
	$(BIN)/python -m pytest -n auto --dist loadgroup --cov --cov-report=term:skip-covered | tail -n 60

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

docs: $(VENV)/dev.stamp
	NO_MKDOCS_2_WARNING=1 PYTHONPATH=. $(BIN)/mkdocs build --strict -q -f docs/mkdocs.yml
	@echo "The pages are in build/site: open build/site/index.html"

clean:
	rm -rf $(VENV) build *.egg-info
