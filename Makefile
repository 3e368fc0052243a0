# Two commands: `make demo` and `make test`. Each makes .venv on first use. Stamps under .make/, not folders, are the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test lint clean
.DELETE_ON_ERROR:

.make/installed: pyproject.toml constraints.txt
	@echo "== installing trajlab into $(VENV) (a few minutes the first time)"
	@mkdir -p .make
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) -c constraints.txt -e .
	@touch $@

.make/tools: .make/installed
	@echo "== installing the tools for the tests"
	@$(PIP) -c constraints.txt -e '.[dev,md]'
	@touch $@

demo: .make/installed
	@echo "== make demo: fit TrajCast on the shipped sample, roll it out, judge it, write a report"
	@$(BIN)/python benchmarks/demo.py

lint: .make/tools
	@$(BIN)/ruff check trajlab tests benchmarks
	@$(BIN)/mypy

test: lint
	@echo "== make test"
	@$(BIN)/python -m pytest

clean:
	rm -rf .make build dist *.egg-info
