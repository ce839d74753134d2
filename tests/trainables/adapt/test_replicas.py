"""Several processes train like one: the same numbers up to the order of sums, clean ends."""

import copy
import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest
import torch

import trainables.adapt.source_only
from tests.repeatable_metrics import repeatable
from tests.trainables.adapt.tiny_run import LITE
from tests.trainables.conftest import Negative, in_bins
from trainables.adapt.adaptation_run import AdaptationRun
from trainables.adapt.methods import build_net
from trainables.adapt.replicas import ReplicatedRun
from trainables.config import TrialConfig
from trainables.data.domain import ImageRequest
from trainables.data.image_store import open_image_store
from trainables.data.store_writer import write_store
from trainables.distributed.shard import WHOLE
from trainables.evaluation.judge import Domains
from trainables.pose_vae.model import PoseVAE
from trainables.pose_vae.pose_scorer import PoseScorer
from trainables.sampling.difficulty_view import DifficultyView

CPU = torch.device("cpu")
FIELDS = {
    "data.image_size": 32,
    "data.heatmap_size": 16,
    "net.width": 4,
    "adapt.pretrain_epochs": 1,
    "adapt.epochs": 1,
    "adapt.steps_per_epoch": 2,
    "adapt.batch_size": 8,
    "adapt.lr": 0.02,
    "evaluation.bin_count": 3,
}
PARITY = {
    "parity": True, "adapt.pretrain_epochs": 1, "adapt.epochs": 1, "adapt.steps_per_epoch": 2,
    "adapt.batch_size": 8,
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Build:
    """Builds a tiny run in any process."""

    folder: Path
    fields: dict
    broken_rank: int = -1
    dies_early: bool = False

    def __setstate__(self, state):
        if state["dies_early"]:  # in the other process, before it could say a word
            os._exit(1)
        self.__dict__.update(state)

    def __call__(self, device, shard):
        if shard.rank == self.broken_rank:
            raise OSError("no space left on device")
        torch.manual_seed(shard.rank)  # what a process finds there must not matter
        config = TrialConfig.from_flat(FIELDS | self.fields)
        source, target = (open_image_store(self.folder / r) for r in ("source", "target"))
        num_train = len(source.splits["train"])
        model = PoseVAE(16, 4, 8)
        for parameter in model.parameters():
            torch.nn.init.constant_(parameter, 0.1)
        domains = Domains(
            source=source,
            target=target,
            difficulty=DifficultyView(num_train, np.arange(num_train), np.arange(num_train) % 4),
            scorer=PoseScorer(
                model.requires_grad_(False), np.ones(16, dtype=bool), "bbox", source.skeleton, 32
            ),
            target_val=in_bins(np.arange(len(target.splits["val"])) % 3),
            style=Negative(),
        )
        return AdaptationRun(config, domains, build_net(config, 16), device, shard)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("stores")
    for role, domain in (("source", "people_clean"), ("target", "people_wild")):
        (root / role).mkdir()
        write_store(root / role, domain, ImageRequest(role, 120, 32))
    return root


def finish(run):
    reports = []
    while not run.is_done:
        reports.append(repeatable(run.run_epoch()))
    return reports


def losses(report):
    return {name: value for name, value in report.items() if name.startswith("train/")}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("world", "recipe"),
    [
        (2, {"adapt.method": "source_only"}),
        (4, {"adapt.method": "regda"}),
        (2, {"adapt.method": "udape"}),
        (4, {"adapt.method": "udape", "adapt.udape.mask": "joint"}),
        (2, {"adapt.method": "regda", **PARITY}),  # SGD, for which the scale of gradients counts
        (2, {"adapt.method": "udape", **PARITY}),
        # Its untrained maps are so flat that rounding moves an arg max, which other methods read.
        (2, {"adapt.method": "source_only", **LITE, "adapt.lr": 0.001}),
    ],
)
def test_several_processes_end_where_one_does(folder, recipe, world):
    build = Build(folder, recipe)
    alone = build(CPU, WHOLE)
    expected = finish(alone)
    several = ReplicatedRun(build, world, "cpu", num_threads=1)
    try:
        found = finish(several)
        state, alone_state = several.state_dict(), alone.state_dict()
    finally:
        several.close()
    for one, other in zip(expected, found, strict=True):
        assert one.keys() == other.keys()
        assert losses(other) == pytest.approx(losses(one), rel=1e-5)
    for name in ("source", "target"):
        for stream in ("draws", "augment"):
            assert torch.equal(state[name][stream], alone_state[name][stream])
    assert (several.epoch, several.total_epochs) == (2, 2)
    with torch.no_grad():
        for (name, one), other in zip(
            alone.net.state_dict().items(), several._run.net.state_dict().values(), strict=True
        ):
            torch.testing.assert_close(other, one, rtol=0.02, atol=5e-3, msg=name)


@pytest.mark.slow
def test_several_processes_continue_from_a_state(folder):
    build = Build(folder, {"adapt.method": "udape"})
    reports, state, best = [], {}, {}
    for resume in (False, True):
        run = ReplicatedRun(build, 2, "cpu", num_threads=1)
        try:
            if resume:
                run.load_state_dict(state)
                run.best = best
            else:
                reports.append(repeatable(run.run_epoch()))
                state, best = copy.deepcopy((run.state_dict(), run.best))
            reports += finish(run)
        finally:
            run.close()
    assert reports[1] == reports[2]


@pytest.mark.slow
def test_a_process_that_cannot_start_is_named(folder):
    with pytest.raises(RuntimeError, match=r"process 1 of the trial failed: OSError: no space"):
        ReplicatedRun(Build(folder, {}, broken_rank=1), 2, "cpu", num_threads=1)
    assert not torch.distributed.is_initialized()


@pytest.mark.slow
def test_a_process_that_dies_ends_the_trial_with_a_message(folder):
    run = ReplicatedRun(Build(folder, {}), 2, "cpu", num_threads=1)
    try:
        run._processes[0].kill()
        run._processes[0].join()
        with pytest.raises(RuntimeError, match="process 1 of the trial died of SIGKILL"):
            run.run_epoch()
    finally:
        run.close()
    assert not torch.distributed.is_initialized()


@pytest.mark.slow
def test_a_process_that_dies_before_it_starts_is_not_waited_for(folder):
    with pytest.raises(RuntimeError, match="process 1 of the trial ended"):
        ReplicatedRun(Build(folder, {}, dies_early=True), 2, "cpu", num_threads=1)
    assert not torch.distributed.is_initialized()


@pytest.mark.slow
def test_an_error_of_the_first_process_alone_is_raised_and_nobody_waits(folder, monkeypatch):
    run = ReplicatedRun(Build(folder, {"adapt.method": "source_only"}), 2, "cpu", num_threads=1)
    processes = list(run._processes)
    step = trainables.adapt.source_only.SourceOnly.step

    def out_of_memory(self, source, target=None):
        if self._step == 1:
            raise torch.OutOfMemoryError("the GPU is full")
        return step(self, source, target)

    monkeypatch.setattr(trainables.adapt.source_only.SourceOnly, "step", out_of_memory)
    with pytest.raises(torch.OutOfMemoryError, match="the GPU is full"):
        run.run_epoch()
    assert not any(process.is_alive() for process in processes)
    assert not torch.distributed.is_initialized()
