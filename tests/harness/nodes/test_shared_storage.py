"""What a node sees of the driver's storage, and what is said about it."""

import dataclasses
import fcntl
import os

import pytest

from harness.nodes import shared_storage
from harness.nodes.shared_storage import check_shared, node_view
from harness.yaml.text import SpecError


@pytest.fixture
def probe(tmp_path):
    folder = tmp_path / "probe"
    folder.mkdir()
    (folder / "token").write_text("abc")
    (folder / "lock").touch()
    return folder


def test_a_view_tells_the_token_and_writes_its_answer(probe):
    view = node_view(probe, "answer")
    assert (view.token, view.written) == ("abc", True)
    assert view.free_bytes > 0
    assert sorted(path.name for path in probe.iterdir()) == ["answer", "lock", "token"]


@pytest.mark.parametrize("held", [True, False])
def test_a_view_tells_whether_it_got_the_lock(probe, held):
    with (probe / "lock").open("w") as lock:
        if held:
            fcntl.flock(lock, fcntl.LOCK_EX)
        assert node_view(probe, "answer").got_lock is not held


def test_a_view_of_a_missing_folder_creates_nothing(tmp_path):
    view = node_view(tmp_path / "missing", "answer")
    assert (view.token, view.written, view.got_lock, view.free_bytes) == (None, False, False, 0)
    assert list(tmp_path.iterdir()) == []


NODES = [
    {"NodeID": name, "NodeManagerHostname": f"host-{name}", "NodeManagerAddress": address}
    for name, address in (("a", "10.0.0.1"), ("b", "10.0.0.2"))
]


@pytest.fixture
def change(monkeypatch):
    """Let the nodes' views be taken in this process, the second one changed."""

    def set_changes(**changes):
        def views(nodes, probe, plugins):
            own = [node_view(probe, node["NodeID"]) for node in nodes]
            return [own[0], dataclasses.replace(own[1], host="host-b", **changes)]

        monkeypatch.setattr(shared_storage, "alive_nodes", lambda: NODES)
        monkeypatch.setattr(shared_storage, "_views", views)

    return set_changes


def test_equal_views_pass_and_leave_nothing(tmp_path, change):
    change()
    check_shared(tmp_path)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"token": None}, "is not the driver's folder there; mount the same folder"),
        ({"token": "of another study"}, "is not the driver's folder there"),
        ({"written": False}, "does not reach the driver"),
        ({"got_lock": True}, "locks in {folder} are not shared"),
        ({"python": "3.9"}, "Python 3.9, code"),
        ({"code": "0" * 64}, "code 000000000000; the driver has Python"),
        ({"code": None}, "code none; the driver has Python"),
        ({"plugin_problem": "lab cannot be imported: why"}, "plugin lab cannot be imported: why"),
        ({"free_bytes": 2**29}, "{folder} must have 1 GiB of free space, has 0.50"),
    ],
)
def test_a_difference_is_told_with_the_node_and_leaves_nothing(tmp_path, change, changes, words):
    change(**changes)
    with pytest.raises(SpecError) as caught:
        check_shared(tmp_path)
    assert str(caught.value).startswith("node host-b (10.0.0.2): ")
    assert words.format(folder=tmp_path) in str(caught.value)
    assert os.listdir(tmp_path) == []


def test_a_single_node_is_not_asked(monkeypatch, tmp_path):
    monkeypatch.setattr(shared_storage, "alive_nodes", lambda: NODES[:1])
    check_shared(tmp_path / "missing")
