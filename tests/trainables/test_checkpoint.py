"""Checkpoints: the newest whole one, after whatever; and never a pickled object."""

import multiprocessing
import os
import pickle
import signal

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import trainables.checkpoint
from trainables.checkpoint import CheckpointFolder, load_state, save_states

CHILDREN = multiprocessing.get_context("fork")
FILES = ("last.pt", "best.pt", "digests.json")
NAMES = ("last", "best")


class Bomb:
    """Creates a file when unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def states(epoch, num=600):
    last = {"epoch": epoch, "net": {"weight": torch.arange(float(num)) + epoch}, "flags": [True]}
    return {"last": last, "best": {"epoch": max(1, epoch - 1)}}


def assert_holds(loaded, epoch):
    assert loaded.epoch == epoch
    assert loaded.states["last"]["epoch"] == epoch
    assert torch.equal(loaded.states["last"]["net"]["weight"], torch.arange(600.0) + epoch)
    assert loaded.states["last"]["flags"] == [True]
    assert loaded.states["best"] == {"epoch": max(1, epoch - 1)}


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "trial"


@pytest.fixture
def checkpoints(folder):
    """Two checkpoints, of epochs 1 and 2."""
    checkpoints = CheckpointFolder(folder)
    for epoch in (1, 2):
        assert checkpoints.save(epoch, states(epoch))
    return checkpoints


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_trial_without_a_checkpoint_starts_from_nothing(folder):
    loaded = CheckpointFolder(folder).load(NAMES)
    assert (loaded.epoch, loaded.states, loaded.damaged) == (0, {}, [])


def test_the_newest_checkpoint_comes_back_as_it_was(checkpoints):
    loaded = checkpoints.load(NAMES)
    assert_holds(loaded, 2)
    assert loaded.damaged == []


def test_the_newest_is_that_of_the_highest_epoch_whatever_its_digits(folder):
    checkpoints = CheckpointFolder(folder, keep=9)
    for epoch in (9, 100_000, 10):
        checkpoints.save(epoch, states(epoch))
    assert checkpoints.load(NAMES).epoch == 100_000


@pytest.mark.parametrize(
    ("keep", "kept"), [(1, ["epoch-00004"]), (2, ["epoch-00003", "epoch-00004"])]
)
def test_only_the_newest_are_kept(folder, keep, kept):
    checkpoints = CheckpointFolder(folder, keep)
    for epoch in (1, 2, 3, 4):
        checkpoints.save(epoch, states(epoch))
    assert names(folder) == kept


def test_an_epoch_that_is_saved_again_is_replaced(checkpoints, folder):
    again = states(2)
    again["last"]["flags"] = [False]
    assert checkpoints.save(2, again)
    assert checkpoints.load(NAMES).states["last"]["flags"] == [False]
    assert names(folder) == ["epoch-00001", "epoch-00002"]
    assert names(folder / "epoch-00002") == sorted(FILES)


def damage_by_flipping(path, place):
    content = bytearray(path.read_bytes())
    content[int(len(content) * place)] ^= 0x10
    path.write_bytes(content)


def damage_by_cutting(path, place):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * place)])


@pytest.mark.parametrize("damage", [damage_by_flipping, damage_by_cutting])
@given(name=st.sampled_from(FILES), place=st.floats(0, 1, exclude_max=True))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_checkpoint_is_passed_over_with_a_sentence(
    tmp_path_factory, damage, name, place
):
    checkpoints = CheckpointFolder(tmp_path_factory.mktemp("trial"))
    for epoch in (1, 2):
        checkpoints.save(epoch, states(epoch))
    damage(checkpoints.folder / "epoch-00002" / name, place)
    loaded = checkpoints.load(NAMES)
    assert_holds(loaded, 1)
    (sentence,) = loaded.damaged
    assert str(checkpoints.folder / "epoch-00002") in sentence
    assert "damaged" in sentence or "is not complete" in sentence


@pytest.mark.parametrize("name", FILES)
def test_a_checkpoint_without_one_of_its_files_is_passed_over(checkpoints, folder, name):
    (folder / "epoch-00002" / name).unlink()
    loaded = checkpoints.load(NAMES)
    assert_holds(loaded, 1)
    assert name in loaded.damaged[0]


def test_a_file_where_a_checkpoint_should_be_is_passed_over(checkpoints, folder):
    (folder / "epoch-00003").write_text("not a folder")
    loaded = checkpoints.load(NAMES)
    assert_holds(loaded, 2)
    assert "epoch-00003" in loaded.damaged[0]


def test_where_every_checkpoint_is_damaged_the_trial_starts_from_nothing(checkpoints, folder):
    for epoch in (1, 2):
        (folder / f"epoch-0000{epoch}" / "last.pt").write_bytes(b"")
    loaded = checkpoints.load(NAMES)
    assert (loaded.epoch, loaded.states) == (0, {})
    assert ["epoch-00002" in loaded.damaged[0], "epoch-00001" in loaded.damaged[1]] == [True] * 2


def test_a_damaged_checkpoint_is_replaced_when_its_epoch_has_been_trained_again(
    checkpoints, folder
):
    (folder / "epoch-00002" / "last.pt").write_bytes(b"")
    assert checkpoints.save(2, states(2))
    assert_holds(checkpoints.load(NAMES), 2)


def test_a_write_that_fails_raises_and_leaves_what_was_there(checkpoints, folder, monkeypatch):
    def broken(_state, file):
        file.write(b"half a state")
        raise OSError("the cable was pulled")

    monkeypatch.setattr(torch, "save", broken)
    with pytest.raises(OSError, match="cable"):
        checkpoints.save(3, states(3))
    monkeypatch.undo()
    assert names(folder) == ["epoch-00001", "epoch-00002"]
    assert_holds(checkpoints.load(NAMES), 2)


def die_while_saving(checkpoints, place):
    """Save epoch 3 and be killed when ``place`` files are on disk."""
    real, written = trainables.checkpoint._to_disk, []

    def to_disk(file):
        if len(written) == place:
            file.flush()  # half of it, not forced to disk
            os.kill(os.getpid(), signal.SIGKILL)
        written.append(file.name)
        real(file)

    trainables.checkpoint._to_disk = to_disk
    checkpoints.save(3, states(3))


@pytest.mark.faults
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_process_killed_inside_a_save_leaves_the_checkpoint_before(checkpoints, folder, place):
    process = CHILDREN.Process(target=die_while_saving, args=(checkpoints, place))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    partial = [name for name in names(folder) if name.startswith(".partial-")]
    assert len(partial) == 1, "it was killed inside"
    loaded = checkpoints.load(NAMES)
    assert_holds(loaded, 2)
    assert loaded.damaged == []
    assert checkpoints.save(3, states(3))
    assert names(folder) == ["epoch-00002", "epoch-00003"]  # and nothing of the killed one


def test_what_another_process_left_half_written_is_removed(checkpoints, folder):
    (folder / ".partial-elsewhere-1").mkdir()
    (folder / ".partial-elsewhere-1" / "last.pt").write_bytes(b"half")
    checkpoints.save(3, states(3))
    assert names(folder) == ["epoch-00002", "epoch-00003"]


@pytest.mark.faults
def test_on_a_full_disk_the_newest_checkpoint_stays_and_the_answer_is_no(small_disk):
    checkpoints = CheckpointFolder(small_disk / "trial")
    num = 75_000  # 300 kB: three fit a megabyte, a fourth does not
    for epoch in (1, 2):
        assert checkpoints.save(epoch, states(epoch, num))
    assert not checkpoints.save(3, states(3, 4 * num))
    loaded = checkpoints.load(NAMES)
    assert (loaded.epoch, loaded.damaged) == (2, [])
    assert names(small_disk / "trial") == ["epoch-00002"]
    assert checkpoints.save(3, states(3, num))  # as soon as there is space again


@pytest.mark.faults
def test_where_two_do_not_fit_a_full_disk_the_oldest_goes_for_the_new(small_disk):
    checkpoints = CheckpointFolder(small_disk / "trial")
    num = 100_000  # 400 kB: two fit, the third only once the oldest is gone
    for epoch in (1, 2, 3, 4):
        assert checkpoints.save(epoch, states(epoch, num))
    assert checkpoints.load(NAMES).epoch == 4


def test_states_alone_come_back_as_they_were(tmp_path):
    save_states(tmp_path, states(3))
    assert load_state(tmp_path)["epoch"] == 3
    assert load_state(tmp_path, "best") == {"epoch": 2}
    assert names(tmp_path) == sorted(FILES)


def test_a_pickled_object_is_refused_before_its_code_runs(tmp_path):
    save_states(tmp_path, {"last": {"epoch": Bomb(tmp_path / "ran")}})
    with pytest.raises(pickle.UnpicklingError):
        load_state(tmp_path)
    assert not (tmp_path / "ran").exists()
