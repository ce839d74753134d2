"""A disk that is full for a while: the study says so, waits, and ends as if it had not been."""

import time

import pytest

from tests.drivers import STUDY, Driver, assert_equal, assert_nothing_runs, outcome
from tests.small_disk import fill, mounted
from trainables.checkpoint import CheckpointFolder

WAITS = ("no space for", "the database does not answer")

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]


@pytest.fixture
def disk(tmp_path):
    with mounted(tmp_path / "disk", "48m") as folder:
        yield folder


def wait_for_any(driver, words, limit_s=120):
    deadline = time.monotonic() + limit_s
    while not any(word in driver.output for word in words):
        assert driver.process.poll() is None, driver.output
        assert time.monotonic() < deadline, driver.output
        time.sleep(0.02)


@pytest.mark.parametrize("moment", ["at a time", "epoch 2/5", "] run 1 "])
def test_a_study_waits_for_space_and_ends_as_if_there_had_always_been_some(
    tiny_study, undisturbed, disk, moment
):
    with Driver(tiny_study, disk) as driver:
        assert driver.wait_for(moment)
        ballast = fill(disk)
        wait_for_any(driver, WAITS)
        time.sleep(2)
        assert driver.process.poll() is None, "it waits"
        ballast.unlink()
        assert driver.end() == 0, driver.output
    assert_equal(outcome(disk), undisturbed)
    assert_nothing_runs(disk)
    assert list(disk.rglob(".partial*")) == [], "nothing half-written is left"


def test_a_study_that_waits_for_space_can_be_ended_and_goes_on(tiny_study, undisturbed, disk):
    with Driver(tiny_study, disk) as driver:
        assert driver.wait_for("epoch 2/5")
        ballast = fill(disk)
        wait_for_any(driver, WAITS)
        driver.process.terminate()
        driver.end(90)
    ballast.unlink()
    with Driver(tiny_study, disk) as driver:
        assert driver.end() == 0, driver.output
    assert_equal(outcome(disk), undisturbed)


def test_a_full_disk_from_the_start_is_told_and_leaves_no_study(tmp_path):
    study = tmp_path / "study.yaml"
    study.write_text(STUDY)
    with mounted(tmp_path / "disk", "1m") as disk:
        fill(disk)
        with Driver(study, disk) as driver:
            assert driver.end() == 2, driver.output
        assert "Traceback" not in driver.output
        assert list(disk.glob("studies/*")) == []


def test_a_checkpoint_that_does_not_fit_leaves_the_newest_whole_one(tmp_path):
    import torch

    with mounted(tmp_path / "disk", "300k") as disk:
        folder = CheckpointFolder(disk / "trial")
        state = {"a": torch.arange(25_000.0)}  # 100 kB: two fit, three do not
        assert [folder.save(epoch, {"last": state}) for epoch in (1, 2, 3)] == [True] * 3
        assert not folder.save(4, {"last": {"a": torch.zeros(70_000)}})
        loaded = folder.load(["last"])
        assert (loaded.epoch, loaded.damaged) == (3, [])
        assert torch.equal(loaded.states["last"]["a"], state["a"])
        assert [path.name for path in folder.folder.iterdir()] == ["epoch-00003"]
        assert folder.save(5, {"last": state})
        assert folder.load(["last"]).epoch == 5
