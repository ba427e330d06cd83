# From nothing to a verdict: `make reproduce`. What else there is: `make help`.

PYTHON ?= python3.11
SCALE ?= laptop
# Where torch comes from if not from the lock: for machines without GPU, https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
# Snakemake and the tests use all cores by themselves, and two Snakemakes cannot work in one folder.
.NOTPARALLEL:

VENV := .venv
READY := $(VENV)/.ready
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
INSTALL := $(VENV)/bin/python -m pip --disable-pip-version-check install --quiet --no-deps
RUN := snakemake --profile workflow/profiles/local --config scale=$(SCALE)
# One line of progress, and errors; not those of jobs that Ctrl-C ended.
SHOWN := 2>&1 | python -X utf8 workflow/progress.py
# A scale that extends another has its folder.
RESULTS = $$(am folder --project config --scale $(SCALE))

##@ What can be made

.PHONY: help
help:  ## list the targets
	@awk -F ':.*## ' '/^##@/ { print substr($$0, 5) ":" } /^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: reproduce
reproduce: $(READY)  ## everything, from data to the verdict: SCALE=smoke, laptop (default), full or paper
	@failed= results=$(RESULTS)
	trap 'echo "interrupted; the same command continues" >&2; exit 130' INT
	$(RUN) $(SHOWN) || failed=yes
	if [ "$$failed" ]; then
	    echo "What failed is shown as failed; all else follows." >&2
	    $(RUN) partial=true $(SHOWN)
	fi
	$(RUN) $${failed:+partial=true} --report $$results/workflow.html $(SHOWN)
	am report --project config --scale $(SCALE) --results $$results --out $$results/report.html
	shown=$$(mktemp -d)
	trap 'rm -r "$$shown"' EXIT
	am verify --project config --scale $(SCALE) --results $$results --out "$$shown/verdict.html"
	am agree --scale $(SCALE) --results $$results
	echo "verdict: $$results/verdict.html"
	echo "report:  $$results/report.html, and of the workflow itself $$results/workflow.html"
	if [ "$$failed" ]; then
	    echo "make: some runs failed, which tables and verdict name; after a mend, the same command runs only these" >&2
	    exit 1
	fi

.PHONY: smoke
smoke:  ## the same steps in minutes, on too little to be judged
	@$(MAKE) --no-print-directory reproduce SCALE=smoke

.PHONY: verify
verify: $(READY)  ## check the committed results without training
	@am review

.PHONY: archive
archive: $(READY)  ## a finished run in one file for reviewers, results/action-matching-SCALE.zip
	@results=$(RESULTS)
	am report --project config --scale $(SCALE) --results $$results --out $$results/report.html
	am archive --project config --scale $(SCALE) --results $$results --out results/action-matching-$(SCALE).zip

.PHONY: check
check: lint  ## style, types, layers, and the tests that train nothing, in a minute or two
	@OMP_NUM_THREADS=1 pytest -m "not slow and not trains" --numprocesses auto --maxprocesses 4 --dist worksteal --quiet

.PHONY: test
test: lint  ## every check but the slow ones, on all cores up to four
	@# One process more than cores, since those of Slurm wait. Files keep their order, which has the longest first.
	processes=$$(python -c "import os; print(min(4, os.cpu_count() + 1))")
	OMP_NUM_THREADS=1 pytest -m "not slow" --numprocesses $$processes --dist loadfile --no-loadscope-reorder --durations 20

.PHONY: test-slow
test-slow: $(READY)  ## the checks that take minutes to hours
	@pytest -m slow

.PHONY: lint
lint: $(READY)  ## style, types and layers
	@ruff check
	ruff format --check
	snakefmt --check Snakefile workflow
	mypy
	lint-imports
	python benchmarks/prose.py > /dev/null

.PHONY: docs
docs: $(READY)  ## the documentation as a site, in docs/site
	@sphinx-build -q -W --keep-going -b html -d docs/site/.doctrees docs docs/site
	echo "site: docs/site/index.html"

.PHONY: pages
pages: $(READY)  ## write the numbers of README and docs from the reference results
	@am pages

.PHONY: release-check
release-check: $(READY)  ## say what is missing for a release
	@python .ci/release.py

.PHONY: benchmark
benchmark: $(READY)  ## measure speed on this machine
	@for script in $$(grep -l __main__ benchmarks/*.py); do
	    echo "== $$script"
	    python "$$script"
	done

.PHONY: environment
environment: $(READY)  ## only make the environment, in .venv

.PHONY: lock
lock: $(READY)  ## write requirements.lock anew from requirements.in; versions stay where they may
	@uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --no-header -q \
	    requirements.in -o requirements.lock

.PHONY: clean
clean:  ## remove the environment and caches; results and data stay
	@rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis packages/am/src/*.egg-info
	find packages tests benchmarks -name __pycache__ -prune -exec rm -rf {} +

# -- the environment -------------------------------------------------------------------------------

# Packages of the lock that come with a torch for GPUs, and nothing else needs.
TORCH := torch|torchvision|triton|nvidia-[a-z0-9-]+|cuda-[a-z]+

LOCK := $(if $(TORCH_INDEX),$(VENV)/cpu.lock,requirements.lock)

$(READY): requirements.lock $(LOCK) packages/am/pyproject.toml
	@command -v $(PYTHON) > /dev/null || { echo "make: Python 3.11 is needed, and there is no $(PYTHON) here" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	echo "Installing into $(VENV): some minutes and, with a torch for GPUs, 7 GB."
	# First what builds packages, so that a build downloads nothing that the lock does not hold.
	$(INSTALL) --require-hashes -r <(awk '/^[^ ]/ { keep = /^setuptools==/ } keep' requirements.lock)
ifneq ($(TORCH_INDEX),)
	$(INSTALL) --index-url $(TORCH_INDEX) $$(grep -oE '^(torch|torchvision)==[^ ]+' requirements.lock)
endif
	$(INSTALL) --require-hashes --no-build-isolation --use-pep517 -r $(LOCK)
	$(INSTALL) --no-build-isolation -e packages/am
	$(VENV)/bin/python -m pip --disable-pip-version-check check
	touch $@

$(VENV)/cpu.lock: requirements.lock
	@mkdir -p $(@D)
	awk '/^[^ ]/ { keep = !/^($(TORCH))==/ } keep' $< > $@
