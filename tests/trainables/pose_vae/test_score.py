"""Difficulty scores: by hand, missing joints, rank stability, corruption."""

import math

import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.reference.synthetic_poses import body_poses, fit, new_model, plane_poses
from trainables.pose_vae.score import (
    MIN_VISIBLE,
    Information,
    corruption_auc,
    information,
    information_metrics,
    rank_stability,
    score_poses,
)


class Recaller:
    """Stands in for a Pose VAE and decodes every pose to a remembered one."""

    def __init__(self, poses):
        self.poses = poses

    def encode(self, poses, mask):
        return torch.zeros(len(poses), 1), torch.zeros(len(poses), 1)

    def decode(self, latent):
        return self.poses


class Copier:
    """Stands in for a Pose VAE that reconstructs everything: all scores are 0."""

    def encode(self, poses, mask):
        return poses.flatten(1), torch.zeros(len(poses), 1)

    def decode(self, latent):
        return latent.unflatten(1, (-1, 2))


@pytest.fixture(scope="module")
def trained():
    model = new_model()
    fit(model, *plane_poses(256), kl_weight=1e-2, epochs=400)
    return model


def test_a_score_is_the_error_scaled_to_all_joints():
    poses = torch.zeros(2, 10, 2)
    poses[:, :, 0] = 1.0  # every joint is off by 1 from the remembered 0
    poses[:, 9] = torch.tensor([3.0, 4.0])  # but the last, by 5
    mask = torch.ones(2, 10)
    mask[1, 9] = 0
    scores = score_poses(Recaller(torch.zeros(2, 10, 2)), poses, mask)
    assert scores.tolist() == pytest.approx([9 + 25, 9 * 10 / 9])


@pytest.mark.parametrize(
    ("num_visible", "scored"), [(0, False), (7, False), (8, True), (9, True), (16, True)]
)
def test_poses_with_fewer_than_8_visible_joints_are_not_scored(num_visible, scored):
    assert MIN_VISIBLE == 8
    poses, _ = body_poses(3)
    mask = torch.zeros(3, 16)
    mask[:, :num_visible] = 1
    assert score_poses(new_model(), poses, mask).isfinite().tolist() == [scored] * 3


def test_scores_are_deterministic_and_carry_no_gradient(trained):
    poses, mask = plane_poses(50, seed=1)
    first, second = score_poses(trained, poses, mask), score_poses(trained, poses, mask)
    assert torch.equal(first, second)
    assert not first.requires_grad
    assert (first > 0).all()


def test_coordinates_of_invisible_joints_do_not_influence_the_score(trained):
    poses, mask = plane_poses(50, seed=1)
    mask = (torch.rand(mask.shape, generator=torch.Generator().manual_seed(0)) < 0.7).float()
    garbage = torch.where(mask.unsqueeze(-1) > 0, poses, 1e4)
    first, second = score_poses(trained, poses, mask), score_poses(trained, garbage, mask)
    assert first.isfinite().any()
    assert torch.equal(first.nan_to_num(-1), second.nan_to_num(-1))


def test_missing_joints_do_not_make_a_pose_look_easy(trained):
    poses, mask = plane_poses(300, seed=2)
    partial = mask.clone()
    partial[:, ::2] = 0
    whole = score_poses(trained, poses, mask)
    assert score_poses(trained, poses, partial).median() > 0.8 * whole.median()


def test_implausible_poses_score_higher_than_plausible_ones(trained):
    poses, mask = plane_poses(300, seed=2)
    others, _ = plane_poses(300, seed=3)
    chimeras = torch.cat([poses[:, :8], others[:, 8:]], dim=1)
    plausible, implausible = (score_poses(trained, p, mask) for p in (poses, chimeras))
    assert implausible.median() > 5 * plausible.median()


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([1.0, 2.0, 3.0], [10.0, 20.0, 30.0], 1.0),
        ([1.0, 2.0, 3.0], [9.0, 4.0, 1.0], -1.0),
        ([1.0, 2.0, 3.0, 4.0], [2.0, 1.0, 4.0, 3.0], 0.6),  # 1 - 6 * 4 / (4 * 15)
        ([1.0, 2.0, 2.0, 3.0], [1.0, 2.0, 3.0, 4.0], 0.9486833),  # 4.5 / sqrt(4.5 * 5)
        ([1.0, math.nan, 3.0, 5.0], [1.0, 7.0, 2.0, math.nan], 1.0),
    ],
)
def test_rank_stability_has_known_values(first, second, expected):
    result = rank_stability(torch.tensor(first), torch.tensor(second))
    assert result == pytest.approx(expected, abs=1e-6)


@given(
    pairs=st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=3, max_size=40
    ).filter(lambda pairs: all(len(set(column)) > 1 for column in zip(*pairs, strict=True)))
)
def test_rank_stability_is_spearmans_correlation_with_ties(pairs):
    first, second = torch.tensor(pairs, dtype=torch.float32).T
    expected = scipy.stats.spearmanr(first.numpy(), second.numpy()).statistic
    assert rank_stability(first, second) == pytest.approx(expected, abs=1e-9)


def test_rank_stability_needs_two_poses_scored_by_both():
    with pytest.raises(ValueError, match="two poses scored by both"):
        rank_stability(torch.tensor([1.0, math.nan]), torch.tensor([1.0, 2.0]))


def test_a_trained_model_tells_poses_from_corrupted_poses(trained):
    held_out = plane_poses(400, seed=9)
    generator = torch.Generator().manual_seed(0)
    assert corruption_auc(trained, *held_out, generator) > 0.8
    assert corruption_auc(new_model(seed=1), *held_out, generator) < 0.6


@pytest.mark.parametrize("num", [3, 10, 100])
def test_a_constant_score_tells_nothing(num):
    generator = torch.Generator().manual_seed(1)
    assert corruption_auc(Copier(), *body_poses(num), generator) == 0.5


def test_a_perfect_score_tells_everything():
    poses, mask = body_poses(100)
    for seed in range(5):  # a permutation may leave some poses as they are
        generator = torch.Generator().manual_seed(seed)
        assert corruption_auc(Recaller(poses), poses, mask, generator) == 1.0


def test_only_joints_that_both_poses_have_are_exchanged():
    poses, mask = body_poses(60)
    half = mask.clone()
    half[::2, 8:] = 0  # every other pose has eight joints
    poses = torch.where(half.unsqueeze(-1) > 0, poses, math.nan)
    poses_seen = poses.nan_to_num(1e4)  # an exchanged invisible joint would show

    class Bounded(Copier):
        def encode(self, poses, mask):
            assert (poses * mask.unsqueeze(-1)).abs().max() < 10
            return super().encode(poses, mask)

    assert corruption_auc(Bounded(), poses_seen, half, torch.Generator().manual_seed(0)) == 0.5


def test_corruption_is_repeatable(trained):
    case = plane_poses(100, seed=3)
    first, second = (
        corruption_auc(trained, *case, torch.Generator().manual_seed(1)) for _ in range(2)
    )
    assert first == second


def test_corruption_needs_poses_with_a_joint_to_move():
    poses, mask = body_poses(5)
    with pytest.raises(ValueError, match="a visible joint to move"):
        corruption_auc(Copier(), poses, torch.zeros_like(mask), torch.Generator().manual_seed(0))


def test_a_code_that_tells_poses_apart_is_not_collapsed(trained):
    found = information(trained, *plane_poses(200, seed=3))
    assert found.active_units >= 1
    assert found.kl_nats > 1
    assert not found.is_collapsed


def test_a_kl_weight_that_leaves_nothing_in_the_code_collapses_it():
    poses, mask = body_poses(256)
    model = new_model()
    fit(model, poses, mask, kl_weight=100.0, epochs=60)
    found = information(model, poses, mask)
    assert found.active_units == 0
    assert found.kl_nats < 0.01
    assert found.mean_pose_correlation > 0.99
    assert found.is_collapsed


@pytest.mark.parametrize(
    ("found", "is_collapsed"),
    [
        (Information(8, 20.0, 0.3), False),
        (Information(3, 0.08, 0.98), True),  # a KL weight of 1 on LSPET
        (Information(1, 0.74, 0.944), True),  # 0.03 on the rendered people
        (Information(2, 2.4, 0.84), False),  # 0.01 on the rendered people
        (Information(2, 0.4, 0.5), True),
        (Information(2, 5.0, math.nan), True),  # all scores are equal
    ],
)
def test_collapse_is_little_information_or_scores_that_are_a_distance(found, is_collapsed):
    assert found.is_collapsed is is_collapsed
    assert information_metrics(found)["vae/is_collapsed"] == is_collapsed
