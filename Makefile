# `make help` says what there is. Everything is made under $(VENV) and .demo/; nothing outside this folder is touched
# but pip's cache and mmsearch's own cache of unpacked weights.

PYTHON ?= python3
VENV ?= .venv
PYTEST_ARGS ?=
# Processes that run tests side by side; 0 runs them in one, which breakpoints need.
WORKERS ?= 2

PIP = $(VENV)/bin/python -m pip --disable-pip-version-check -qq
MMSEARCH = $(VENV)/bin/mmsearch

# One stamp for each set of requirements: a set is installed again only when pyproject.toml is newer than its stamp.
INSTALLED = $(VENV)/.installed
INSTALLED_DEV = $(VENV)/.installed-dev

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

.PHONY: help
help: ## say what each target does
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile
	@echo "PYTHON=$(PYTHON) and VENV=$(VENV) can be set, and for make test PYTEST_ARGS and WORKERS."

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "mmsearch needs Python 3.10 or newer, and $(PYTHON) is %d.%d: make PYTHON=..." % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)

$(INSTALLED): pyproject.toml | $(VENV)/bin/python
	@echo "Installing mmsearch into $(VENV): minutes the first time, most of it PyTorch"
	$(PIP) install -e .
	@touch $@

$(INSTALLED_DEV): pyproject.toml | $(VENV)/bin/python
	@echo "Installing mmsearch and its development tools into $(VENV): minutes the first time, most of it PyTorch"
	$(PIP) install -e '.[dev]'
	@touch $(INSTALLED) $@

.PHONY: demo
demo: export MMSEARCH_LIBRARY = $(CURDIR)/.demo/library
demo: $(INSTALLED) ## install, index the media in examples/, and search them
	@mkdir -p .demo
	$(MMSEARCH) index examples/media
	@echo
	$(MMSEARCH) query "a cup of coffee" -k 3
	@echo
	$(MMSEARCH) query "a cat" -k 3
	@echo
	$(MMSEARCH) query "will it rain tonight" -k 3
	@echo
	$(MMSEARCH) query "a submarine race" -k 3

.PHONY: test
test: $(INSTALLED_DEV) ## run the tests
	$(VENV)/bin/python -m pytest -n $(WORKERS) --dist loadfile $(PYTEST_ARGS)

.PHONY: check
check: $(INSTALLED_DEV) ## what a careful reviewer would run: format, lint, types, documents that run, whitespace
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	@files="$$(grep -rlE '^ *>>> ' --include='*.py' --include='*.md' indexer mmsearch docs README.md 2>/dev/null)"; \
	if [ -n "$$files" ]; then set -x; \
		$(VENV)/bin/python -m pytest -q -p no:randomly --doctest-modules --doctest-glob='*.md' $$files; fi
	@# Against the empty tree: every tracked file is looked at, for trailing blanks and left-over conflict markers.
	@if git rev-parse --git-dir >/dev/null 2>&1; then set -x; git diff --check "$$(git hash-object -t tree /dev/null)"; fi

.PHONY: format
format: $(INSTALLED_DEV) ## put the code in the project's format, and mend what ruff can mend
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

.PHONY: bench
bench: $(INSTALLED_DEV) ## run every script in benchmarks/
	@for script in $$(ls benchmarks/[a-z]*.py 2>/dev/null); do \
		echo "$(VENV)/bin/python $$script"; $(VENV)/bin/python "$$script" || exit; echo; done

.PHONY: clean
clean: ## remove the demo's library and all caches; the venv stays
	rm -rf .demo build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage htmlcov
	find indexer mmsearch tests benchmarks examples -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
