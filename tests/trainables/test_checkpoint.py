"""Checkpoints: whole or not at all, and never a pickled object."""

import pickle

import pytest
import torch

from trainables.checkpoint import load_state, save_states

STATE = {"epoch": 3, "net": {"weight": torch.arange(600.0)}, "flags": [True, "a", 0.5]}


class Bomb:
    """Creates a file when unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def save(folder, state):
    save_states(folder, {"last": state, "best": {"epoch": 1}})


def assert_holds_state(folder, epoch=3):
    state = load_state(folder)
    assert state["epoch"] == epoch
    assert torch.equal(state["net"]["weight"], STATE["net"]["weight"])
    assert state["flags"] == STATE["flags"]
    assert load_state(folder, "best") == {"epoch": 1}


def test_states_come_back_as_they_were(tmp_path):
    save(tmp_path, STATE)
    assert_holds_state(tmp_path)


def test_later_states_replace_earlier_ones_and_leave_nothing_else(tmp_path):
    save(tmp_path, STATE)
    save(tmp_path, {**STATE, "epoch": 4})
    assert_holds_state(tmp_path, epoch=4)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["best.pt", "digests.json", "last.pt"]


def test_a_write_that_fails_leaves_the_earlier_state(tmp_path, monkeypatch):
    save(tmp_path, STATE)

    def out_of_space(_state, file):
        file.write(b"half a state")
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", out_of_space)
    with pytest.raises(OSError, match="no space"):
        save(tmp_path, {**STATE, "epoch": 4})
    monkeypatch.undo()
    assert_holds_state(tmp_path)
    save(tmp_path, {**STATE, "epoch": 5})  # what the failure left is in nobody's way
    assert_holds_state(tmp_path, epoch=5)


def test_a_first_write_that_fails_leaves_no_state(tmp_path, monkeypatch):
    def killed(_state, file):
        file.write(b"half a state")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        save(tmp_path, STATE)
    with pytest.raises(ValueError, match="is not complete"):
        load_state(tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.99])
def test_a_truncated_file_is_named(tmp_path, share):
    save(tmp_path, STATE)
    content = (tmp_path / "last.pt").read_bytes()
    (tmp_path / "last.pt").write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ValueError, match=r"last\.pt does not match the digest.*damaged"):
        load_state(tmp_path)
    assert load_state(tmp_path, "best") == {"epoch": 1}


@pytest.mark.parametrize("place", [0.0, 0.3, 0.6, 0.999])
def test_one_flipped_bit_is_noticed(tmp_path, place):
    save(tmp_path, STATE)
    content = bytearray((tmp_path / "last.pt").read_bytes())
    content[int(len(content) * place)] ^= 1
    (tmp_path / "last.pt").write_bytes(content)
    with pytest.raises(ValueError, match="damaged"):
        load_state(tmp_path)


@pytest.mark.parametrize("missing", ["last.pt", "digests.json"])
def test_a_missing_file_is_named(tmp_path, missing):
    save(tmp_path, STATE)
    (tmp_path / missing).unlink()
    with pytest.raises(ValueError, match=f"is not complete.*{missing}"):
        load_state(tmp_path)


def test_a_pickled_object_is_refused_before_its_code_runs(tmp_path):
    save(tmp_path, {"epoch": Bomb(tmp_path / "ran")})
    with pytest.raises(pickle.UnpicklingError):
        load_state(tmp_path)
    assert not (tmp_path / "ran").exists()
