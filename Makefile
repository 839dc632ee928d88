# The human entry. Everything runs in .venv; only make and Python 3.11+ have to be there.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
BIN := .venv/bin
PYTHON ?= python3
RUN_FILE ?= notebooks/runs/journal.yaml
.PHONY: report test lab bench clean

.venv/ready: requirements.txt requirements-nodeps.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("make PYTHON=python3.11: Python 3.11 or newer is needed" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --requirement requirements.txt
	$(BIN)/pip install --quiet --no-deps --requirement requirements-nodeps.txt --editable .
	touch $@

report: .venv/ready  # the main job; DOCUMENTS=folder (or GRAPHRAG=folder) QUESTIONS=file RUN=name for your own files
	$(BIN)/ragtune report $(if $(DOCUMENTS)$(GRAPHRAG),,"$(RUN_FILE)") $(if $(DOCUMENTS),--documents "$(DOCUMENTS)") \
		$(if $(GRAPHRAG),--graphrag "$(GRAPHRAG)") $(if $(QUESTIONS),--questions "$(QUESTIONS)") $(if $(RUN),--run "$(RUN)")

test: .venv/ready  # the whole check, in the order it fails fastest
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/nbstripout --verify notebooks/*.ipynb
	$(BIN)/pytest -q -m "not model and not notebook and not gpu and not browser"
	$(BIN)/pytest -q -m "model and not gpu"
	$(BIN)/pytest -q -m "notebook and not gpu"
	$(BIN)/pytest -q -rs -m "browser and not gpu" tests/browser  # left out, and said so, where no Chromium is installed

bench: .venv/ready  # timings as ratios in one run; DATA=folder of public data sets is optional
	$(BIN)/python -m tests.benchmarks $(if $(DATA),--data "$(DATA)")

lab: .venv/ready
	$(BIN)/jupyter lab --ServerApp.root_dir=. --LabApp.default_url=/lab/tree/notebooks  # executed ones are in outputs/

clean:  # what can be made again; decisions and downloads are not touched
	rm -rf .venv
	find . -name __pycache__ -prune -exec rm -rf {} +
