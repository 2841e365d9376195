# `make book` builds the site, `make test` runs the tests, `make help` lists the rest. The
# first of them makes the environment in .venv. All recipes are plain commands of Python,
# so they run in any shell, on Windows too.

WINDOWS := $(filter Windows_NT,$(OS))
PYTHON ?= $(if $(WINDOWS),python,python3)
PY := $(if $(WINDOWS),.venv/Scripts/python.exe,.venv/bin/python)
TESTS := $(PY) -m pytest --quiet --numprocesses logical --maxprocesses 4 -m

.DEFAULT_GOAL := help
.PHONY: help book test unit notebooks site epub pdf quick types gpu lab serve run exercises new twice study \
	studies lint format publish constraints clean

help: ## Show what can be made
	@$(PYTHON) -c "import re; [print(f'{t:13}{d}') for t, d in re.findall(r'(?m)^([a-z]+):.*## (.*)', open('Makefile', encoding='utf-8').read())]"

book: .venv/ready ## Build the site into _build/html
	$(PY) tools/build_site.py

test: unit notebooks site ## Run all tests: the package, every chapter and exercise, the site

epub: .venv/ready ## Make _build/mmbook.epub
	$(PY) tools/printed.py epub

pdf: .venv/ready ## Make _build/mmbook.pdf, by Chromium
	$(PY) tools/printed.py pdf

unit: lint ## Test the package and the form of the book
	$(TESTS) "not site"

notebooks: .venv/ready ## Run every chapter and exercise alone and compare (nbval), or CHAPTER=5.2
	$(PY) tools/alone.py $(CHAPTER)

site: book ## Look at every page of the site in Chromium, if there is one
	$(TESTS) site

quick: lint ## The tests that take no time: in a minute
	$(TESTS) "not slow and not site"

types: .venv/ready ## Check the types of the package
	$(PY) -m mypy

gpu: .venv/ready ## Test the package on a GPU
	$(PY) -m pytest --quiet tests/test_gpu.py

lab: .venv/ready ## Open JupyterLab
	$(PY) -m jupyterlab chapters

serve: .venv/ready ## Serve the book's captioner at http://127.0.0.1:8000
	$(PY) -m mmbook.service

run: .venv/ready ## Execute chapters in place, or CHAPTER=5.2
	$(PY) tools/run.py $(CHAPTER)

exercises: .venv/ready ## Make the exercise notebooks from their sources, or CHAPTER=5.2
	$(PY) tools/exercises.py $(CHAPTER)

new: .venv/ready ## Begin a chapter: CHAPTER=6.1 TITLE="Image captioning" [PART=] [TERMS=]
	$(PY) tools/new.py "$(CHAPTER)" "$(TITLE)" --part "$(PART)" --terms "$(TERMS)"
	$(PY) tools/run.py $(CHAPTER)
	$(PY) tools/exercises.py $(CHAPTER)

twice: .venv/ready ## Run every cell of the chapters twice, or CHAPTER=5.2
	$(PY) tools/twice.py $(CHAPTER)

study: .venv/ready ## Run one study: NAME=label_efficiency
	$(if $(NAME),,$(error say which: make study NAME=label_efficiency))
	$(PY) tools/studies.py $(NAME)

studies: .venv/ready ## Run all studies: hours
	$(PY) tools/studies.py

lint: .venv/ready ## Check the style
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

format: .venv/ready ## Bring everything into style, set-up cells and notebooks too
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .
	$(PY) tools/setup_cell.py
	$(PY) tools/normalise.py

publish: .venv/ready ## Set the address of your copy: REPO=owner/name
	$(PY) tools/publish.py $(REPO)

constraints: .venv/ready ## Write down the versions that are installed now
	$(PY) tools/constraints.py

clean: ## Delete the site and caches; the environment and half-run studies stay
	$(PYTHON) -c "import shutil; [shutil.rmtree(f, True) for f in ('_build/html', '_build/.doctrees', 'build', '.ruff_cache', '.mypy_cache')]"

unit quick: export OMP_NUM_THREADS = 1
gpu: export MMBOOK_GPU = cuda

.venv/ready: pyproject.toml constraints.txt tools/environment.py
	$(PYTHON) tools/environment.py
