"""Speed of UDAPE's target side and teacher update against the loops of the paper.

All ways take the same steps from the same numbers in turns, on one thread, at 32 images and 16
joints: images of 256 pixels with maps of 64 x 64 cells as in the reference, and 64 pixels with
32 x 32 cells as by default here. The target side is what lies between the networks: from the
teacher's maps to labels, occlusion, the consistency loss and its gradient at the student's maps.
The loops warp all joints of an image at once, as the reference code does. On a CPU, maps of
64 x 64 cells are bound by memory, so their times depend on the allocator and on what else runs.
Prints one line of JSON for each comparison; asserts that the results agree and no time.
"""

import json
import time
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.reference import udape_per_image
from tests.reference.teacher_views import random_maps, random_views
from trainables.adapt.losses import heatmap_mse, spatial_kl
from trainables.adapt.occlusion import occlude_confident_joints
from trainables.adapt.pseudo_labels import (
    compare_in_stored,
    pseudo_labels,
    warped_pseudo_labels,
)
from trainables.adapt.teacher import ExponentialMovingAverage
from trainables.data.augment import between_views, warp_keypoints
from trainables.network.pose_net import PoseNet

REPEATS = 25
WARMUP = 3
BATCH, NUM_JOINTS = 32, 16
KEEP, OCCLUSION, THRESHOLD = 0.5, 0.5, 0.9


def batched_consistency(maps, labels, loss):
    if loss == "mse":
        return 2 * heatmap_mse(maps, labels.maps, labels.weights)
    return spatial_kl(maps, labels.maps, labels.weights)


BATCHED = {
    "coord": pseudo_labels,
    "warp": warped_pseudo_labels,
    "compare": compare_in_stored,
    "occlude": occlude_confident_joints,
    "consistency": batched_consistency,
}
LOOPS = {
    "coord": udape_per_image.labels_in_student_view,
    "warp": udape_per_image.labels_in_stored_image,
    "compare": udape_per_image.student_in_stored_image,
    "occlude": udape_per_image.occlude,
    "consistency": udape_per_image.consistency,
}


class TargetSide:
    """One step from the teacher's maps to a gradient; networks are functions of images."""

    def __init__(self, size, image_size, mode, loss, teacher, student):
        self.image_size, self.mode, self.loss = image_size, mode, loss
        self.teacher, self.student = teacher, student
        generator = torch.Generator().manual_seed(0)
        self.images = channels_last(
            torch.randn((BATCH, 3, image_size, image_size), generator=generator)
        )
        self.teacher_view, self.student_view = (
            random_views(BATCH, image_size, seed) for seed in (0, 1)
        )

    def step(self, way):
        """The consistency loss, after its backward pass."""
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            teacher_maps = self.teacher(self.images)
        labels = in_view = way[self.mode](
            teacher_maps,
            between_views(self.teacher_view, self.student_view)
            if self.mode == "coord"
            else self.teacher_view,
            self.image_size,
            KEEP,
            False,
            self.loss,
        )
        if self.mode == "warp":
            moved = warp_keypoints(labels.keypoints_px, self.student_view)
            in_view = replace(labels, keypoints_px=moved)
        images = way["occlude"](self.images, in_view, OCCLUSION, THRESHOLD, generator)
        maps = self.student(images)
        if self.mode == "warp":
            maps, labels = way["compare"](
                maps, self.student_view, self.image_size, labels, self.loss
            )
        consistency = way["consistency"](maps, labels, self.loss)
        consistency.backward()
        return consistency.detach()


def channels_last(tensor):
    return tensor.contiguous(memory_format=torch.channels_last)


def on_one_thread(measure):
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return measure()
    finally:
        torch.set_num_threads(num_threads)


def times_ms(ways, reset=lambda: None):
    """Milliseconds (repeats, ways) of the ways in turns, after a warm-up."""

    def timed_ms(way):
        reset()
        start = time.perf_counter()
        way()
        return 1000 * (time.perf_counter() - start)

    for way in ways * WARMUP:
        way()
    return np.array([[timed_ms(way) for way in ways] for _ in range(REPEATS)])


def report(name, times, names, **facts):
    """Print the times (repeats, ways) of named ways and the ratios of the last to each other."""
    line = {"benchmark": name, **facts}
    for column, way in enumerate(names[:-1]):
        ratios = times[:, -1] / times[:, column]
        suffix = "" if column == 0 else f"_{way}"
        line[f"ratio_median{suffix}"] = round(float(np.median(ratios)), 2)
        line[f"ratio_iqr{suffix}"] = [round(float(q), 2) for q in np.percentile(ratios, [25, 75])]
    for column, way in enumerate(names):
        line[f"{way}_ms"] = round(float(np.median(times[:, column])), 3)
    print(json.dumps(line | {"torch": torch.__version__, "threads": 1}))


@pytest.mark.benchmark
@pytest.mark.parametrize(("size", "image_size"), [(64, 256), (32, 64)])
@pytest.mark.parametrize("mode", ["coord", "warp"])
@pytest.mark.parametrize("loss", ["kl", "mse"])
def test_the_target_side_against_loops_over_images_and_joints(size, image_size, mode, loss):
    # The networks' outputs have their inputs' memory format.
    teacher_maps = channels_last(random_maps(BATCH, NUM_JOINTS, size, 0, loss))
    student_maps = channels_last(random_maps(BATCH, NUM_JOINTS, size, 1, loss))
    student_maps.requires_grad_()
    side = TargetSide(size, image_size, mode, loss, lambda _: teacher_maps, lambda _: student_maps)

    def reset():
        student_maps.grad = None

    results = []
    for way in (BATCHED, LOOPS):
        reset()
        results.append((side.step(way), student_maps.grad))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-3)
    times = on_one_thread(
        lambda: times_ms([lambda: side.step(BATCHED), lambda: side.step(LOOPS)], reset)
    )
    report(
        "udape_target_side", times, ["batched", "loops"],
        labels=mode, loss=loss, image_size=image_size, heatmap_size=size,
    )  # fmt: skip


@pytest.mark.benchmark
@pytest.mark.parametrize("mode", ["coord", "warp"])
def test_the_target_step_with_networks(mode):
    image_size, size = 64, 32
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        student = PoseNet(NUM_JOINTS, 10, 16, image_size, size)
    student = student.to(memory_format=torch.channels_last)
    teacher = deepcopy(student).requires_grad_(False)
    side = TargetSide(size, image_size, mode, "kl", teacher, student)
    mean = ExponentialMovingAverage(teacher, student)

    def step(way, update):
        student.zero_grad()
        side.step(way)
        update()

    times = on_one_thread(
        lambda: times_ms(
            [
                lambda: step(BATCHED, lambda: mean.update(0.999)),
                lambda: step(
                    LOOPS,
                    lambda: udape_per_image.update_teacher_by_parameter(teacher, student, 0.999),
                ),
            ]
        )
    )
    report(
        "udape_target_step_with_networks", times, ["batched", "loops"],
        labels=mode, loss="kl", image_size=image_size, heatmap_size=size, depth=10, width=16,
    )  # fmt: skip


def flattened(net):
    """One buffer that the parameters of the net become views of."""
    parameters = list(net.parameters())
    buffer, offset = torch.empty(sum(p.numel() for p in parameters)), 0
    for parameter in parameters:
        view = buffer.as_strided(parameter.shape, parameter.stride(), offset)
        parameter.data = view.copy_(parameter.data)
        offset += parameter.numel()
    return buffer


@torch.no_grad()
def update_on_new_lists(teacher, student, decay):
    torch._foreach_lerp_(list(teacher.parameters()), list(student.parameters()), 1 - decay)


@torch.no_grad()
def update_by_lerp_loop(teacher, student, decay):
    for ours, theirs in zip(teacher.parameters(), student.parameters(), strict=True):
        ours.lerp_(theirs, 1 - decay)


@pytest.mark.benchmark
@pytest.mark.parametrize(("depth", "width"), [(10, 16), (50, 16), (10, 64), (50, 64)])
def test_the_teacher_update_against_a_loop_over_parameters(depth, width):
    """Large networks are bound by memory: 3 passes against the loop's 7 allow a ratio of 2.3."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        student = PoseNet(NUM_JOINTS, depth, width, 64, 32)
    student = student.to(memory_format=torch.channels_last)
    start = deepcopy(student).requires_grad_(False)
    with torch.no_grad():
        for parameter in start.parameters():
            parameter.add_(0.1)
    teachers = [deepcopy(start) for _ in range(5)]
    mean = ExponentialMovingAverage(teachers[0], student)
    flat_teacher, flat_student = flattened(teachers[2]), flattened(deepcopy(student))
    ways = {
        "exponential_mean": lambda: mean.update(0.999),
        "foreach_on_new_lists": lambda: update_on_new_lists(teachers[1], student, 0.999),
        "flat_buffer": lambda: flat_teacher.lerp_(flat_student, 1 - 0.999),
        "lerp_loop": lambda: update_by_lerp_loop(teachers[3], student, 0.999),
        "loop": lambda: udape_per_image.update_teacher_by_parameter(teachers[4], student, 0.999),
    }
    times = on_one_thread(lambda: times_ms(list(ways.values())))
    for first, *others in zip(*(teacher.parameters() for teacher in teachers), strict=True):
        assert all(torch.equal(first, other) for other in others[:-1])
        torch.testing.assert_close(first, others[-1], atol=1e-5, rtol=1e-4)
    size = sum(parameter.numel() for parameter in student.parameters())
    report(
        "udape_teacher_update", times, list(ways), depth=depth, width=width,
        parameters=size, tensors=len(list(student.parameters())),
    )  # fmt: skip
