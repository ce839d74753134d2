"""The style stage through the harness's cache: what is shared, what is trained anew."""

import dataclasses
from types import SimpleNamespace

import pytest
import torch

from harness.stage_cache.cache import DiskStageCache
from trainables.config import DataConfig, StyleConfig, TrialConfig
from trainables.stages.data_stages import image_stage
from trainables.stages.style_stage import style_stage
from trainables.style.style_net import VGG19_PLAN, StyleNet, small_plan

TRIAL = TrialConfig(data=DataConfig(image_size=32, heatmap_size=16, num_source=60, num_target=60))
STYLE = StyleConfig(width=4, encoder_steps=2, steps=2, batch_size=2)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return DiskStageCache(tmp_path_factory.mktemp("stages"))


@pytest.fixture(scope="module")
def source(cache):
    return image_stage(cache, TRIAL, "source", 1)


@pytest.fixture(scope="module")
def target(cache):
    return image_stage(cache, TRIAL, "target", 1)


@pytest.fixture
def recorder():
    """A cache that notes what it is asked for and computes nothing."""

    class RecordedError(Exception):
        """Ends the stage before it computes anything."""

    def inputs_of(*arguments):
        def get(stage, inputs, compute):
            raise RecordedError(stage, dict(inputs))

        with pytest.raises(RecordedError) as caught:
            style_stage(SimpleNamespace(get=get), *arguments, num_threads=1)
        return caught.value.args

    return inputs_of


def vgg19_file(path, seed):
    net = StyleNet(VGG19_PLAN)
    net.initialise(torch.Generator().manual_seed(seed))
    indices = (0, 2, 5, 7, 10, 12, 14, 16, 19)
    layers = [m for m in net.encoder.modules() if isinstance(m, torch.nn.Conv2d)]
    state = {
        f"features.{index}.{kind}": value.detach()
        for index, layer in zip(indices, layers, strict=True)
        for kind, value in layer.named_parameters()
    }
    torch.save(state, path)
    return str(path)


def test_a_network_is_trained_once_and_then_found(cache, source, target):
    net, entry = style_stage(cache, source, target, STYLE, num_threads=1)
    again, second = style_stage(cache, source, target, STYLE, num_threads=1)
    assert (entry.outcome, second.outcome) == ("miss", "hit")
    assert entry.key == second.key
    state, found = net.state_dict(), again.state_dict()
    assert all(torch.equal(state[name], found[name]) for name in state)
    assert not any(parameter.requires_grad for parameter in again.parameters())


def test_another_cache_gets_the_same_network(cache, source, target, tmp_path):
    net, _ = style_stage(cache, source, target, STYLE, num_threads=1)
    other, entry = style_stage(DiskStageCache(tmp_path), source, target, STYLE, num_threads=1)
    assert entry.outcome != "hit"
    state, expected = other.state_dict(), net.state_dict()
    assert all(torch.equal(state[name], expected[name]) for name in state)


@pytest.mark.parametrize(
    "change",
    [{"width": 5}, {"encoder_steps": 3}, {"steps": 3}, {"batch_size": 3}, {"style_weight": 0.2}],
)
def test_every_setting_makes_another_network(source, target, recorder, change):
    stage, inputs = recorder(source, target, STYLE)
    assert stage == "style"
    assert recorder(source, target, dataclasses.replace(STYLE, **change)) != (stage, inputs)


def test_every_field_of_the_settings_is_in_the_key(source, target, recorder):
    _, inputs = recorder(source, target, STYLE)
    assert {field.name for field in dataclasses.fields(StyleConfig)} < set(inputs)


def test_the_domains_are_in_the_key_each_in_its_role(source, target, recorder):
    assert recorder(source, target, STYLE) != recorder(target, source, STYLE)


def test_a_moved_encoder_is_the_same_and_an_overwritten_one_is_not(
    source, target, recorder, tmp_path
):
    def inputs(path):
        return recorder(source, target, dataclasses.replace(STYLE, encoder=path))

    first = inputs(vgg19_file(tmp_path / "vgg19.pth", seed=0))
    (tmp_path / "vgg19.pth").rename(tmp_path / "moved.pth")
    assert inputs(str(tmp_path / "moved.pth")) == first
    assert inputs(vgg19_file(tmp_path / "moved.pth", seed=1)) != first


def test_the_encoder_of_a_file_is_part_of_the_saved_network(cache, source, target, tmp_path):
    path = vgg19_file(tmp_path / "vgg19.pth", seed=0)
    style = dataclasses.replace(STYLE, encoder=path, steps=1)
    net, _ = style_stage(cache, source, target, style, num_threads=1)
    first = net.encoder.get_parameter("levels.0.0.weight")
    state = torch.load(path, weights_only=True)
    assert torch.equal(first, state["features.0.weight"])


def test_a_missing_encoder_is_refused_by_name_and_leaves_no_stage(source, target, tmp_path):
    style = dataclasses.replace(STYLE, encoder=str(tmp_path / "absent.pth"))
    with pytest.raises(ValueError, match=r"absent\.pth is not a readable file of weights"):
        style_stage(DiskStageCache(tmp_path / "stages"), source, target, style, num_threads=1)
    assert not list(tmp_path.rglob("style_net.pt"))


def test_labels_and_other_splits_are_not_read(source, target, cache, tmp_path):
    def stripped(stage):
        only = {"train": stage.store.splits["train"]}
        return stage._replace(store=SimpleNamespace(images=stage.store.images, splits=only))

    net, _ = style_stage(cache, source, target, STYLE, num_threads=1)
    other, _ = style_stage(
        DiskStageCache(tmp_path), stripped(source), stripped(target), STYLE, num_threads=1
    )
    assert torch.equal(other.first_convolution.weight, net.first_convolution.weight)


def test_training_has_the_threads_it_is_given_and_gives_them_back(
    source, target, tmp_path, monkeypatch
):
    seen = []

    def train(domains, style, generator, device):
        seen.append((torch.get_num_threads(), device))
        net = StyleNet(small_plan(style.width))
        net.initialise(generator)
        return net

    monkeypatch.setattr("trainables.stages.style_stage.train_style_net", train)
    before = torch.get_num_threads()
    style_stage(DiskStageCache(tmp_path), source, target, STYLE, before + 1, "cpu")
    assert seen == [(before + 1, torch.device("cpu"))]
    assert torch.get_num_threads() == before
