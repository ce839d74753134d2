"""How many runs fit: one node at a time, whole GPUs and shares of one."""

import os

import pytest

from harness.nodes.run_slots import Available, fitting_runs, image_cores, this_machine
from harness.spec.sections import Resources
from harness.yaml.text import SpecError


def node(cpus, gpus=0):
    return {"CPU": cpus, "GPU": gpus, "memory": 1e9}


@pytest.mark.parametrize(
    ("needs", "nodes", "expected"),
    [
        ({"cpus": 1}, [node(4)], 4),
        ({"cpus": 3}, [node(4)], 1),
        ({"cpus": 2}, [node(3), node(3)], 2),  # not 3: the odd CPUs are on different nodes
        ({"cpus": 2}, [node(1), node(4)], 2),
        ({"cpus": 1}, [{"memory": 1e9}, node(2)], 2),  # a head that takes no runs
        ({"cpus": 1, "gpus": 1}, [node(8, 2)], 2),
        ({"cpus": 1, "gpus": 2}, [node(8, 3), node(8, 1)], 1),
        ({"cpus": 1, "gpus": 0.5}, [node(8, 2)], 4),
        ({"cpus": 1, "gpus": 0.4}, [node(8, 2)], 4),  # not 5: a share lies within one GPU
        ({"cpus": 1, "gpus": 0.1}, [node(16, 1)], 10),
        ({"cpus": 4, "gpus": 0.1}, [node(16, 1)], 4),
        ({"cpus": 1, "parallel": 2}, [node(4)], 2),
        ({"cpus": 1, "parallel": 9}, [node(4)], 4),
    ],
)
def test_trials_at_once(needs, nodes, expected):
    assert fitting_runs(Resources(**needs), Available(nodes)) == expected


@pytest.mark.parametrize(
    ("needs", "nodes", "words"),
    [
        ({"cpus": 5}, [node(4)], "resources.cpus must be at most the 4 of this machine, got 5"),
        (
            {"cpus": 2},
            [node(1), node(1)],
            "resources.cpus must be at most the 1 of the largest of 2 nodes, got 2; "
            "a run uses one node",
        ),
        (
            {"cpus": 1, "gpus": 0.5},
            [node(4)],
            "resources.gpus must be at most the 0 of this machine, got 0.5",
        ),
        (
            {"cpus": 8, "gpus": 1},
            [node(16), node(4, 2)],
            "resources: a run needs 8 CPUs and 1 GPUs on one node, the nodes have 4 and 2, "
            "16 and 0",
        ),
    ],
)
def test_a_trial_that_fits_no_node_is_refused_with_what_there_is(needs, nodes, words):
    with pytest.raises(SpecError) as caught:
        fitting_runs(Resources(**needs), Available(nodes))
    assert str(caught.value) == words


@pytest.mark.parametrize(
    ("needs", "parallel", "nodes", "expected"),
    [
        ({"cpus": 1}, 2, [node(2)], 2),
        ({"cpus": 2}, 2, [node(4), node(4)], 4),
        ({"cpus": 1}, 12, [node(4), node(8)], 8),  # not 12: one node makes them
        ({"cpus": 3, "gpus": 0.5}, 4, [node(16, 2)], 12),
        ({"cpus": 2}, 3, [], 2),  # all nodes are still to be added
    ],
)
def test_images_are_made_on_the_cores_of_all_runs_of_one_node(needs, parallel, nodes, expected):
    assert image_cores(Resources(**needs), parallel, Available(nodes)) == expected


def test_trials_that_wait_for_new_nodes_are_told():
    lines = []
    available = Available([node(2)], [node(4, 1)] * 3)
    assert fitting_runs(Resources(cpus=2), available, lines.append) == 7
    assert lines == [
        "warning: 1 of 7 runs at once fit the nodes that are up; "
        "the others wait until the autoscaler has added nodes"
    ]


def test_nodes_that_may_be_added_are_enough_for_a_start():
    lines = []
    available = Available([node(2)], [node(4, 1)])
    assert fitting_runs(Resources(gpus=1), available, lines.append) == 1
    assert lines[0].startswith("warning: 0 of 1")


@pytest.mark.parametrize(("gpus", "num_lines"), [(0, 1), (0.5, 0)])
def test_that_gpus_are_left_unused_is_said(gpus, num_lines):
    lines = []
    fitting_runs(Resources(gpus=gpus), Available([node(4), node(2, 1)]), lines.append)
    assert (
        lines
        == ["no run uses a GPU, as resources.gpus is 0; with 0.1 ten runs share one"] * num_lines
    )


def test_nothing_is_said_if_all_fit_now():
    lines = []
    available = Available([node(4)], [node(4)])
    assert fitting_runs(Resources(parallel=4), available, lines.append) == 4
    assert lines == []


def test_this_machine_has_the_cores_this_process_may_use():
    available = this_machine(Resources())
    assert available.nodes == [{"CPU": len(os.sched_getaffinity(0)), "GPU": 0}]


def test_that_fewer_trials_fit_than_asked_for_is_said():
    lines = []
    available = Available([{"CPU": 2}])
    assert fitting_runs(Resources(parallel=900), available, lines.append) == 2
    (line,) = lines
    assert line.startswith("warning: ")
    assert "resources.parallel 900" in line
    assert " 2 " in line
    assert fitting_runs(Resources(parallel=1), available, lines.append) == 1
    assert len(lines) == 1
