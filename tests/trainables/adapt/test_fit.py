"""A run on tiny rendered domains: its metrics, its seeds, its checkpoints and its honesty."""

import dataclasses
import typing

import numpy as np
import pytest
import torch

import trainables.adapt.fit
import trainables.adapt.source_only
from trainables.adapt.evaluate import evaluate
from trainables.adapt.fit import AdaptationRun
from trainables.adapt.methods import build_net
from trainables.checkpoint import load_state, save_states
from trainables.config import Strategy, TrialConfig

CPU = torch.device("cpu")
METHODS = ["source_only", "regda", "udape"]
PARITY = {"parity": True, "adapt.pretrain_epochs": 2, "adapt.epochs": 2, "net.width": 4}
RECIPES = {
    "source_only": {"adapt.method": "source_only"},
    "source_only_mse": {"adapt.method": "source_only", "adapt.loss": "mse"},
    "source_only_parity": {"adapt.method": "source_only", **PARITY},
    "regda": {"adapt.method": "regda"},
    "regda_parity": {"adapt.method": "regda", **PARITY},
    "udape": {"adapt.method": "udape"},
    "udape_plain": {"adapt.method": "udape", "adapt.udape.style_alpha": 0.0},
    "udape_warp": {"adapt.method": "udape", "adapt.loss": "mse", "adapt.udape.labels": "warp"},
    "udape_parity": {"adapt.method": "udape", **PARITY},
    "oracle": {"adapt.method": "oracle"},
}
GROUPS = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
FIELDS = {
    "data.image_size": 32,
    "data.heatmap_size": 16,
    "net.width": 4,
    "adapt.pretrain_epochs": 2,
    "adapt.epochs": 2,
    "adapt.steps_per_epoch": 3,
    "adapt.batch_size": 4,
    "adapt.lr": 0.01,
    "evaluation.bin_count": 3,
    "bins.count": 4,
}


def make_config(**fields):
    """A small trial; a field is named by its path, or with ``__`` for the dot."""
    named = {name.replace("__", "."): value for name, value in fields.items()}
    return TrialConfig.from_flat(FIELDS | named)


def make_run(config, domains, net_seed=None):
    net_config = config if net_seed is None else dataclasses.replace(config, seed=net_seed)
    return AdaptationRun(config, domains, build_net(net_config, 16), CPU)


def finish(run):
    metrics = []
    while not run.is_done:
        metrics.append(run.run_epoch())
    return metrics


def expected_keys(epoch, method, reads_test):
    judged = ["pck_05", "evalpose", "evalpose_unit_signed", *(f"pck_05_{g}" for g in GROUPS)]
    splits = ["source_val", "target_val"]
    bins = ["pck_bin"]
    losses = ["source_kl"]
    if method == "regda" and epoch > 2:
        losses += ["source_disparity", "false_disparity", "target_disparity"]
    if method == "udape" and epoch > 2:
        losses += ["consistency", "confidence"]
    adabn = ["target_val/pck_05_adabn"] if epoch == 4 else []
    if epoch == 4:
        bins.append("final/pck_bin")
        if reads_test:
            splits.append("target_test")
            bins.append("target_test/pck_bin")
    validators = ["source_pck", "confidence", "infomax", "bnm", "equivariance", "plausibility"]
    validators += ["mmd", "coral"]
    if method in ("regda", "udape") and epoch > 2:
        validators.append("agreement")
    chosen = []
    if epoch == 4:
        ways = [*validators, "last", "default", "oracle_val", "kept"]
        chosen = [f"chosen/{way}/{what}" for way in ways for what in ("epoch", "pck_05")]
    return {
        "sampling/active_fraction",
        *(f"validator/{name}" for name in validators),
        *chosen,
        *adabn,
        *(f"train/{name}" for name in losses),
        *(f"{split}/{name}" for split in splits for name in judged),
        *(f"{prefix}/{i:02d}" for prefix in bins for i in range(3)),
    }


@pytest.mark.parametrize("reads_test", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_each_epoch_reports_its_metrics(method, reads_test, domains):
    if reads_test:
        domains = dataclasses.replace(domains, target_test_bins=np.arange(24) % 3)
    run = make_run(make_config(adapt__method=method), domains)
    reports = finish(run)
    assert len(reports) == run.total_epochs == run.epoch == 4
    for epoch, metrics in enumerate(reports, start=1):
        assert set(metrics) == expected_keys(epoch, method, reads_test)
        assert np.isfinite(list(metrics.values())).all()
    last = reports[-1]
    assert [last[f"final/pck_bin/{i:02d}"] for i in range(3)] == [
        last[f"pck_bin/{i:02d}"] for i in range(3)
    ]


def test_the_last_metrics_are_those_of_the_network_on_each_split(domains):
    bins = np.arange(24) % 3
    domains = dataclasses.replace(
        domains, target_val_bins=bins, target_test_bins=bins[::-1].copy()
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
        ("target_test/pck_bin", "test", bins[::-1].copy()),
    ):
        judged = evaluate(run.net, domains.target, domains.target.splits[split], 16, index, 3)
        assert [last[f"{prefix}/{i:02d}"] for i in range(3)] == judged.pck_bins


def test_a_bin_without_a_scored_pose_is_left_out(domains):
    bins = np.where(np.arange(24) % 3 == 1, -1, np.arange(24) % 3)
    run = make_run(
        make_config(adapt__method="source_only"),
        dataclasses.replace(domains, target_val_bins=bins),
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


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_same_seed_gives_the_same_metrics(recipe, domains):
    config = make_config(**RECIPES[recipe])
    first, second = (finish(make_run(config, domains)) for _ in range(2))
    assert first == second
    other = finish(make_run(dataclasses.replace(config, seed=1), domains))
    (loss,) = (name for name in first[0] if name.startswith("train/source_"))
    assert first[0][loss] != other[0][loss]


def test_all_methods_share_their_pretraining_but_for_the_style_of_udape(domains):
    first, *others, styled = (
        finish(make_run(make_config(**RECIPES[recipe]), domains))
        for recipe in ("source_only", "regda", "udape_plain", "udape")
    )
    assert first[0] != styled[0]
    for other in others:
        assert first[:2] == other[:2]
        assert first[2] != other[2]


@pytest.mark.parametrize("epoch", [1, 2, 3])
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_run_continues_from_a_checkpoint_bit_for_bit(recipe, epoch, domains, tmp_path):
    strategy = {} if recipe == "oracle" else {"sampling.strategy": "curriculum"}
    config = make_config(**RECIPES[recipe], **strategy)
    run = make_run(config, domains)
    for _ in range(epoch):
        run.run_epoch()
    save_states(tmp_path, {"last": run.state_dict(), "best": run.best})
    expected = finish(run)
    resumed = make_run(config, domains, net_seed=7)
    resumed.load_state_dict(load_state(tmp_path))
    resumed.best = load_state(tmp_path, "best")
    assert resumed.epoch == epoch
    assert finish(resumed) == expected
    for name, value in run.net.state_dict().items():
        assert torch.equal(resumed.net.state_dict()[name], value), name
    assert resumed.best["epoch"] == run.best["epoch"]
    for name, value in run.best["net"].items():
        assert torch.equal(resumed.best["net"][name], value), name


@pytest.mark.parametrize("method", METHODS)
def test_every_sampling_strategy_takes_the_same_number_of_steps_and_draws(method, domains):
    states, fractions = {}, {}
    for strategy in typing.get_args(Strategy):
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
        assert fractions[strategy] == [0.25, 0.25]  # 27 of 108
    assert fractions["bins"] == [0.5, 0.5]
    assert fractions["curriculum"][0] == pytest.approx(1 / 3)


def test_a_strategy_may_be_limited_to_one_phase(domains):
    config = make_config(
        sampling__strategy="hardest", sampling__keep=0.25, sampling__phase="adapt"
    )
    fractions = [m["sampling/active_fraction"] for m in finish(make_run(config, domains))]
    assert fractions == [1, 1, 0.25, 0.25]


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


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_global_generator_is_neither_read_nor_moved(recipe, domains):
    config = make_config(**RECIPES[recipe])
    before = torch.get_rng_state()
    try:
        torch.manual_seed(1)
        start = torch.get_rng_state()
        first = finish(make_run(config, domains))
        assert torch.equal(torch.get_rng_state(), start)
        torch.manual_seed(2)
        assert finish(make_run(config, domains)) == first
    finally:
        torch.set_rng_state(before)


class SealedStore:
    """An image store whose labels may be read while it is unsealed only."""

    def __init__(self, store):
        self._store = store
        self.is_sealed = True

    def __getattr__(self, name):
        return getattr(self._store, name)

    @property
    def keypoints_px(self):
        return self._label("keypoints_px")

    @property
    def visible(self):
        return self._label("visible")

    def _label(self, name):
        if self.is_sealed:
            raise PermissionError(f"training read {name} of the target")
        return getattr(self._store, name)


@pytest.mark.parametrize("recipe", [name for name in RECIPES if name != "oracle"])
def test_training_never_reads_a_target_label(recipe, domains, monkeypatch):
    sealed = SealedStore(domains.target)

    def unsealed(net, store, *args):
        sealed.is_sealed = False
        try:
            return evaluate(net, store, *args)
        finally:
            sealed.is_sealed = True

    config = make_config(**RECIPES[recipe])
    with pytest.raises(PermissionError):
        finish(make_run(config, dataclasses.replace(domains, target=sealed)))  # evaluation reads
    monkeypatch.setattr(trainables.adapt.fit, "evaluate", unsealed)
    reports = finish(make_run(config, dataclasses.replace(domains, target=sealed)))
    monkeypatch.undo()
    assert reports == finish(make_run(config, domains))


def trained(config, domains):
    """Metrics and parameters of a whole run."""
    run = make_run(config, domains)
    return finish(run), torch.cat([p.detach().flatten() for p in run.net.parameters()])


@pytest.mark.parametrize("recipe", [name for name in RECIPES if name != "oracle"])
def test_target_labels_and_held_out_images_leave_the_network_alone(recipe, domains):
    rng = np.random.default_rng(0)

    def without_held_out(store):
        images = np.zeros_like(store.images)
        images[store.splits["train"]] = store.images[store.splits["train"]]
        return images

    source = dataclasses.replace(domains.source, images=without_held_out(domains.source))
    target = dataclasses.replace(
        domains.target,
        images=without_held_out(domains.target),
        keypoints_px=rng.permutation(domains.target.keypoints_px),
        visible=rng.permutation(domains.target.visible),
    )
    config = make_config(**RECIPES[recipe])
    metrics, parameters = trained(config, domains)
    other_metrics, other_parameters = trained(
        config, dataclasses.replace(domains, source=source, target=target)
    )
    assert metrics != other_metrics  # only the judgement differs
    assert torch.equal(parameters, other_parameters)


def test_target_images_shape_the_network_of_every_method_but_source_only(domains):
    target = dataclasses.replace(domains.target, images=255 - np.asarray(domains.target.images))
    for method in METHODS:
        config = make_config(adapt__method=method)
        _, parameters = trained(config, domains)
        _, other = trained(config, dataclasses.replace(domains, target=target))
        assert torch.equal(parameters, other) == (method == "source_only")


def test_a_network_is_built_from_the_seed_alone():
    config = make_config()
    first, second = build_net(config, 16), build_net(config, 16)
    other = build_net(dataclasses.replace(config, seed=1), 16)
    for (name, a), b in zip(first.named_parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b), name
    assert not torch.equal(first.backbone.conv1.weight, other.backbone.conv1.weight)


def test_the_oracle_is_trained_on_target_labels_and_on_nothing_of_the_source(domains):
    rng = np.random.default_rng(0)
    config = make_config(adapt__method="oracle")
    _, parameters = trained(config, domains)
    other_source = dataclasses.replace(
        domains.source, images=255 - np.asarray(domains.source.images),
        keypoints_px=rng.permutation(domains.source.keypoints_px),
    )  # fmt: skip
    _, same = trained(config, dataclasses.replace(domains, source=other_source))
    assert torch.equal(parameters, same)
    other_target = dataclasses.replace(
        domains.target, keypoints_px=rng.permutation(domains.target.keypoints_px)
    )
    _, other = trained(config, dataclasses.replace(domains, target=other_target))
    assert not torch.equal(parameters, other)


def test_the_oracle_knows_no_sampling():
    with pytest.raises(ValueError, match="must be 'all' for the oracle"):
        make_config(adapt__method="oracle", sampling__strategy="hardest")


def test_udape_is_judged_by_its_teacher(domains):
    run = make_run(make_config(adapt__method="udape"), domains)
    last = finish(run)[-1]
    teacher = run.state_dict()["adapter"]["teacher"]
    student_net = build_net(make_config(), 16)
    student_net.load_state_dict(teacher)
    rows = domains.source.splits["val"]
    judged = evaluate(student_net, domains.source, rows, 16).metrics("source_val")
    assert judged["source_val/evalpose"] == last["source_val/evalpose"]


def test_the_best_network_is_that_of_the_default_choice(domains):
    run = make_run(make_config(), domains)
    networks = []
    while not run.is_done:
        metrics = run.run_epoch()
        networks.append({name: v.clone() for name, v in run.net.state_dict().items()})
    # Whatever the last choice is, the kept network is one that was chosen when it was new.
    kept = run.best["epoch"]
    assert 1 <= kept <= 4
    for name, value in run.best["net"].items():
        assert torch.equal(value, networks[kept - 1][name]), name
    assert metrics["chosen/last/epoch"] == 4
    assert metrics["chosen/last/pck_05"] == metrics["target_val/pck_05"]


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
