"""Which labels and images reach the network: those of training splits, never target labels."""

import dataclasses

import numpy as np
import pytest
import torch

import trainables.evaluation.judge
from tests.trainables.adapt.tiny_run import (
    METHODS,
    RECIPES,
    finish,
    make_config,
    make_run,
    trained,
)
from trainables.evaluation.evaluate import control_metrics, evaluate, evaluate_samples
from trainables.evaluation.judge import Judge


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

    def unsealed(judging):
        def judge(*args):
            sealed.is_sealed = False
            try:
                return judging(*args)
            finally:
                sealed.is_sealed = True

        return judge

    config = make_config(**RECIPES[recipe])
    with pytest.raises(PermissionError):
        finish(make_run(config, dataclasses.replace(domains, target=sealed)))  # evaluation reads
    for judging in (evaluate, evaluate_samples, control_metrics):
        monkeypatch.setattr(trainables.evaluation.judge, judging.__name__, unsealed(judging))
    # Predictions are written with the truth beside them.
    monkeypatch.setattr(Judge, "_predictions", unsealed(Judge._predictions))
    reports = finish(make_run(config, dataclasses.replace(domains, target=sealed)))
    monkeypatch.undo()
    assert reports == finish(make_run(config, domains))


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
