"""A running Ray; a tiny real study, and what it comes to when nothing disturbs it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ray.cluster_utils import Cluster

from tests.drivers import STUDY, outcome, run_to_the_end


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Address of a Ray of two CPUs, which a study joins faster than it starts one of its own."""
    running = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    yield running.address
    running.shutdown()


@pytest.fixture(scope="session")
def tiny_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of :data:`tests.drivers.STUDY`."""
    path = tmp_path_factory.mktemp("tiny") / "study.yaml"
    path.write_text(STUDY)
    return path


@pytest.fixture(scope="session")
def undisturbed(tiny_study: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the tiny study comes to."""
    storage = tmp_path_factory.mktemp("undisturbed")
    run_to_the_end(tiny_study, storage)
    found = outcome(storage)
    assert {state for state, _, _ in found["ends"].values()} == {"complete", "pruned"}
    return found
