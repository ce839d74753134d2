"""UDAPE: a mean teacher for pose estimation (Kim et al. 2022), without its style transfer.

Each step trains the student on labelled source images and on target images labelled by the
teacher, whose parameters follow the student's as an exponential moving average:

    loss = KL(student(source), labels) + consistency * KL(student(view 1), teacher(view 2))

The two views of a target image are warped and recoloured independently; the teacher's labels
are moved from one to the other as coordinates (:mod:`trainables.adapt.pseudo_labels`).

Differs from the reference: spatial KL instead of heatmap MSE, as everywhere here; the teacher's
decay suits short trainings; style transfer between the domains is left out.
"""

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from trainables.adapt.adapter import (
    LearningRate,
    SourceBatch,
    TargetBatch,
    adam,
    set_learning_rate,
)
from trainables.adapt.losses import spatial_kl
from trainables.adapt.pose_net import PoseNet
from trainables.adapt.pseudo_labels import occlude_confident_joints, pseudo_labels


@dataclass(frozen=True)
class UDAPESettings:
    """What weighs UDAPE's terms.

    Attributes:
        ema_decay: Share of the teacher that stays each step.
        consistency: Weight of the target loss.
        keep: Fraction of pseudo-labels to learn from.
        per_joint: Whether each joint keeps its own fraction.
        occlusion: Chance that an image loses one confident joint.
        occlusion_confidence: Confidence from which a joint may be hidden.
    """

    ema_decay: float
    consistency: float
    keep: float
    per_joint: bool
    occlusion: float
    occlusion_confidence: float


@torch.no_grad()
def update_teacher(teacher: nn.Module, student: nn.Module, decay: float) -> None:
    """Teacher <- decay * teacher + (1 - decay) * student, on parameters alone.

    Buffers are left: the teacher's batch norms see target images only and keep their own
    statistics, as in the reference.
    """
    torch._foreach_lerp_(list(teacher.parameters()), list(student.parameters()), 1 - decay)


class UDAPE:
    """Mean teacher with confident pseudo-labels and adaptive occlusion.

    Args:
        student: Pre-trained network, trained in place.
        settings: Weights of the terms.
        image_size: Side of the images in pixels.
        learning_rate: Schedule over the whole training.
        generator: CPU generator of the occlusions.
        first_step: Index of the first step within the whole training.
    """

    needs_target = True
    needs_teacher_view = True

    def __init__(
        self,
        student: PoseNet,
        settings: UDAPESettings,
        image_size: int,
        learning_rate: LearningRate,
        generator: torch.Generator,
        first_step: int = 0,
    ) -> None:
        self._student = student
        self._settings = settings
        self._image_size = image_size
        self._learning_rate = learning_rate
        self._step = first_step
        self._generator = generator
        self._optimizer = adam(student.parameters())
        self.net = deepcopy(student).requires_grad_(False)

    def step(self, source: SourceBatch, target: TargetBatch | None) -> dict[str, Tensor]:
        """One student step and one teacher update."""
        if target is None or target.teacher_images is None or target.teacher_to_student is None:
            raise ValueError("UDAPE needs a target batch with a teacher view")
        settings = self._settings
        self._student.train()
        self.net.train()
        with torch.no_grad():
            labels = pseudo_labels(
                self.net(target.teacher_images),
                target.teacher_to_student,
                self._image_size,
                settings.keep,
                settings.per_joint,
            )
            images = occlude_confident_joints(
                target.images,
                labels,
                settings.occlusion,
                settings.occlusion_confidence,
                self._generator,
            )
        set_learning_rate(self._learning_rate.at(self._step), self._optimizer)
        source_kl = spatial_kl(self._student(source.images), source.maps, source.weights)
        consistency = spatial_kl(self._student(images), labels.maps, labels.weights)
        self._optimizer.zero_grad()
        loss = source_kl + settings.consistency * consistency
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        update_teacher(self.net, self._student, settings.ema_decay)
        self._step += 1
        return {
            "source_kl": source_kl.detach(),
            "consistency": consistency.detach(),
            "confidence": labels.confidence.mean(),
        }

    def state_dict(self) -> dict[str, Any]:
        """Student, teacher, optimiser, step, random stream."""
        return {
            "student": self._student.state_dict(),
            "teacher": self.net.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "step": self._step,
            "occlusion": self._generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self._student.load_state_dict(state["student"])
        self.net.load_state_dict(state["teacher"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._step = state["step"]
        self._generator.set_state(state["occlusion"])
