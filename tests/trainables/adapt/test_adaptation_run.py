"""A run on tiny rendered domains: its metrics, its phases, its sampling, its failures."""

import dataclasses

import numpy as np
import pytest
import torch

import trainables.adapt.source_only
from tests.trainables.adapt.tiny_run import (
    METHODS,
    RECIPES,
    finish,
    make_config,
    make_run,
    reports,
    trained,
)
from tests.trainables.conftest import in_bins
from trainables.adapt.methods import augment_ranges, build_net
from trainables.data.augment import AugmentRanges
from trainables.evaluation.evaluate import evaluate
from trainables.metrics.metric_keys import CONTROLS
from trainables.registry import STRATEGIES

GROUPS = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle", "head")


def expected_keys(epoch, method, reads_test):
    judged = ["pck_05", "evalpose", "evalpose_coverage", "evalpose_degenerate"]
    readings = ["evalpose_cosines", "evalpose_within_20", "evalpose_unit_signed"]
    judged += [*readings, *(f"pck_05_{g}" for g in GROUPS)]
    splits = ["source_val", "target_val"]
    bins = ["pck_bin"]
    losses = ["source_kl"]
    if method == "regda" and epoch > 2:
        losses += ["source_disparity", "false_disparity", "target_disparity"]
    if method == "udape" and epoch > 2:
        losses += ["consistency", "confidence"]
    controls = ["target_val/pck_05_adabn"] if epoch == 4 else []
    if epoch == 4:
        bins.append("final/pck_bin")
        if reads_test:
            splits.append("target_test")
            bins.append("target_test/pck_bin")
            controls.append("target_test/pck_05_adabn")
        controls += [
            f"{split}/control/{metric}/{control}"
            for split in splits
            if split != "source_val"
            for metric in ("pck_05", "evalpose", *readings)
            for control in CONTROLS
        ]
    validators = ["source_pck", "confidence", "infomax", "bnm", "equivariance", "plausibility"]
    validators += ["mmd", "coral"]
    if method in ("regda", "udape") and epoch > 2:
        validators.append("agreement")
    chosen = []
    if epoch == 4:
        ways = [*validators, "last", "default", "oracle_val", "kept"]
        chosen = [f"chosen_{what}/{way}" for way in ways for what in ("epoch", "pck_05")]
    return {
        "sampling/active_fraction",
        "train/wait_share",
        *(f"validator/{name}" for name in validators),
        *chosen,
        *controls,
        *(f"train/{name}" for name in losses),
        *(f"{split}/{name}" for split in splits for name in judged),
        *(f"{prefix}/{i:02d}" for prefix in bins for i in range(3)),
    }


@pytest.mark.parametrize("reads_test", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_each_epoch_reports_its_metrics(method, reads_test, domains):
    if reads_test:
        bins = np.arange(len(domains.target.splits["test"])) % 3
        domains = dataclasses.replace(domains, target_test=in_bins(bins))
    run = make_run(make_config(adapt__method=method), domains)
    found = reports(run)
    assert len(found) == run.total_epochs == run.epoch == 4
    for epoch, metrics in enumerate(found, start=1):
        assert set(metrics) == expected_keys(epoch, method, reads_test)
        assert np.isfinite(list(metrics.values())).all()
    last = found[-1]
    assert [last[f"final/pck_bin/{i:02d}"] for i in range(3)] == [
        last[f"pck_bin/{i:02d}"] for i in range(3)
    ]


def test_the_last_metrics_are_those_of_the_network_on_each_split(domains):
    bins, test_bins = (np.arange(len(domains.target.splits[name])) % 3 for name in ("val", "test"))
    domains = dataclasses.replace(
        domains, target_val=in_bins(bins), target_test=in_bins(test_bins)
    )
    run = make_run(make_config(), domains)
    last = finish(run)[-1]
    for split, store, rows in (
        ("source_val", domains.source, domains.source.splits["val"]),
        ("target_val", domains.target, domains.target.splits["val"]),
        ("target_test", domains.target, domains.target.splits["test"]),
    ):
        for name, value in evaluate(run.net, store, rows, 16).metrics(split).items():
            assert last[name] == value, name
    for prefix, split, index in (
        ("pck_bin", "val", bins),
        ("final/pck_bin", "val", bins),
        ("target_test/pck_bin", "test", test_bins),
    ):
        judged = evaluate(run.net, domains.target, domains.target.splits[split], 16)
        assert [last[f"{prefix}/{i:02d}"] for i in range(3)] == judged.pck_bins(index, 3)


def test_a_bin_without_a_scored_pose_is_left_out(domains):
    numbers = np.arange(len(domains.target.splits["val"])) % 3
    bins = np.where(numbers == 1, -1, numbers)
    run = make_run(
        make_config(adapt__method="source_only"),
        dataclasses.replace(domains, target_val=in_bins(bins)),
    )
    assert {key for key in run.run_epoch() if key.startswith("pck_bin/")} == {
        "pck_bin/00",
        "pck_bin/02",
    }


def test_the_reported_loss_is_the_mean_over_the_epoch(domains, monkeypatch):
    seen = []
    step = trainables.adapt.source_only.SourceOnly.step

    def recorded(self, source, target=None):
        losses = step(self, source, target)
        seen.append(losses["source_kl"].item())
        return losses

    monkeypatch.setattr(trainables.adapt.source_only.SourceOnly, "step", recorded)
    metrics = make_run(make_config(), domains).run_epoch()
    assert len(seen) == 3
    assert metrics["train/source_kl"] == pytest.approx(np.mean(seen), rel=1e-6)


def test_all_methods_share_their_pretraining_but_for_the_style_of_udape(domains):
    first, *others, styled = (
        finish(make_run(make_config(**RECIPES[recipe]), domains))
        for recipe in ("source_only", "regda", "udape_plain", "udape")
    )
    assert first[0] != styled[0]
    for other in others:
        assert first[:2] == other[:2]
        assert first[2] != other[2]


@pytest.mark.parametrize("method", METHODS)
def test_every_sampling_strategy_takes_the_same_number_of_steps_and_draws(method, domains):
    states, fractions = {}, {}
    for strategy in STRATEGIES:
        config = make_config(
            adapt__method=method,
            adapt__pretrain_epochs=1,
            adapt__epochs=1,
            sampling__strategy=strategy,
            sampling__keep=0.25,
            bins__subset=[1, 3],
        )
        run = make_run(config, domains)
        fractions[strategy] = [m["sampling/active_fraction"] for m in finish(run)]
        states[strategy] = run.state_dict()
    for state in states.values():
        adapter = state["adapter"]
        assert adapter["step"] == 6
        if method == "source_only":
            assert adapter["optimizer"]["state"][0]["step"] == 6
        elif method == "udape":
            assert adapter["optimizer"]["state"][0]["step"] == 3  # its own, of the adaptation
        else:
            counts = {
                name: int(o["state"][0]["step"]) for name, o in adapter["optimizers"].items()
            }
            assert counts == {"f": 6, "h": 3, "h_adv": 6}
        for name in ("draws", "augment"):
            assert torch.equal(state["source"][name], states["all"]["source"][name])
            assert torch.equal(state["target"][name], states["all"]["target"][name])
    assert fractions["all"] == [1, 1]
    for strategy in ("hardest", "easiest", "random"):
        assert fractions[strategy] == [28 / 115] * 2  # a quarter, rounded down
    assert fractions["bins"] == [57 / 115] * 2  # the first three of four bins hold 29
    assert fractions["curriculum"][0] == pytest.approx(1 / 3, abs=1 / 115)


def test_a_strategy_may_be_limited_to_one_phase(domains):
    config = make_config(
        sampling__strategy="hardest", sampling__keep=0.25, sampling__phase="adapt"
    )
    fractions = [m["sampling/active_fraction"] for m in finish(make_run(config, domains))]
    assert fractions == [1, 1, 28 / 115, 28 / 115]


def test_a_loss_that_is_not_finite_is_named(domains):
    run = make_run(make_config(), domains)
    run.run_epoch()
    with torch.no_grad():
        run.net.head[3].weight.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match=r"source_kl is nan in epoch 2 of 4, step 1$"):
        run.run_epoch()


def test_the_loss_that_broke_first_is_named(domains):
    run = make_run(make_config(adapt__method="regda"), domains)
    for _ in range(3):
        run.run_epoch()
    state = run.state_dict()
    state["adapter"]["adversarial_head"]["3.bias"].fill_(float("nan"))
    run.load_state_dict(state)
    with pytest.raises(
        FloatingPointError, match=r"source_disparity is nan in epoch 4 of 4, step 1$"
    ):
        run.run_epoch()


def test_udape_is_judged_by_its_teacher(domains):
    run = make_run(make_config(adapt__method="udape"), domains)
    last = finish(run)[-1]
    teacher = run.state_dict()["adapter"]["teacher"]
    student_net = build_net(make_config(), 16)
    student_net.load_state_dict(teacher)
    rows = domains.source.splits["val"]
    judged = evaluate(student_net, domains.source, rows, 16).metrics("source_val")
    assert judged["source_val/evalpose"] == last["source_val/evalpose"]


def test_source_only_training_does_not_notice_the_phases(domains):
    two_phases, one_phase = (
        make_config(adapt__method="source_only", adapt__pretrain_epochs=first, adapt__epochs=rest)
        for first, rest in ((1, 2), (3, 0))
    )
    assert finish(make_run(two_phases, domains)) == finish(make_run(one_phase, domains))


@pytest.mark.parametrize("method", ["regda", "udape"])
def test_parity_changes_augmentation_and_labels_of_both_domains(method, domains):
    config = make_config(**RECIPES[f"{method}_parity"])
    run = make_run(config, domains)
    for batches in (run._source, run._target):
        assert batches._settings.ranges == augment_ranges(config, domains.source.skeleton)
        assert batches._settings.ranges != AugmentRanges()
        assert batches._settings.is_quantised
    weights = np.ones(len(domains.source.splits["train"]))
    batch = run._source.augment(next(run._source.read(weights, 1, 32)))
    peaks = batch.maps.amax((2, 3))[batch.weights > 0]
    assert torch.equal(peaks, torch.ones_like(peaks))  # centred on whole cells


def test_style_transfer_reaches_the_student_and_the_teacher_apart(domains):
    parameters = {}
    for name, source, target in (("none", 0, 0), ("source", 1, 0), ("target", 0, 1)):
        config = make_config(
            adapt__method="udape",
            adapt__udape__style_source=source,
            adapt__udape__style_target=target,
        )
        parameters[name] = trained(config, domains)[1]
    assert not torch.equal(parameters["none"], parameters["source"])
    assert not torch.equal(parameters["none"], parameters["target"])
    still = make_config(
        adapt__method="udape", adapt__udape__style_source=1, adapt__udape__style_target=1,
        adapt__udape__style_alpha=0,
    )  # fmt: skip
    assert torch.equal(trained(still, domains)[1], parameters["none"])  # strength 0: as it was
