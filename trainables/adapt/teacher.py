"""The exponential moving average of a student's parameters, which forms a mean teacher."""

import torch
from torch import Tensor, nn


class ExponentialMovingAverage:
    """Updates a teacher's parameters to the exponential moving average of a student's.

    After n updates from theta_0 with a constant student s,
    theta_n = s + decay^n (theta_0 - s); the half-life at UDAPE's decay 0.999 is 693 updates.

    One ``foreach`` call updates all parameters, with one or a few kernel launches on a GPU. The
    parameter lists are gathered once, since in small networks that takes longer than the update.
    They hold the parameter objects, so loading a state, ``.to()`` and optimiser steps take effect;
    a module whose parameter objects are replaced needs a new average.

    Buffers are not averaged: the teacher's batch norms see target images only and keep their own
    statistics, as in the reference.

    Args:
        teacher: Changed in place.
        student: Of the same architecture.

    Raises:
        ValueError: If the parameters of the two differ in names or shapes.
    """

    def __init__(self, teacher: nn.Module, student: nn.Module) -> None:
        ours, theirs = (
            {name: tuple(parameter.shape) for name, parameter in module.named_parameters()}
            for module in (teacher, student)
        )
        if ours != theirs:
            name = next(n for n in [*ours, *theirs] if ours.get(n) != theirs.get(n))
            raise ValueError(
                f"teacher and student must have the same parameters, but {name} is "
                f"{ours.get(name)} and {theirs.get(name)}"
            )
        self._teacher: list[Tensor] = list(teacher.parameters())
        self._student: list[Tensor] = list(student.parameters())

    @torch.no_grad()
    def update(self, decay: float) -> None:
        """Teacher <- decay * teacher + (1 - decay) * student.

        Args:
            decay: Weight of the teacher's own parameters, in [0, 1].
        """
        torch._foreach_lerp_(self._teacher, self._student, 1 - decay)
