"""Training of style networks on tiny domains: losses, seeds, what is read."""

import math

import numpy as np
import pytest
import torch

from trainables.config import StyleConfig
from trainables.style.style_fit import (
    UnlabelledImages,
    fit_decoder,
    fit_encoder,
    style_losses,
    train_style_net,
)
from trainables.style.style_net import VGG19_PLAN, Encoder, StyleNet, small_plan

CPU = torch.device("cpu")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def make_net(seed=0, width=4):
    net = StyleNet(small_plan(width))
    net.initialise(generator(seed))
    return net


def vgg19_state():
    """Random weights with torchvision's names."""
    net = StyleNet(VGG19_PLAN)
    net.initialise(generator())
    layers = [module for module in net.encoder.modules() if isinstance(module, torch.nn.Conv2d)]
    indices = (0, 2, 5, 7, 10, 12, 14, 16, 19)
    return {
        f"features.{index}.{kind}": value.detach()
        for index, layer in zip(indices, layers, strict=True)
        for kind, value in layer.named_parameters()
    }


@pytest.fixture(scope="module")
def pair(domains):
    return tuple(
        UnlabelledImages.training_split(store) for store in (domains.source, domains.target)
    )


def test_the_style_loss_is_zero_between_an_image_and_itself_if_the_decoder_is_perfect():
    class Mirror(StyleNet):
        def decode(self, features):
            return self.answer

    net = Mirror(small_plan(4))
    net.initialise(generator())
    net.answer = torch.randn((2, 3, 16, 16), generator=generator())
    content_loss, style_loss = style_losses(net, net.answer, net.answer)
    assert content_loss.item() == pytest.approx(0, abs=1e-6)
    assert style_loss.item() == 0


def test_training_lowers_every_loss(pair):
    net = make_net(width=8)
    reconstruction = fit_encoder(net, pair, 60, 4, generator(1))
    losses = fit_decoder(net, pair, 60, 4, 0.1, 2e-3, generator(2))
    assert reconstruction.shape == (60, 1)
    assert reconstruction[-10:].mean() < 0.7 * reconstruction[:10].mean()
    assert losses.shape == (60, 2)
    for loss in losses.unbind(1):
        assert loss[-15:].mean() < 0.9 * loss[:15].mean()


def test_the_decoder_still_decodes_after_the_encoders_scales_are_set(pair):
    net = make_net(width=8)
    last = fit_encoder(net, pair, 60, 4, generator(1))[-10:].mean().item()
    images = torch.cat([domain.draw(16, generator(3), CPU) for domain in pair])
    error = (net.decode(net.encoder(images)[-1]) - images).square().mean().item()
    assert error == pytest.approx(last, rel=0.5)


def test_the_encoder_stays_as_it_is_while_the_decoder_is_trained(pair):
    net = make_net()
    before = [parameter.clone() for parameter in net.encoder.parameters()]
    fit_decoder(net, pair, 3, 2, 0.1, 2e-3, generator())
    for parameter, old in zip(net.encoder.parameters(), before, strict=True):
        assert torch.equal(parameter, old)


def train(pair, seed=0, **fields):
    style = StyleConfig(**({"width": 4, "encoder_steps": 3, "steps": 3, "batch_size": 2} | fields))
    return train_style_net(pair, style, generator(seed), CPU)


def test_the_same_seed_trains_the_same_network_and_leaves_the_global_generator(pair):
    before = torch.get_rng_state()
    first, again, other = (train(pair, seed).state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_without_steps_the_encoder_stays_random_but_for_its_scales(pair):
    net, untrained = train(pair, encoder_steps=0), make_net(seed=0)
    for name, value in untrained.encoder.named_parameters():
        assert torch.equal(net.encoder.get_parameter(name), value), name
    assert not torch.equal(net.encoder.scale, untrained.encoder.scale)


def test_an_encoder_from_a_file_is_kept_but_for_its_scales(pair, tmp_path):
    path = tmp_path / "vgg19.pth"
    torch.save(vgg19_state(), path)
    net = train(pair, encoder=str(path), steps=1)
    loaded = Encoder(VGG19_PLAN)
    loaded.load_vgg19(path)
    for name, value in loaded.named_parameters():
        assert torch.equal(net.encoder.get_parameter(name), value), name
    assert not torch.equal(net.encoder.scale, loaded.scale)


def test_images_outside_the_rows_are_not_read(pair):
    def with_noise_elsewhere(domain):
        images = np.array(domain.images)
        others = np.setdiff1d(np.arange(len(images)), domain.rows)
        assert len(others)
        images[others] = 255 - images[others]
        return UnlabelledImages(images, domain.rows)

    changed = tuple(with_noise_elsewhere(domain) for domain in pair)
    first, second = train(pair).state_dict(), train(changed).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(("step", "value"), [(1, math.nan), (52, math.inf)])
def test_a_loss_that_is_not_finite_is_named_with_its_step(pair, monkeypatch, step, value):
    calls = iter(range(1, 100))

    def losses(net, content, style):
        own = net.first_convolution.weight.square().sum()
        return torch.stack([own, own * (value if next(calls) == step else 1)])

    monkeypatch.setattr("trainables.style.style_fit.style_losses", losses)
    with pytest.raises(FloatingPointError, match=f"style loss .* is {value} in step {step}$"):
        fit_decoder(make_net(), pair, 60, 2, 0.1, 2e-3, generator())
