"""A study over several nodes, one of which is lost: its run moves and ends as if it had not."""

import io
import threading
import time

import pytest
from ray.cluster_utils import Cluster

from harness.record.ledger import read_events
from harness.record.storage import Storage
from harness.spec import load_spec
from harness.study.follow import follow_study
from harness.study.launch import Launch
from tests.repeatable_metrics import repeatable

STUDY = """
name: moved
trainable: adaptation
metric: {name: target_val/pck_05, goal: maximize}
method: random
fixed:
  data: {num_source: 120, num_target: 120, image_size: 32, heatmap_size: 16}
  net.width: 4
  vae.epochs: 3
  evaluation.bin_count: 3
  adapt: {pretrain_epochs: 2, epochs: 10, steps_per_epoch: 6, batch_size: 4}
baselines:
  all: {sampling.strategy: all}
  hardest: {sampling.strategy: hardest}
budget: {run_cap: 2}
failures: {retries: 2}
"""

pytestmark = [
    pytest.mark.faults,
    pytest.mark.filterwarnings("ignore"),  # Ray's own, of its threads and sockets
]


def epochs(ledger):
    return [event for event in read_events(ledger) if event["event"] == "epoch"]


def lose_a_node(cluster, node, ledger, lost):
    """Take a node away, without a word, once both runs are under way."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        seen = {e["number"] for e in epochs(ledger) if e["step"] >= 2} if ledger.exists() else ()
        if len(seen) == 2:
            cluster.remove_node(node, allow_graceful=False)
            lost.append([(e["number"], e["step"]) for e in epochs(ledger)])
            return
        time.sleep(0.05)


def test_the_trial_of_a_lost_node_goes_on_elsewhere(write_study, tmp_path):
    spec = load_spec(write_study(STUDY))
    alone = Storage(tmp_path / "alone")
    follow_study(spec, Launch(alone), io.StringIO())
    storage, out, lost = Storage(tmp_path / "cluster"), io.StringIO(), []
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
        arguments = (cluster, nodes[1], storage.ledger("moved"), lost)
        watcher = threading.Thread(target=lose_a_node, args=arguments)
        watcher.start()
        result, _ = follow_study(spec, Launch(storage, address=cluster.address), out)
        watcher.join()
    finally:
        cluster.shutdown()
    assert [record.state for record in result.runs] == ["complete"] * 2, out.getvalue()
    assert lost, "the node was taken away while both were training"
    assert len(lost[0]) < 24
    moved = [e for e in read_events(storage.ledger("moved")) if e["event"] == "continued"]
    assert len(moved) == 1
    assert moved[0]["step"] >= 1, "it did not start again"

    assert measured(storage) == measured(alone)


def measured(storage):
    """Trial and step to metrics."""
    found = epochs(storage.ledger("moved"))
    assert len(found) == 24
    return {(event["number"], event["step"]): repeatable(event["metrics"]) for event in found}
