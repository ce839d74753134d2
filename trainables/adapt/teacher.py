"""The exponential mean of a student's parameters, which a mean teacher has for its own."""

import torch
from torch import Tensor, nn


class ExponentialMean:
    """Keeps a teacher's parameters at the exponential mean of a student's.

    After n updates from theta_0 with a student at rest at s,
    theta_n = s + decay^n (theta_0 - s); the half-life at UDAPE's decay 0.999 is 693 updates.

    All parameters change in one ``foreach`` call, one kernel launch or a few on a GPU. The lists
    are gathered once, which in small networks takes longer than the update. They hold the
    parameters themselves, so that loading a state, ``.to()`` and optimisers are seen; a module
    that gets other parameter objects needs another mean.

    Buffers are left: the teacher's batch norms see target images only and keep their own
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
            decay: Share of the teacher that stays, in [0, 1].
        """
        torch._foreach_lerp_(self._teacher, self._student, 1 - decay)
