"""Training of the Pose VAE: the terms of its loss, the loop against a plain one, seeds."""

import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from tests.reference.synthetic_poses import body_poses, fit, new_model, plane_poses
from trainables.pose_vae.fit import (
    BATCH_SIZE,
    JOINT_DROP,
    LEARNING_RATE,
    active_units,
    fit_pose_vae,
    kl_to_standard_normal,
    reconstruction_error,
)


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        ((1.0, 1.0, 1.0, 1.0), 1 + 25 + 0 + 4),
        ((1.0, 1.0, 0.0, 0.0), (1 + 25) * 4 / 2),
        ((1.0, 0.0, 1.0, 1.0), (1 + 0 + 4) * 4 / 3),
        ((0.0, 0.0, 0.0, 1.0), 4 * 4),
        ((0.0, 0.0, 0.0, 0.0), 0.0),
    ],
)
def test_reconstruction_error_scales_visible_joints_to_all(mask, expected):
    poses = torch.tensor([[[0.0, 0.0], [3.0, 0.0], [1.0, 1.0], [0.0, 2.0]]])
    decoded = torch.tensor([[[1.0, 0.0], [0.0, 4.0], [1.0, 1.0], [0.0, 0.0]]])
    error = reconstruction_error(poses, decoded, torch.tensor([mask]))
    assert error.tolist() == pytest.approx([expected])


def test_kl_equals_the_closed_form_of_torch_distributions():
    generator = torch.Generator().manual_seed(0)
    mu, logvar = torch.randn((2, 7, 5), generator=generator).unbind()
    posterior, prior = Normal(mu, (0.5 * logvar).exp()), Normal(0.0, 1.0)
    expected = kl_divergence(posterior, prior).sum(-1)
    torch.testing.assert_close(kl_to_standard_normal(mu, logvar), expected)


def test_kl_of_the_prior_itself_is_0():
    assert kl_to_standard_normal(torch.zeros(2, 3), torch.zeros(2, 3)).tolist() == [0, 0]


def test_training_lowers_the_loss():
    history = fit(new_model(), *body_poses(1000), epochs=20)
    assert [epoch.epoch for epoch in history] == list(range(1, 21))
    assert history[-1].loss < 0.5 * history[0].loss
    assert history[-1].reconstruction < 0.5 * history[0].reconstruction


@pytest.mark.parametrize("kl_weight", [1e-3, 0.5])
def test_the_loss_is_the_weighted_sum_of_its_terms(kl_weight):
    for epoch in fit(new_model(), *body_poses(100), kl_weight=kl_weight):
        assert epoch.loss == pytest.approx(epoch.reconstruction + kl_weight * epoch.kl)
        assert epoch.kl > 0


def plain_fit(model, poses, mask, kl_weight, epochs, seed):
    """Equation (1) pose by pose and batch by batch, as the paper reads."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), LEARNING_RATE)
    num, joints = mask.shape
    total_steps = epochs * math.ceil(num / BATCH_SIZE)
    step = 0
    means = []
    for _ in range(epochs):
        order = torch.randperm(num, generator=generator).tolist()
        dropped = torch.rand((num, joints), generator=generator) < JOINT_DROP
        noise = torch.randn((num, model.latent_dim), generator=generator)
        total = 0.0
        for start in range(0, num, BATCH_SIZE):
            losses = []
            for place in range(start, min(start + BATCH_SIZE, num)):
                pose, seen = poses[order[place]], mask[order[place]]
                given = seen.masked_fill(dropped[place], 0.0)
                mu, logvar = model.encode(pose[None], given[None])
                decoded = model.decode(mu + (logvar / 2).exp() * noise[place])[0]
                squared = ((pose - decoded) ** 2).sum(1)
                reconstruction = (seen * squared).sum() * joints / seen.sum()
                kl = 0.5 * (mu**2 + logvar.exp() - logvar - 1).sum()
                losses.append(reconstruction + kl_weight * kl)
            for group in optimizer.param_groups:
                group["lr"] = LEARNING_RATE * (1 + math.cos(math.pi * step / total_steps)) / 2
            optimizer.zero_grad()
            torch.stack(losses).mean().backward()
            optimizer.step()
            total += torch.stack(losses).sum().item()
            step += 1
        means.append(total / num)
    return means


def test_training_equals_a_plain_loop_over_poses():
    num = BATCH_SIZE + 30  # a full batch and a small one
    poses, mask = body_poses(num)
    mask = mask * (torch.rand(mask.shape, generator=torch.Generator().manual_seed(5)) < 0.8)
    poses = poses * mask.unsqueeze(-1)
    ours, plain = new_model(hidden_dim=8, latent_dim=2), new_model(hidden_dim=8, latent_dim=2)
    history = fit(ours, poses, mask, kl_weight=0.1, epochs=2, seed=3)
    means = plain_fit(plain, poses, mask, 0.1, 2, seed=3)
    assert [epoch.loss for epoch in history] == pytest.approx(means, rel=1e-4)
    for first, second in zip(ours.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(first, second, atol=2e-5, rtol=0)


def test_the_same_seed_gives_the_same_weights_whatever_the_global_generator():
    poses, mask = body_poses(200)
    first, second, other = new_model(), new_model(), new_model()
    fit(first, poses, mask, seed=4)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(99)
        fit(second, poses, mask, seed=4)
    fit(other, poses, mask, seed=5)
    same, different = second.state_dict(), other.state_dict()
    for name, weight in first.state_dict().items():
        assert torch.equal(weight, same[name])
    assert any(not torch.equal(w, different[name]) for name, w in first.state_dict().items())


def test_training_changes_neither_poses_nor_mask():
    poses, mask = body_poses(50)
    before = poses.clone(), mask.clone()
    fit(new_model(), poses, mask)
    assert torch.equal(poses, before[0])
    assert torch.equal(mask, before[1])


def test_hidden_joints_are_reconstructed_from_the_others():
    model = new_model()
    fit(model, *plane_poses(256), kl_weight=1e-2, epochs=400)
    poses, mask = plane_poses(200, seed=9)
    hidden = 11
    mask[:, hidden] = 0
    with torch.no_grad():
        decoded = model.decode(model.encode(poses, mask)[0])
    error = (decoded[:, hidden] - poses[:, hidden]).square().sum(-1).mean()
    assert error < 0.1 * poses[:, hidden].var(dim=0).sum()


def test_a_loss_that_is_not_finite_stops_the_training():
    poses, mask = body_poses(40)
    poses[7, 3, 0] = math.inf
    with pytest.raises(FloatingPointError, match="the Pose VAE loss is nan in epoch 1"):
        fit(new_model(), poses, mask)


def test_epochs_are_trained_one_at_a_time():
    poses, mask = body_poses(40)
    model = new_model()
    before = model.decoder[0].weight.clone()
    epochs = fit_pose_vae(model, poses, mask, 1e-3, 5, torch.Generator().manual_seed(0))
    assert torch.equal(model.decoder[0].weight, before)
    assert next(epochs).epoch == 1
    assert not torch.equal(model.decoder[0].weight, before)
    assert next(epochs).epoch == 2


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (((0.0, 0.0, 0.0), (1.0, 2.0, 3.0)), 1),
        (((0.0, 0.19, 0.0), (0.0, 0.0, 0.0)), 1),  # variance 0.0120
        (((0.0, 0.17, 0.0), (0.0, 0.0, 0.0)), 0),  # variance 0.0096
        (((-1.0, 1.0, 0.0), (1.0, 2.0, 3.0)), 2),
    ],
)
def test_units_whose_mean_varies_are_active(columns, expected):
    assert active_units(torch.tensor(columns).T) == expected


@pytest.mark.parametrize(("kl_weight", "expected"), [(1e3, 0), (1e-2, 4)])
def test_a_huge_kl_weight_leaves_no_unit_active(kl_weight, expected):
    model = new_model()
    fit(model, *plane_poses(256), kl_weight=kl_weight, epochs=300)
    with torch.no_grad():
        assert active_units(model.encode(*plane_poses(200, seed=9))[0]) == expected
