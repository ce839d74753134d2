"""Fixtures shared by the whole suite."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import settings

from tests.small_disk import mounted

# Times are never asserted: a busy machine is no fault of the code.
settings.register_profile("posebins", deadline=None)
settings.load_profile("posebins")

ROOT = Path(__file__).parents[1]

# As in a trial: small tensors gain nothing from a second thread, and results must not depend on
# the number of cores.
torch.set_num_threads(1)

# The machine's own MLflow or study must not leak into a test, nor into a fixture of a whole file.
for name in ("MLFLOW_TRACKING_URI", "POSEBINS_STUDY"):
    os.environ.pop(name, None)

LONGEST = ("test_killed_run.py", "test_resume.py", "test_killed_driver.py", "test_busy_machine.py")
"""Files that start first, so that none of them runs alone at the end of several processes."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Bring the longest files to the front; the order within a file stays."""
    ranks = {name: rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(item.path.name, len(ranks)))


@pytest.fixture
def write_study(tmp_path: Path) -> Callable[[str], Path]:
    """Write a study file and return its path."""

    def write(text: str) -> Path:
        path = tmp_path / "study.yaml"
        path.write_text(text)
        return path

    return write


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    with mounted(tmp_path / "small", "1m") as folder:
        yield folder


def optuna_states(url: str, study: str) -> list[Any]:
    """States of a study's trials, by number."""
    import optuna

    loaded = optuna.load_study(study_name=study, storage=url)
    return [trial.state for trial in loaded.get_trials(deepcopy=False)]
