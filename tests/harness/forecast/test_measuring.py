"""Measuring a trial: what is measured is what a real one does, in processes that leave nothing."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import psutil
import pytest
import torch

from harness.forecast import measuring
from harness.forecast.measuring import measure, measure_trials
from harness.spec.sections import Resources
from harness.stage_cache.cache import DiskStageCache
from harness.yaml.text import SpecError
from tests.conftest import ROOT
from trainables.adapt.adaptation_run import AdaptationRun
from trainables.checkpoint import save_states
from trainables.config import TrialConfig
from trainables.distributed.shard import WHOLE
from trainables.network.pose_net import PoseNet
from trainables.stages.data_stages import image_stage
from trainables.stages.trial_stages import TrialStages

FIELDS = {
    "data.num_source": 300, "data.num_target": 150, "data.image_size": 32,
    "data.heatmap_size": 16, "net.width": 8, "vae.epochs": 3, "adapt.pretrain_epochs": 1,
    "adapt.epochs": 1, "adapt.steps_per_epoch": 2, "adapt.batch_size": 8, "style.width": 4,
}  # fmt: skip
CPU = Resources(cpus=1)


def small(**fields):
    return TrialConfig.from_flat(
        {**FIELDS, **{n.replace("__", "."): v for n, v in fields.items()}}
    )


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(measuring, "NUM_STEPS", 2)
    monkeypatch.setattr(measuring, "STYLE_STEPS", 2)


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def left_behind(folder):
    """What is in a folder beside PyTorch's own cache, which it makes as it likes."""
    return [path for path in folder.iterdir() if not path.name.startswith("torchinductor")]


def size(folder):
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def test_a_trial_is_measured_as_it_really_is(tmp_path):
    found = measure(small(), "adaptation", CPU, tmp_path / "samples")
    assert found.memory_bytes > 50 * 2**20
    assert found.fixed_s > 0
    assert min(second for phase in found.phases for second in phase) > 0
    assert set(found.stages) == {
        "images/source", "images/target", "pose_vae", "pose_vae/reference",
    }  # fmt: skip
    assert min(seconds for seconds, _ in found.stages.values()) > 0
    cache = DiskStageCache(tmp_path / "stages")
    run = TrialStages(small(), cache, 1, read_test=False)(torch.device("cpu"), WHOLE)
    while not run.is_done:
        run.run_epoch()
    place = tmp_path / "checkpoint"
    place.mkdir()
    save_states(place, {"last": run.state_dict(), "best": run.best})
    assert found.checkpoint_bytes == pytest.approx(size(place), rel=0.02)
    for role in ("source", "target"):
        path = image_stage(cache, small(), role, 1).entry.path
        assert found.stages[f"images/{role}"][1] == pytest.approx(size(path), rel=0.05)


@pytest.mark.parametrize(("long_s", "is_long"), [(0.0, True), (1e9, False)])
def test_of_steps_that_take_long_one_is_measured(tmp_path, monkeypatch, long_s, is_long):
    asked, train = [], AdaptationRun.train

    def counted(run, steps):
        asked.append(steps)
        return train(run, steps)

    monkeypatch.setattr(AdaptationRun, "train", counted)
    monkeypatch.setattr(measuring, "LONG_STEP_S", long_s)
    found = measure(small(), "adaptation", CPU, tmp_path)
    assert max(asked) == (1 if is_long else measuring.NUM_STEPS)
    assert min(second for phase in found.phases for second in phase) > 0


def test_a_style_network_is_measured_where_images_are_restyled(tmp_path):
    trial = small(adapt__method="udape")
    seconds, num_bytes = measure(trial, "adaptation", CPU, tmp_path / "a").stages["style"]
    assert seconds > 0
    assert num_bytes > 1000
    plain = small(adapt__method="udape", adapt__udape__style_alpha=0.0)
    assert "style" not in measure(plain, "adaptation", CPU, tmp_path / "b").stages


def test_a_pose_vae_trial_has_no_network_to_measure(tmp_path):
    few, many = (
        measure(small(data__num_source=num), "pose_vae", CPU, tmp_path / str(num))
        for num in (250, 2500)
    )
    assert few.stages["pose_vae"][0] > 0
    assert few.checkpoint_bytes == 0
    # 250 images are made of either: 2500 take ten times their disk. The digits of the time in a
    # manifest differ.
    sizes = [found.stages["images/source"][1] for found in (few, many)]
    assert sizes[1] == pytest.approx(10 * sizes[0], rel=1e-3)


def test_bins_that_a_sample_cannot_fill_do_not_matter(tmp_path):
    trial = small(
        sampling__strategy="bins", bins__count=90, bins__subset=[7], evaluation__bin_count=30
    )
    assert measure(trial, "adaptation", CPU, tmp_path / "samples").fixed_s > 0


@pytest.mark.parametrize(("gpus", "part"), [(0.0, 14), (0.5, 14), (2.0, 7)])
def test_a_trial_over_two_gpus_is_measured_on_its_part_of_a_batch(
    tmp_path, monkeypatch, gpus, part
):
    sizes, features = set(), PoseNet.features

    def counted(net, images):
        if net.training:
            sizes.add(len(images))
        return features(net, images)

    monkeypatch.setattr(PoseNet, "features", counted)
    resources = Resources(cpus=1, gpus=gpus)
    measure(small(adapt__batch_size=14), "adaptation", resources, tmp_path / "samples")
    assert sizes & {7, 14} == {part}  # besides them, batches of AdaBN's statistics


@pytest.mark.slow
def test_each_trial_is_measured_and_nothing_is_left(temporary, monkeypatch):
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.setenv(name, "to restore")
        monkeypatch.delenv(name)
    trials = [small(), small(data__num_source=150), small(net__width=16)]
    found = measure_trials(trials, "adaptation", CPU, 2)
    sizes = [measured.stages["images/source"][1] for measured in found]
    assert sizes[0] == pytest.approx(2 * sizes[1], rel=0.05)
    assert found[2].checkpoint_bytes > 2 * found[0].checkpoint_bytes
    assert os.environ["GOMP_SPINCOUNT"] == "10000"  # the processes wait as those of a study do
    assert measuring_processes(os.getpid()) == []
    assert left_behind(temporary) == []


@pytest.mark.slow
def test_an_error_comes_out_as_one_sentence(temporary):
    lost = replace(small().data, target="lspet", target_root="/nowhere")
    with pytest.raises(SpecError, match=r"^cannot measure a trial: /nowhere is not a folder$"):
        measure_trials([replace(small(), data=lost)], "adaptation", CPU, 1)
    assert left_behind(temporary) == []


PARENT = """
from tests.harness.forecast.test_measuring import CPU, small
from harness.forecast.measuring import measure_trials
if __name__ == "__main__":
    trial = small(data__image_size=512, data__heatmap_size=128, net__width=64, net__depth=50)
    measure_trials([trial], "adaptation", CPU, 1)
"""


@pytest.fixture
def measured_by(tmp_path):
    """A process that measures a large trial, and the process that it started for it."""
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", str(script)],
        stderr=subprocess.PIPE, text=True, env=environment,
    ) as parent:  # fmt: skip
        wait_for(lambda: measuring_processes(parent.pid))
        yield parent, measuring_processes(parent.pid)[0]
        parent.kill()


def measuring_processes(parent):
    started = psutil.Process(parent).children()
    return [child for child in started if "spawn_main" in " ".join(child.cmdline())]


def wait_for(condition, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.faults
def test_a_measuring_process_ends_with_its_parent(measured_by, temporary):
    parent, child = measured_by
    wait_for(lambda: list(temporary.glob("*/0/images")))
    os.kill(parent.pid, signal.SIGKILL)
    wait_for(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)
    assert left_behind(temporary) == []


@pytest.mark.faults
def test_a_measuring_process_that_is_killed_is_one_sentence(measured_by, temporary):
    parent, child = measured_by
    wait_for(lambda: list(temporary.glob("*/0/images")))
    child.kill()
    _, errors = parent.communicate(timeout=60)
    assert "cannot measure a trial: " in errors.strip().splitlines()[-1]
