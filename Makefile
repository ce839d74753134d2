.PHONY: check test-all smoke notebooks bench

check:  ## what a commit must pass
	ruff check .
	ruff format --check .
	mypy
	pytest

test-all:  ## also the slow tests and those that kill processes
	pytest -m 'not gpu and not benchmark'

smoke:  ## a study of seconds
	python -m harness.run search_spaces/smoke.yaml

notebooks:  ## run the notebooks on the study named by POSEBINS_STUDY, outputs kept
	jupyter nbconvert --to notebook --execute --inplace analysis/*.ipynb

bench:  ## ratios against the obvious versions, one JSON line each
	pytest -m benchmark -s tests/benchmarks
