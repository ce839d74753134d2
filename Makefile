.PHONY: check test-all faults smoke notebooks pictures schema bench

check:  ## what a commit must pass
	ruff check .
	ruff format --check .
	mypy
	pytest

test-all:  ## also the slow tests and those that kill processes
	pytest -m 'not gpu and not benchmark'

faults:  ## kills processes, fills disks, locks databases: a quarter of an hour on two cores
	pytest -m faults -n 3 --dist loadfile --no-loadscope-reorder

smoke:  ## a study of seconds
	python -m harness.run search_spaces/smoke.yaml

STORAGE ?= runs
RUN_NOTEBOOK = jupyter nbconvert --to notebook --execute --inplace

notebooks:  ## run each notebook on its study in STORAGE, outputs kept
	POSEBINS_STUDY=$(abspath $(STORAGE))/studies/bins $(RUN_NOTEBOOK) \
		analysis/01_per_bin.ipynb analysis/04_which_bins_matter.ipynb analysis/05_pose_vae.ipynb
	POSEBINS_STUDY=$(abspath $(STORAGE))/studies/table1_people $(RUN_NOTEBOOK) \
		analysis/02_compare_runs.ipynb analysis/03_paper_tables_and_figures.ipynb \
		analysis/06_validators.ipynb

pictures:  ## the README's pictures of two studies in STORAGE; needs Debian's chromium
	python docs/pictures.py $(STORAGE)/studies/photographs --mlflow $(STORAGE)/studies/bins

schema:  ## what editors check study files with
	python -m harness.spec > search_spaces/schema.json

bench:  ## ratios against the obvious versions, one JSON line each
	pytest -m benchmark -s tests/benchmarks
