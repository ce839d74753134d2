"""The exponential mean of parameters: closed form, the loop, what it leaves alone."""

from copy import deepcopy

import pytest
import torch
from torch import nn

from tests.reference.udape_per_image import update_teacher_by_parameter
from trainables.adapt.teacher import ExponentialMovingAverage


def make_net(seed, width=4):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.Linear(5, 2))


def test_after_n_updates_the_distance_to_a_student_at_rest_is_decay_to_the_n():
    teacher, student = make_net(0), make_net(1)
    start = deepcopy(teacher)
    mean = ExponentialMovingAverage(teacher, student)
    for _ in range(7):
        mean.update(0.9)
    for ours, first, theirs in zip(
        teacher.parameters(), start.parameters(), student.parameters(), strict=True
    ):
        torch.testing.assert_close(ours, theirs + 0.9**7 * (first - theirs))


def test_a_moving_student_counts_by_its_age():
    # 0 -> 0.5 * 0 + 0.5 * 1 = 0.5 -> 0.25 + 0.5 * 2 = 1.25 -> 0.625 + 0.5 * 3 = 2.125
    teacher, student = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    nn.init.zeros_(teacher.weight)
    mean = ExponentialMovingAverage(teacher, student)
    for value in (1.0, 2.0, 3.0):
        nn.init.constant_(student.weight, value)
        mean.update(0.5)
    assert teacher.weight.item() == 2.125


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.98, 0.999, 1.0])
def test_it_is_the_loop_over_parameters(decay):
    teacher, student = make_net(0), make_net(1)
    by_lerp, by_product = deepcopy(teacher), deepcopy(teacher)
    mean = ExponentialMovingAverage(teacher, student)
    for _ in range(5):
        mean.update(decay)
        update_teacher_by_parameter(by_product, student, decay)
        with torch.no_grad():
            for ours, theirs in zip(by_lerp.parameters(), student.parameters(), strict=True):
                ours.lerp_(theirs, 1 - decay)
    for ours, same, close in zip(
        teacher.parameters(), by_lerp.parameters(), by_product.parameters(), strict=True
    ):
        assert torch.equal(ours, same)
        torch.testing.assert_close(ours, close, atol=1e-6, rtol=1e-5)


def test_the_student_and_all_buffers_are_left():
    teacher, student = make_net(0), make_net(1)
    student[1].running_mean.fill_(9.0)
    student[1].num_batches_tracked.fill_(7)
    buffers = deepcopy(dict(teacher.named_buffers()))
    before = deepcopy(student.state_dict())
    ExponentialMovingAverage(teacher, student).update(0.5)
    for name, value in teacher.named_buffers():
        assert torch.equal(value, buffers[name])
    for name, value in student.state_dict().items():
        assert torch.equal(value, before[name])


def test_a_state_loaded_later_and_another_memory_format_are_seen():
    teacher, student = make_net(0), make_net(1)
    mean = ExponentialMovingAverage(teacher, student)
    teacher.load_state_dict(make_net(2).state_dict())
    student.to(memory_format=torch.channels_last)
    student.load_state_dict(make_net(3).state_dict())
    mean.update(0.0)
    for ours, theirs in zip(teacher.parameters(), make_net(3).parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_teacher_without_gradients_has_none_after_an_update():
    teacher, student = make_net(0).requires_grad_(False), make_net(1)
    ExponentialMovingAverage(teacher, student).update(0.9)
    assert not any(parameter.requires_grad for parameter in teacher.parameters())


def test_networks_that_differ_are_refused():
    with pytest.raises(ValueError, match=r"but 0.weight is \(4, 3, 3, 3\) and \(5, 3, 3, 3\)"):
        ExponentialMovingAverage(make_net(0), make_net(0, width=5))
    with pytest.raises(ValueError, match=r"but 1.weight is None and \(4,\)"):
        ExponentialMovingAverage(make_net(0)[:1], make_net(0))
