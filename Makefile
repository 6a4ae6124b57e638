# make tables   builds .venv, then every table and figure of one scale:  make tables SCALE=tiny
#               EXTRA=true adds every basis on one budget and readings of the objective
# make test     lint, dry runs of the larger scales, the whole pipeline at the tiny ones, all tests
# make test-slurm   the pipeline at scale tiny through a real Slurm of one node; needs slurm-wlm, munge, root
# make test-chaos   the pipeline at scale tiny, killed CHAOS_KILLS=50 times at random (CHAOS_SEED=0), ends in the
#               digits of an undisturbed run; a quarter of an hour
# make test-gpu what the tests put through a pretend GPU, and the official models' fixtures, on a real one
# make verify   remakes an evaluation of the committed results in a clone and compares every digit (minutes)
# make bench    speed of training and sampling on one thread; beside the official code's, measured in turn, with
#               OFFICIAL=<folder of its checkouts: mar, xar and rar>
# make setup, make lint: the first steps of these alone
SCALE ?= cpu
EXTRA ?= false
CORES ?= all
PYTHON ?= python3
VENV := .venv
STAMP := $(VENV)/.installed
SNAKEMAKE := $(VENV)/bin/snakemake --config scale=$(SCALE) extra=$(EXTRA)
MAIN_TABLES := bar_main bar_gains rar_main bar_512 bar_128 bar_ffhq bar_t2i bar_alignment  # of those that a scale has
DRY_RUNS := $(addprefix dry-run-,cpu emoji emoji128 imagenet256 imagenet512 ffhq256 t2i)

export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export OMP_NUM_THREADS := 1

.DELETE_ON_ERROR:
.PHONY: help tables test verify test-gpu test-slurm test-chaos bench lint dry-runs $(DRY_RUNS) setup repository
help:
	@sed -n 's/^# \{0,1\}//p;/^[A-Z]/q' Makefile

tables: setup repository
	$(SNAKEMAKE) --cores $(CORES)
	$(SNAKEMAKE) --report results/$(SCALE)/workflow.html
	@cd results/$(SCALE)/tables; for table in $(MAIN_TABLES); do \
	  [ ! -e $$table.md ] || { echo; cat $$table.md; }; done
	@echo; echo "All tables: results/$(SCALE)/tables/   Report: results/$(SCALE)/report.html"

test: setup repository
	$(MAKE) -j 2 -O lint dry-runs
	snakemake --cores 2 --config scale=tiny extra=true
	snakemake --cores 2 --config scale=tiny_text
	PYTHONWARNDEFAULTENCODING=1 pytest -m "not cluster and not gpu and not chaos" -n 2 --dist loadfile --no-loadscope-reorder

verify: setup repository
	nextbasis verify --scale $(SCALE)

test-gpu: setup
	pytest -m gpu -rs

test-slurm: setup repository
	pytest -m cluster -rs

test-chaos: setup repository
	pytest -m chaos -rs

bench: setup
	python -m benchmarks --write $(if $(OFFICIAL),--official "$(OFFICIAL)")

lint: setup
	ruff check .
	ruff format --check .
	mypy
	lint-imports
	codespell
	snakefmt --check Snakefile workflow
	.ci/lint-snakemake
	.ci/audit-lock

# The papers' scales are planned for a cluster; planning needs neither its tools nor its data.
dry-runs: $(DRY_RUNS)
dry-run-imagenet256: PROFILE := --profile profiles/slurm

$(DRY_RUNS): dry-run-%: setup repository
	snakemake -n --quiet $(PROFILE) --config scale=$* extra=true

setup: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "error: $(PYTHON) is `$(PYTHON) --version 2>&1`; nextbasis needs Python 3.11 or newer:" \
	    "make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@echo "Installing what requirements.lock names into $(VENV): two to five minutes" >&2
	$(VENV)/bin/python -m pip install --quiet --requirement requirements.lock
	$(VENV)/bin/python -m pip install --quiet --no-deps --editable .
	touch $@

# DVC wants to know which version of the code made a result.
repository:
	@[ -e .git ] || [ "`dvc config core.no_scm 2>/dev/null`" = true ] || { \
	  echo "error: this folder is not a git clone (a downloaded archive?). Clone it, or run" \
	    "'make setup && .venv/bin/dvc config --local core.no_scm true' to work without git." >&2; \
	  exit 1; }
