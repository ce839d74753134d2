"""The Pose VAE network: shapes, what it reads, the bounds of its variance."""

import pytest
import torch

from trainables.pose_vae.model import LOGVAR_RANGE, PoseVAE, pack


def new_model(num_joints=5, latent_dim=3, hidden_dim=8, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return PoseVAE(num_joints, latent_dim, hidden_dim)


def random_poses(num=4, num_joints=5):
    generator = torch.Generator().manual_seed(1)
    poses = torch.randn((num, num_joints, 2), generator=generator)
    mask = (torch.rand((num, num_joints), generator=generator) < 0.6).float()
    return poses, mask


def test_codes_and_poses_have_their_shapes():
    model = new_model()
    poses, mask = random_poses()
    mu, logvar = model.encode(poses, mask)
    assert mu.shape == logvar.shape == (4, 3)
    assert model.decode(mu).shape == (4, 5, 2)
    decoded, mu_again, logvar_again = model(pack(poses, mask), torch.zeros(4, 3))
    assert torch.equal(mu_again, mu)
    assert torch.equal(logvar_again, logvar)
    assert torch.equal(decoded, model.decode(mu))


def test_the_latent_noise_is_scaled_by_the_posterior_deviation():
    model = new_model()
    poses, mask = random_poses()
    noise = torch.randn((4, 3), generator=torch.Generator().manual_seed(2))
    decoded, mu, logvar = model(pack(poses, mask), noise)
    expected = model.decode(mu + logvar.exp().sqrt() * noise)
    torch.testing.assert_close(decoded, expected)


def test_coordinates_of_invisible_joints_are_not_read():
    model = new_model()
    poses, mask = random_poses()
    garbage = torch.where(mask.unsqueeze(-1) > 0, poses, 1e6)
    assert torch.equal(model.encode(poses, mask)[0], model.encode(garbage, mask)[0])


def test_a_missing_joint_differs_from_a_joint_at_0():
    model = new_model()
    poses, mask = torch.zeros(1, 5, 2), torch.ones(1, 5)
    missing = mask.clone()
    missing[0, 2] = 0
    assert not torch.equal(model.encode(poses, mask)[0], model.encode(poses, missing)[0])


@pytest.mark.parametrize("size", [1e4, -1e4])
def test_the_log_variance_is_bounded(size):
    model = new_model()
    _, logvar = model.encode(torch.full((2, 5, 2), size), torch.ones(2, 5))
    assert logvar.min() >= LOGVAR_RANGE[0]
    assert logvar.max() <= LOGVAR_RANGE[1]
    assert ((logvar == LOGVAR_RANGE[0]) | (logvar == LOGVAR_RANGE[1])).any()


def test_poses_of_a_batch_do_not_see_each_other():
    model = new_model()
    poses, mask = random_poses()
    together, alone = model.encode(poses, mask)[0], model.encode(poses[1:2], mask[1:2])[0]
    torch.testing.assert_close(together[1:2], alone)
