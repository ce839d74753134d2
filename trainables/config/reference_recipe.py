"""Values of trial fields in the reference code, for ``parity: true``.

Sources: RegDA, ``examples/domain_adaptation/keypoint_detection/regda.py`` of the transfer
learning library (tllib); UDAPE, ``train_human.py`` of UDA_PoseEstimation. Optimisers, schedules,
heads and augmentations are not fields of a trial: see :mod:`trainables.adapt.optimisers` and
:mod:`trainables.adapt.methods`.

``parity`` restores the recipe, not the scale: ``net.*`` and ``data.*`` keep their values.

Differs from the references, with ``parity`` too:
- Images are padded to squares by this project's convention, not by tllib's ResizePad, which scales
  Leeds' coordinates as if they counted from 0 and from the corner of a pixel: at 256 px its
  keypoints lie 0.97 px further right and down (mean of 400 images of LSPET).
- Target labels neither weigh a loss nor choose a checkpoint. Adaptation starts from the last
  checkpoint of pre-training; RegDA takes the best on source test images, UDAPE on target ones.
- The batch norms of RegDA's features and main head see a target batch once per step, not twice.
- Warps rotate about pixel centres, are bilinear and move by fractions of a pixel; ``warp``
  compares in the stored image, not in the random crop that both views share, and leaves out what
  the student does not see. Occlusion moves a coordinate, not the image.
- Colours change in one fixed order (brightness, contrast, saturation) and are clamped once.
- RegDA's ground truth has its peak at the arg max, even if no logit is positive.
- LSP as a target is augmented like any other; UDAPE's styles are drawn from the whole split.
- Samples are drawn with replacement.
"""

from typing import Any

_ALL: dict[str, Any] = {"adapt.steps_per_epoch": 500, "adapt.batch_size": 32}

_BY_METHOD: dict[str, dict[str, Any]] = {
    "source_only": {"adapt.pretrain_epochs": 70, "adapt.epochs": 0, "adapt.loss": "mse"},
    "oracle": {"adapt.pretrain_epochs": 70, "adapt.epochs": 0, "adapt.loss": "mse"},
    "regda": {
        "adapt.pretrain_epochs": 70,
        "adapt.epochs": 30,
        "adapt.loss": "kl",
        "adapt.precision": "float32",
        "adapt.regda.margin": 4.0,
        "adapt.regda.tradeoff": 1.0,
        "adapt.regda.gradient_scale": 0.1,
    },
    "udape": {
        "adapt.pretrain_epochs": 40,
        "adapt.epochs": 30,
        "adapt.loss": "mse",
        "adapt.udape.ema_decay": 0.999,
        "adapt.udape.consistency": 1.0,
        "adapt.udape.keep": 0.5,
        "adapt.udape.mask": "batch",
        "adapt.udape.occlusion": 0.5,
        "adapt.udape.occlusion_confidence": 0.9,
        "adapt.udape.labels": "warp",
        "adapt.udape.style_source": 0.5,
        "adapt.udape.style_target": 0.5,
        "adapt.udape.style_alpha": 1.0,
    },
}


def has_reference(method: str) -> bool:
    """Whether ``parity`` has a recipe for an ``adapt.method``."""
    return method in _BY_METHOD


def reference_fields(method: str) -> dict[str, Any]:
    """Field path to the reference's value, for one ``adapt.method``.

    Example:
        >>> reference_fields("udape")["adapt.udape.ema_decay"]
        0.999
    """
    return {**_ALL, **_BY_METHOD.get(method, {})}
