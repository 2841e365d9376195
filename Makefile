# Two commands do it all: `make book` builds the site, `make test` runs the tests.
# Each makes the environment in .venv first, if it is not there yet.

PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

# Real data and models are found by themselves in a folder beside this one, if there is
# any; set the two variables to look elsewhere.
MMBOOK_DATA ?= $(abspath $(firstword $(wildcard ../*/data)))
MMBOOK_MODELS ?= $(abspath $(firstword $(wildcard ../*/models)))
ifneq ($(MMBOOK_DATA),)
export MMBOOK_DATA
endif
ifneq ($(MMBOOK_MODELS),)
export MMBOOK_MODELS
endif

.DEFAULT_GOAL := help
.PHONY: help book test unit notebooks gpu lab run exercises lint format publish constraints \
	clean

help: ## Show what can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

book: .venv/ready ## Build the site into _build/html
	$(BIN)/jupyter-book build . --warningiserror --nitpick --keep-going --quiet
	@echo "The book is at _build/html/index.html"

test: unit notebooks ## Run all tests: the package, then every chapter and exercise

unit: .venv/ready ## Test the package
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest -q

notebooks: .venv/ready ## Run every chapter and exercise alone and compare (nbval)
	$(BIN)/python tools/alone.py

gpu: .venv/ready ## Test the package on a GPU
	MMBOOK_GPU=cuda $(BIN)/python -m pytest -q tests/test_gpu.py

lab: .venv/ready ## Open JupyterLab
	$(BIN)/jupyter lab chapters

run: .venv/ready ## Execute chapters in place: make run, or make run CHAPTER=5.2
	$(BIN)/python tools/run.py $(CHAPTER)

exercises: .venv/ready ## Make the exercise notebooks from their sources
	$(BIN)/python tools/exercises.py

lint: .venv/ready ## Check the style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: .venv/ready ## Put everything into style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

publish: .venv/ready ## Set the address of your copy: make publish REPO=owner/name
	$(BIN)/python tools/publish.py $(REPO)

constraints: .venv/ready ## Write down the versions that are installed now
	$(BIN)/python tools/constraints.py

clean: ## Delete what was built; the environment stays
	rm -rf _build .pytest_cache .ruff_cache

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "Python 3.11 or newer is needed"'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python \
		--constraint constraints.txt --editable '.[book,lab,test]'
	touch $@
