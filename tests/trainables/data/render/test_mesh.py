"""Shapes, skinning and the fit of bones to joints."""

import numpy as np
import pytest
import torch

from trainables.data.render.body_prior import sample_body_poses
from trainables.data.render.body_turns import body_turns
from trainables.data.render.hand_prior import sample_hand_poses
from trainables.data.render.hand_turns import hand_turns
from trainables.data.render.mesh import load_mesh, pose_mesh
from trainables.data.skeleton import BODY16, HAND21

MESHES = pytest.mark.parametrize("name", ["body", "hand"])
LIMBS = [(2, 1), (1, 0), (3, 4), (4, 5), (12, 11), (11, 10), (13, 14), (14, 15)]


def still(mesh, num=1):
    """Turns of ``num`` figures at rest, their mean shape and no clothes."""
    turns = torch.eye(3).expand(num, len(mesh.bones), 3, 3)
    return torch.zeros(num, len(mesh.components)), turns, torch.zeros(num, len(mesh.mean))


@MESHES
def test_at_rest_a_mesh_is_its_mean(name):
    mesh = load_mesh(name)
    posed = pose_mesh(mesh, *still(mesh))
    torch.testing.assert_close(posed.vertices[0], mesh.mean, atol=1e-5, rtol=0)
    torch.testing.assert_close(posed.joints[0], mesh.joints @ mesh.point_mean)


@MESHES
def test_a_turn_of_every_bone_turns_the_whole_figure(name):
    mesh = load_mesh(name)
    shape, turns, bare = still(mesh)
    quarter = torch.tensor([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])
    posed = pose_mesh(mesh, shape, quarter.expand_as(turns), bare)
    root = mesh.point_mean[0]
    expected = (mesh.mean - root) @ quarter.T + root
    torch.testing.assert_close(posed.vertices[0], expected, atol=1e-5, rtol=0)


@MESHES
def test_bones_keep_their_lengths_in_any_pose(name):
    mesh = load_mesh(name)
    rng = np.random.default_rng(0)
    if name == "body":
        joints = torch.from_numpy(sample_body_poses(rng, np.ones(50), np.full(50, 3.0))).float()
        turns, bones = body_turns(mesh, joints, torch.zeros(50), torch.zeros(50, 2)), LIMBS
    else:
        joints = torch.from_numpy(sample_hand_poses(rng, np.ones(50), np.full(50, 3.0))).float()
        turns, bones = hand_turns(mesh, joints, torch.zeros(50)), HAND21.limbs
    torch.testing.assert_close(
        turns @ turns.transpose(-1, -2), torch.eye(3).expand_as(turns), atol=1e-5, rtol=0
    )
    assert (torch.linalg.det(turns) > 0).all()
    posed = pose_mesh(mesh, torch.zeros(50, 12), turns, torch.zeros(50, len(mesh.mean))).joints
    rest = mesh.joints @ mesh.point_mean
    for a, b in bones:
        length = (rest[a] - rest[b]).norm()
        torch.testing.assert_close(
            (posed[:, a] - posed[:, b]).norm(dim=1), length.expand(50), atol=1e-4, rtol=0
        )


def test_limbs_of_the_mesh_point_where_those_of_the_pose_do():
    mesh, num = load_mesh("body"), 200
    rng = np.random.default_rng(1)
    joints = torch.from_numpy(sample_body_poses(rng, rng.random(num), np.full(num, 1.5))).float()
    turns = body_turns(mesh, joints, torch.zeros(num), torch.zeros(num, 2))
    posed = pose_mesh(mesh, torch.zeros(num, 12), turns, torch.zeros(num, len(mesh.mean))).joints
    for a, b in LIMBS:
        wanted, got = joints[:, b] - joints[:, a], posed[:, b] - posed[:, a]
        cosine = torch.nn.functional.cosine_similarity(wanted, got)
        assert torch.rad2deg(torch.acos(cosine.clamp(-1, 1))).max() < 1.0


def test_fingers_of_the_mesh_point_where_those_of_the_pose_do():
    mesh, num = load_mesh("hand"), 200
    rng = np.random.default_rng(1)
    joints = torch.from_numpy(sample_hand_poses(rng, rng.random(num), np.full(num, 1.5))).float()
    turns = hand_turns(mesh, joints, torch.zeros(num))
    posed = pose_mesh(mesh, torch.zeros(num, 12), turns, torch.zeros(num, len(mesh.mean))).joints
    for a, b in HAND21.limbs:
        if a != 0:  # the palm is stiff: its knuckles do not spread as the prior's do
            wanted, got = joints[:, b] - joints[:, a], posed[:, b] - posed[:, a]
            cosine = torch.nn.functional.cosine_similarity(wanted, got)
            assert torch.rad2deg(torch.acos(cosine.clamp(-1, 1))).max() < 1.0


def test_raised_arms_lift_the_shoulders():
    mesh = load_mesh("body")
    rng = np.random.default_rng(0)
    joints = torch.from_numpy(sample_body_poses(rng, np.zeros(2), np.zeros(2)))
    for shoulder, elbow, wrist in ((12, 11, 10), (13, 14, 15)):
        for row, y in enumerate((0.3, -0.3)):  # hanging, raised: y points down
            joints[row, elbow] = joints[row, shoulder] + torch.tensor([0, y, -0.01])
            joints[row, wrist] = joints[row, elbow] + torch.tensor([0, y, -0.03])
    turns = body_turns(mesh, joints.float(), torch.zeros(2), torch.zeros(2, 2))
    posed = pose_mesh(mesh, torch.zeros(2, 12), turns, torch.zeros(2, len(mesh.mean))).joints
    below_neck = posed[:, [12, 13], 1] - posed[:, [8], 1]
    assert (below_neck[0] > 0.05).all()
    assert (below_neck[1] < below_neck[0] - 0.03).all()


def test_the_right_side_of_the_body_has_the_right_joints():
    mesh = load_mesh("body")
    rest = mesh.joints @ mesh.point_mean
    for joint, other in enumerate(BODY16.mirror):
        expected = rest[other] * torch.tensor([-1.0, 1.0, 1.0])
        torch.testing.assert_close(rest[joint], expected, atol=2e-3, rtol=0)
    right = [i for i, name in enumerate(BODY16.joint_names) if name.startswith("right")]
    assert (rest[right, 0] < -0.1).all()  # it faces the camera
    toes = mesh.mean[mesh.regions[:, 1] > 2.8]
    assert (toes[:, 2] < rest[[0, 5], 2].min()).all()


def test_an_adult_has_the_size_of_an_adult():
    mesh = load_mesh("body")
    shape = torch.randn(500, 12, generator=torch.Generator().manual_seed(0))
    _, turns, bare = still(mesh, 500)
    height = pose_mesh(mesh, shape, turns, bare).vertices[..., 1]
    height = height.amax(1) - height.amin(1)
    assert 1.6 < height.median() < 1.85
    assert height.quantile(0.01) > 1.3
    assert height.quantile(0.99) < 2.3
