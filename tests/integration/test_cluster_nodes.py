"""A cluster of several nodes on this machine: joining it, its storage, the loss of a node."""

import os
import shutil
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import ray
from ray import tune
from ray.cluster_utils import Cluster

from harness.nodes.cluster import alive_nodes, parallel_runs, shut_down_ray, start_ray
from harness.nodes.shared_storage import check_shared
from harness.spec.sections import Resources
from harness.yaml.text import SpecError
from tests.conftest import ROOT
from trainables import registry

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # Ray's own, of its threads and sockets
]


@contextmanager
def joined(*cpus):
    """A cluster with a node for each number of CPUs, the first its head; and what was said."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": cpus[0]})
    lines = []
    try:
        for number in cpus[1:]:
            cluster.add_node(num_cpus=number)
        start_ray(cluster.address, lines.append)
        yield cluster, lines
    finally:
        shut_down_ray()
        cluster.shutdown()


@contextmanager
def node_behind(cluster, mounts):
    """One more node, started where the shell commands ``mounts`` have changed what it sees."""
    start = f"ray start --block --num-cpus=1 --address={cluster.address}"
    process = subprocess.Popen(
        ["unshare", "--mount", "sh", "-e", "-c", f"{mounts}\nexec {start}"],
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/",
    )  # fmt: skip
    num_nodes, deadline = len(alive_nodes()), time.monotonic() + 60
    try:
        while len(alive_nodes()) == num_nodes:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield
    finally:
        family = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        process.wait(20)
        for member in psutil.wait_procs(family, timeout=10)[1]:
            member.kill()


def test_a_cluster_is_joined_and_its_nodes_are_compared(tmp_path):
    with joined(1, 1) as (cluster, lines):
        assert lines == [f"joined the Ray cluster at {cluster.address}: 2 nodes, 2 CPUs, 0 GPUs"]
        assert parallel_runs(Resources(cpus=1), lines.append) == 2
        with pytest.raises(SpecError, match="at most the 1 of the largest of 2 nodes, got 2"):
            parallel_runs(Resources(cpus=2), lines.append)
        check_shared(tmp_path)
        assert os.listdir(tmp_path) == []


def test_the_drivers_settings_reach_the_workers_and_its_secrets_do_not(
    monkeypatch,
):
    names = (
        "OMP_NUM_THREADS", "GOMP_SPINCOUNT", "RAY_USAGE_STATS_ENABLED", "POSEBINS_DATABASE",
        "CUDA_VISIBLE_DEVICES",
    )  # fmt: skip
    for name in (*names, "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        # Set after the cluster has started, as by someone who joins a cluster of others.
        monkeypatch.setenv("OMP_NUM_THREADS", "7")
        monkeypatch.setenv("POSEBINS_DATABASE", "postgresql://host/name")
        start_ray(cluster.address, lambda text: None)
        ask = ray.remote(lambda: [os.environ.get(name) for name in names])
        # No GPU is visible to a task that asks for none.
        assert ray.get(ask.remote()) == ["7", "10000", "0", None, ""]
    finally:
        shut_down_ray()
        cluster.shutdown()


@pytest.mark.faults
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
@pytest.mark.skipif(shutil.which("unshare") is None, reason="unshare of util-linux is missing")
def test_a_node_with_another_file_system_or_other_code_is_told(tmp_path, monkeypatch):
    shared, other_code, lab = tmp_path / "shared", tmp_path / "trainables", tmp_path / "lab"
    shared.mkdir()
    lab.mkdir()
    (lab / "lab_of_this_test.py").write_text("")
    monkeypatch.syspath_prepend(str(lab))
    monkeypatch.setenv("PYTHONPATH", str(lab))  # of the nodes
    monkeypatch.setattr(registry, "_PLUGINS", [])
    registry.load_plugins(["lab_of_this_test"])
    shutil.copytree(ROOT / "trainables", other_code)
    (other_code / "seeding.py").write_text("# edited on this node only\n")
    mounts = {
        f"mount -t tmpfs none {shared}": "is not the driver's folder there; mount the same",
        f"mount --bind {shared} {shared}; mount -o remount,bind,ro {shared}":
            "does not reach the driver",
        f"mount --bind {other_code} {ROOT}/trainables": "the driver has Python",
        f"mount -t tmpfs none {lab}": "plugin lab_of_this_test cannot be imported: No module",
    }  # fmt: skip
    with joined(1) as (cluster, _):
        for mount, words in mounts.items():
            with node_behind(cluster, mount):
                with pytest.raises(SpecError) as caught:
                    check_shared(shared, ["lab_of_this_test"])
                assert words in str(caught.value)
                assert os.listdir(shared) == []
            while len(alive_nodes()) > 1:
                time.sleep(0.1)


class Persistent(tune.Trainable):
    """Counts to eight, keeps its count in a shared folder and says where it runs."""

    def setup(self, config):
        self._folder = Path(config["folder"])
        kept = self._folder / "count"
        self._count = int(kept.read_text()) if kept.exists() else 0

    def step(self):
        time.sleep(0.2)
        self._count += 1
        partial = self._folder / "count.partial"
        partial.write_text(str(self._count))
        partial.rename(self._folder / "count")
        node = ray.get_runtime_context().get_node_id()
        with (self._folder / "places").open("a") as places:
            places.write(f"{self._count} {node}\n")
        return {"count": self._count, "done": self._count == 8}


def places(folder):
    path = folder / "places"
    return [tuple(line.split()) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.mark.faults
def test_a_trial_moves_to_another_node_when_its_own_is_lost(tmp_path):
    with joined(0, 1, 1) as (cluster, _):

        def lose_the_trials_node():
            while len(places(tmp_path)) < 3:
                time.sleep(0.05)
            lost = places(tmp_path)[0][1]
            node = next(node for node in cluster.worker_nodes if node.node_id == lost)
            cluster.remove_node(node, allow_graceful=False)

        loss = threading.Thread(target=lose_the_trials_node, daemon=True)
        loss.start()
        results = tune.Tuner(
            tune.with_resources(Persistent, {"cpu": 1}),
            param_space={"folder": str(tmp_path)},
            run_config=tune.RunConfig(
                storage_path=str(tmp_path / "tune"),
                failure_config=tune.FailureConfig(max_failures=1),
                verbose=0,
            ),
        ).fit()
        loss.join(30)
        assert not loss.is_alive()
    counts = [int(count) for count, _ in places(tmp_path)]
    nodes = [node for _, node in places(tmp_path)]
    assert results[0].metrics["count"] == 8
    # It went on from its last count: none twice. One may be missing, kept but not yet noted.
    assert counts == sorted(set(counts))
    assert len(counts) >= 7
    assert len(set(nodes)) == 2
