"""UDAPE: a mean teacher for pose estimation with style transfer (Kim et al. 2022).

Each step trains the student on labelled source images, some in the style of the target, and on
target images with pseudo-labels of the teacher, whose parameters are the exponential moving
average of the student's:

    loss = L(student(S2T(x_s)), labels) + consistency * C(student(occlude(view 1)), labels of
           teacher(T2S(view 2)))

The two views of a target image are warped and recoloured independently. L is ``adapt.loss``; C
is the same loss over the trusted pseudo-labels, for ``mse`` without L's factor 0.5.

``coord`` moves the teacher's keypoints into the student's view to compare the two views; ``warp``
resamples the maps of both into the stored image and compares them there.

Differs from the reference, also with ``parity``: maps are resampled once instead of three times
and rotated about pixel centres; occlusion moves a coordinate instead of warping the image twice.
By default also: spatial KL instead of heatmap MSE; the teacher's decay suits short trainings;
two random crops instead of one with two affine warps.
"""

from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor

from trainables.adapt.adapter import SourceBatch, TargetBatch
from trainables.adapt.losses import heatmap_mse, spatial_kl, supervised_loss
from trainables.adapt.occlusion import occlude_confident_joints
from trainables.adapt.optimisers import Recipe
from trainables.adapt.pseudo_labels import (
    PseudoLabels,
    compare_in_stored,
    pseudo_labels,
    warped_pseudo_labels,
)
from trainables.adapt.restyle import Restyler
from trainables.adapt.teacher import ExponentialMovingAverage
from trainables.data.augment import between_views, warp_keypoints
from trainables.distributed.shard import WHOLE, Shard
from trainables.network.pose_net import PoseNet


@dataclass(frozen=True)
class UDAPESettings:
    """Settings of UDAPE's losses and pseudo-labels.

    Attributes:
        loss: ``kl`` or ``mse``.
        labels: ``coord`` or ``warp``.
        image_size: Side of the images in pixels.
        ema_decay: Decay of the teacher's exponential moving average, per step.
        consistency: Weight of the target loss.
        keep: Fraction of pseudo-labels to learn from.
        per_joint: Whether each joint keeps its own fraction.
        occlusion: Probability that one confident joint of an image is hidden.
        occlusion_confidence: Lowest confidence of a joint that may be hidden.
    """

    loss: str
    labels: str
    image_size: int
    ema_decay: float
    consistency: float
    keep: float
    per_joint: bool
    occlusion: float
    occlusion_confidence: float


class UDAPE:
    """Mean teacher with confident pseudo-labels, adaptive occlusion and style transfer.

    Args:
        student: Pre-trained network, trained in place.
        settings: Settings of losses and pseudo-labels.
        recipe: Optimiser and learning rates.
        restyler: Style transfer; None leaves all images as they are.
        generator: CPU generator of the occlusions.
        first_step: Index of the first step for the recipe.
        shard: Part of each batch that this process trains on.
    """

    needs_target = True
    needs_teacher_view = True

    def __init__(
        self,
        student: PoseNet,
        settings: UDAPESettings,
        recipe: Recipe,
        restyler: Restyler | None,
        generator: torch.Generator,
        first_step: int = 0,
        shard: Shard = WHOLE,
    ) -> None:
        self._student = student
        self._settings = settings
        self._recipe = recipe
        self._restyler = restyler
        self._generator = generator
        self._step = first_step
        self._shard = shard
        self.optimizer = recipe.optimizer(
            {
                "backbone": student.backbone.parameters(),
                "upsampling": student.upsampling.parameters(),
                "head": student.head.parameters(),
            }
        )
        self.net = student.frozen_copy()
        self._teacher = ExponentialMovingAverage(self.net, student)

    def step(self, source: SourceBatch, target: TargetBatch | None) -> dict[str, Tensor]:
        """One student step and one teacher update."""
        if target is None or target.teacher_images is None or target.teacher_view is None:
            raise ValueError("UDAPE needs a target batch with a teacher view")
        settings = self._settings
        self._student.train()
        self.net.train()
        source_images, teacher_images = source.images, target.teacher_images
        if self._restyler is not None:
            source_images = self._restyler.source(source)
            teacher_images = self._restyler.teacher(target)
        with torch.no_grad():
            labels = self._labels(self.net(teacher_images), target)
            images = self._occlude(target, labels)
        self._recipe.set_rates(self._step, self.optimizer)
        supervised = supervised_loss(settings.loss)(
            self._student(source_images), source.maps, source.weights
        )
        consistency = self._consistency(self._student(images), labels, target.view)
        self.optimizer.zero_grad()
        loss = supervised + settings.consistency * consistency
        loss.backward()
        self.optimizer.step()
        self._teacher.update(settings.ema_decay)
        self._step += 1
        return {
            f"source_{settings.loss}": supervised.detach(),
            "consistency": consistency.detach(),
            "confidence": labels.confidence.mean(),
        }

    def _labels(self, teacher_maps: Tensor, target: TargetBatch) -> PseudoLabels:
        """Pseudo-labels in the student's view (``coord``) or in the stored image (``warp``)."""
        settings, view = self._settings, cast(Tensor, target.teacher_view)
        is_coord = settings.labels == "coord"
        return (pseudo_labels if is_coord else warped_pseudo_labels)(
            teacher_maps,
            between_views(view, target.view) if is_coord else view,
            settings.image_size,
            settings.keep,
            settings.per_joint,
            settings.loss,
        )

    def _occlude(self, target: TargetBatch, labels: PseudoLabels) -> Tensor:
        settings = self._settings
        if settings.labels == "warp":
            moved = warp_keypoints(labels.keypoints_px, target.view)
            labels = replace(labels, keypoints_px=moved)
        return occlude_confident_joints(
            target.images,
            labels,
            settings.occlusion,
            settings.occlusion_confidence,
            self._generator,
            self._shard,
        )

    def _consistency(self, student_maps: Tensor, labels: PseudoLabels, view: Tensor) -> Tensor:
        loss = self._settings.loss
        if self._settings.labels == "warp":
            size = self._settings.image_size
            student_maps, labels = compare_in_stored(student_maps, view, size, labels, loss)
        if loss == "mse":
            return 2 * heatmap_mse(student_maps, labels.maps, labels.weights)
        return spatial_kl(student_maps, labels.maps, labels.weights)

    @torch.no_grad()
    def auxiliary_logits(self, images: Tensor) -> Tensor:
        """Maps of the student, in evaluation mode."""
        self._student.eval()
        return cast(Tensor, self._student(images))

    def state_dict(self) -> dict[str, Any]:
        """Student, teacher, optimiser, step, random stream of the occlusions."""
        return {
            "student": self._student.state_dict(),
            "teacher": self.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self._step,
            "occlusion": self._generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self._student.load_state_dict(state["student"])
        self.net.load_state_dict(state["teacher"])
        self.optimizer.load_state_dict(state["optimizer"])
        self._step = state["step"]
        self._generator.set_state(state["occlusion"])
