# boltzgen: `make demo` and `make test` need nothing but Linux and Python 3.11 to 3.13.
#
#   make demo    make the environment, install, run the road on alanine dipeptide (about 5 minutes)
#   make test    make the environment, install, run the tests
#   make lint    ruff and mypy
#   make clean   remove what was built (not .venv, not demo/)
#
# TORCH says which torch is installed first. Without a GPU, outside a mirror that serves CPU wheels:
#   make demo TORCH='torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu'

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.boltzgen-installed
TORCH ?= torch==2.13.0
PIP := $(BIN)/python -m pip --disable-pip-version-check

# The first Python that runs, is recent enough and can make environments (pyenv's shims may exist and fail).
PROBE := import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))
find_python = for python in $(PYTHON) python3.13 python3.12 python3.11 python3; do \
	if $$python -c "$(PROBE)" >/dev/null 2>&1; then echo $$python; break; fi; done

.PHONY: demo test lint clean install

demo: $(STAMP)
	$(BIN)/boltzgen demo -o demo

test: $(STAMP)
	$(BIN)/python -m pytest -q -n auto

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

install: $(STAMP)

$(BIN)/python:
	@python=$$($(find_python)); \
	if [ -z "$$python" ]; then \
		echo "No Python 3.11 to 3.13 with venv and ensurepip was found;" \
			"install one (Debian, Ubuntu: apt install python3-venv) or name it: make PYTHON=/path/to/python3.12" >&2; \
		exit 1; fi; \
	echo "making $(VENV) with $$python"; \
	$$python -m venv $(VENV)

$(STAMP): pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install --quiet -c constraints.txt $(TORCH)
	$(PIP) install --quiet -c constraints.txt -e '.[dev]'
	@touch $(STAMP)

clean:
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
