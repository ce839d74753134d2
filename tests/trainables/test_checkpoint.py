"""Checkpoints: whole or not at all, and never a pickled object."""

import pickle

import pytest
import torch

from trainables.checkpoint import load_state, save_state

STATE = {"epoch": 3, "net": {"weight": torch.arange(600.0)}, "flags": [True, "a", 0.5]}


class Bomb:
    """Creates a file when unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def assert_holds_state(folder, epoch=3):
    state = load_state(folder)
    assert state["epoch"] == epoch
    assert torch.equal(state["net"]["weight"], STATE["net"]["weight"])
    assert state["flags"] == STATE["flags"]


def test_a_state_comes_back_as_it_was(tmp_path):
    save_state(tmp_path, STATE)
    assert_holds_state(tmp_path)


def test_a_later_state_replaces_an_earlier_one_and_leaves_one_file(tmp_path):
    save_state(tmp_path, STATE)
    save_state(tmp_path, {**STATE, "epoch": 4})
    assert_holds_state(tmp_path, epoch=4)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_write_that_fails_leaves_the_earlier_state(tmp_path, monkeypatch):
    save_state(tmp_path, STATE)

    def out_of_space(_state, file):
        file.write(b"half a state")
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", out_of_space)
    with pytest.raises(OSError, match="no space"):
        save_state(tmp_path, {**STATE, "epoch": 4})
    monkeypatch.undo()
    assert_holds_state(tmp_path)
    save_state(tmp_path, {**STATE, "epoch": 5})  # what the failure left is in nobody's way
    assert_holds_state(tmp_path, epoch=5)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_first_write_that_fails_leaves_no_state(tmp_path, monkeypatch):
    def killed(_state, file):
        file.write(b"half a state")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        save_state(tmp_path, STATE)
    with pytest.raises(FileNotFoundError):
        load_state(tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.99])
def test_a_truncated_file_raises(tmp_path, share):
    save_state(tmp_path, STATE)
    (file,) = tmp_path.iterdir()
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])
    with pytest.raises((RuntimeError, EOFError, pickle.UnpicklingError)):
        load_state(tmp_path)


def test_a_pickled_object_is_refused_before_its_code_runs(tmp_path):
    save_state(tmp_path, STATE)
    (file,) = tmp_path.iterdir()
    torch.save({"epoch": Bomb(tmp_path / "ran")}, file)
    with pytest.raises(pickle.UnpicklingError):
        load_state(tmp_path)
    assert not (tmp_path / "ran").exists()
