"""UDAPE's step against the step read image by image, and what each setting does to it."""

import copy
import dataclasses

import pytest
import torch

from tests.reference import udape_per_image as loops
from trainables.adapt.losses import supervised_loss
from trainables.adapt.optimisers import default_recipe
from trainables.adapt.udape import UDAPE, UDAPESettings
from trainables.data.augment import between_views, warp_keypoints

IMAGE_SIZE = 32
SETTINGS = UDAPESettings(
    loss="kl", labels="coord", image_size=IMAGE_SIZE, ema_decay=0.9, consistency=0.3, keep=0.4,
    per_joint=False, occlusion=0.7, occlusion_confidence=0.0,
)  # fmt: skip
VARIANTS = [
    {},
    {"loss": "mse"},
    {"labels": "warp"},
    {"loss": "mse", "labels": "warp"},
    {"per_joint": True, "keep": 0.75},
]


@pytest.fixture
def make_udape(make_net):
    def make(**changes):
        settings = dataclasses.replace(SETTINGS, **changes)
        generator = torch.Generator().manual_seed(3)
        return UDAPE(make_net(0), settings, default_recipe(1e-2, 60), None, generator)

    return make


def obvious_step(student, teacher, source, target, settings, generator):
    """Losses of a step, and its gradients in the student, from loops over images and joints."""
    student, teacher = copy.deepcopy(student).train(), copy.deepcopy(teacher).train()
    with torch.no_grad():
        teacher_maps = teacher(target.teacher_images)
    is_coord = settings.labels == "coord"
    between = between_views(target.teacher_view, target.view)
    labels = (loops.labels_in_student_view if is_coord else loops.labels_in_stored_image)(
        teacher_maps, between if is_coord else target.teacher_view, IMAGE_SIZE, settings.keep,
        settings.per_joint, settings.loss,
    )  # fmt: skip
    in_view = labels
    if not is_coord:
        moved = warp_keypoints(labels.keypoints_px, target.view)
        in_view = dataclasses.replace(labels, keypoints_px=moved)
    images = loops.occlude(
        target.images, in_view, settings.occlusion, settings.occlusion_confidence, generator
    )
    supervised = supervised_loss(settings.loss)(
        student(source.images), source.maps, source.weights
    )
    maps = student(images)
    if not is_coord:
        maps, labels = loops.student_in_stored_image(
            maps, target.view, IMAGE_SIZE, labels, settings.loss
        )
    consistency = loops.consistency(maps, labels, settings.loss)
    (supervised + settings.consistency * consistency).backward()
    return supervised, consistency, [p.grad for p in student.parameters()]


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_a_step_has_the_losses_and_gradients_of_the_loops(
    make_udape, make_source, make_target, changes
):
    adapter = make_udape(**changes)
    for seed in range(3):  # so that teacher and student differ
        adapter.step(make_source(seed), make_target(10 + seed))
    source, target = make_source(7), make_target(17)
    generator = torch.Generator()
    generator.set_state(adapter.state_dict()["occlusion"])
    supervised, consistency, gradients = obvious_step(
        adapter._student, adapter.net, source, target, adapter._settings, generator
    )
    found = adapter.step(source, target)
    assert found[f"source_{adapter._settings.loss}"].item() == pytest.approx(
        supervised.item(), rel=1e-5
    )
    assert found["consistency"].item() == pytest.approx(consistency.item(), rel=1e-4)
    assert consistency > 0
    for parameter, expected in zip(adapter._student.parameters(), gradients, strict=True):
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("labels", ["coord", "warp"])
def test_occlusion_hides_the_joint_where_the_student_sees_it(
    make_udape, make_source, make_target, labels, monkeypatch
):
    seen = {}

    def recorded(images, found, *rest):
        seen["keypoints"] = found.keypoints_px
        return images

    monkeypatch.setattr("trainables.adapt.udape.occlude_confident_joints", recorded)
    adapter, target = make_udape(labels=labels), make_target()
    teacher = copy.deepcopy(adapter.net).train()
    adapter.step(make_source(), target)
    maps = teacher(target.teacher_images)
    for image, matrix in enumerate(between_views(target.teacher_view, target.view)):
        for joint in range(3):
            expected = matrix[:, :2] @ loops.decode(maps[image, joint], 2.0) + matrix[:, 2]
            # The teacher's view is the stored image here, so both ways find the same joints.
            torch.testing.assert_close(
                seen["keypoints"][image, joint], expected, atol=1e-3, rtol=0
            )


def test_the_teacher_follows_by_its_decay(make_udape, make_source, make_target):
    adapter = make_udape(ema_decay=0.75)
    before = [p.clone() for p in adapter.net.parameters()]
    adapter.step(make_source(), make_target())
    for teacher, student, start in zip(
        adapter.net.parameters(), adapter._student.parameters(), before, strict=True
    ):
        torch.testing.assert_close(teacher, 0.75 * start + 0.25 * student)
