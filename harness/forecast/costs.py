"""What a study's trials cost, from what was measured of a few configurations.

Constants of the harness itself (start, reports, databases) were measured with whole studies, see
``tests/benchmarks/test_plan_accuracy.py``.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any

from trainables.config import TrialConfig
from trainables.cost.measurement import Measurement

POSE_VAE_REPORTS = 5
"""Reports of a ``pose_vae`` trial, as in its trainable."""

_COUNTS = frozenset({
    "adapt.pretrain_epochs", "adapt.epochs", "adapt.steps_per_epoch", "data.num_source",
    "data.num_target", "style.encoder_steps", "style.steps", "vae.epochs",
})  # fmt: skip
"""Fields that cost in proportion to their value."""

_FREE = ("sampling.", "curriculum.", "bins.", "evaluation.", "adapt.regda.", "adapt.udape.")
_FREE_FIELDS = frozenset({
    "seed", "adapt.lr", "vae.kl_weight", "vae.latent_dim", "vae.norm", "style.style_weight",
    "net.weights",
})  # fmt: skip
"""Fields, and sections of them, that say what is computed but not how much."""

_DEFAULTS = TrialConfig().to_flat()


@dataclass(frozen=True)
class TrialCost:
    """What one trial takes; seconds and bytes.

    Attributes:
        steps_s: Training, evaluation and checkpoint of each report.
        setup_s: Start, once all stages are there.
        shared: Stage that other trials may share to the seconds that the first needs for it;
            in the order in which a trial asks for them. What the storage has takes 0.
        disk: Name of a stage to its size; of those that the storage has not.
        checkpoint_bytes: One checkpoint.
        memory_bytes: Resident memory of its process.
        mapped_bytes: Images that all trials map to the same memory.
        is_baseline: Whether it is never stopped early.
        is_measured: Whether its configuration was, and not a similar one only.
    """

    steps_s: tuple[float, ...]
    setup_s: float = 0.0
    shared: Mapping[str, float] = field(default_factory=dict)
    disk: Mapping[str, int] = field(default_factory=dict)
    checkpoint_bytes: int = 0
    memory_bytes: int = 0
    mapped_bytes: int = 0
    is_baseline: bool = False
    is_measured: bool = True


def cost_key(fields: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """What decides how long a step takes; equal for configurations that cost the same.

    Args:
        fields: Flat fields of a trial.
    """
    flat = {**_DEFAULTS, **fields}
    kept = {name: value for name, value in flat.items() if not _is_free(name)}
    if flat["adapt.method"] == "udape":
        kept["style"] = _restyles(flat)
        kept["adapt.udape.labels"] = flat["adapt.udape.labels"]
    else:
        kept = {name: value for name, value in kept.items() if not name.startswith("style.")}
    return tuple(sorted((name, json.dumps(value)) for name, value in kept.items()))


def similarity(
    first: tuple[tuple[str, str], ...], second: tuple[tuple[str, str], ...]
) -> tuple[bool, int]:
    """How alike two keys are, for ordering: the method first, then the number of equal parts."""
    one, other = dict(first), dict(second)
    equal = sum(one.get(name) == value for name, value in other.items())
    return one["adapt.method"] == other["adapt.method"], equal


def trial_cost(
    trainable: str, fields: Mapping[str, Any], measurements: Sequence[Measurement], vae: str
) -> TrialCost:
    """Cost of a trial by the medians of what was measured of its configuration.

    Args:
        trainable: ``adaptation`` or ``pose_vae``.
        fields: Flat fields of the trial.
        measurements: Of this configuration or a similar one.
        vae: Name of its Pose VAE among the shared stages; empty if the storage has it.
    """
    flat = {**_DEFAULTS, **fields}
    first = measurements[0]
    shared = {f"images/{role}": _median(m.images_s[role] for m in measurements)
              for role in first.images_s}  # fmt: skip
    disk = {f"images/{role}": size for role, size in first.images_bytes.items()}
    cost = TrialCost(
        (),
        memory_bytes=max(m.peak_bytes for m in measurements),
        mapped_bytes=sum(first.images_bytes.values()),
    )
    vae_epoch_s = _median(m.vae_epoch_s for m in measurements)
    if trainable == "pose_vae":
        reports = min(POSE_VAE_REPORTS, flat["vae.epochs"])
        report_s = _median(s for m in measurements for s in m.evaluation_s)
        step_s = 2 * flat["vae.epochs"] / reports * vae_epoch_s + report_s
        cost = replace(cost, steps_s=(step_s,) * reports)
    else:
        if vae:
            shared[vae] = flat["vae.epochs"] * vae_epoch_s
            disk[vae] = first.vae_bytes
        reference_s = _median(m.reference_vae_epoch_s for m in measurements)
        shared["pose_vae/reference"] = _DEFAULTS["vae.epochs"] * reference_s
        disk["pose_vae/reference"] = first.vae_bytes
        if "style" in first.stages:
            encoder_steps = 0 if flat["style.encoder"] else flat["style.encoder_steps"]
            shared["style"] = (
                _median(m.style_fixed_s for m in measurements)
                + encoder_steps * _median(m.style_encoder_step_s for m in measurements)
                + flat["style.steps"] * _median(m.style_step_s for m in measurements)
            )
            disk["style"] = first.style_bytes
        cost = replace(
            cost,
            steps_s=_epochs(flat, measurements),
            setup_s=_median(m.setup_s for m in measurements),
            checkpoint_bytes=first.checkpoint_bytes,
        )
    stored = {name for name, is_there in first.stages.items() if is_there}
    return replace(
        cost,
        shared={name: 0.0 if name in stored else seconds for name, seconds in shared.items()},
        disk={name: size for name, size in disk.items() if name not in stored},
    )


def noise_of(measurements: Sequence[Measurement]) -> float:
    """Largest relative deviation of a repeat from the median of its kind."""
    kinds = ("pretrain_step_s", "adapt_step_s", "evaluation_s")
    deviations = [0.0]
    for kind in kinds:
        values = [value for m in measurements for value in getattr(m, kind)]
        if values and (middle := median(values)) > 0:
            spread = (max(values) - min(values)) / 2
            deviations.append(spread / middle / len(values) ** 0.5)
    return max(deviations)


def _epochs(flat: Mapping[str, Any], measurements: Sequence[Measurement]) -> tuple[float, ...]:
    """Seconds of each epoch of both phases."""
    after_s = _median(s for m in measurements for s in m.evaluation_s)
    after_s += _median(m.checkpoint_s for m in measurements)
    steps = flat["adapt.steps_per_epoch"]
    pretrain_s = steps * _median(s for m in measurements for s in m.pretrain_step_s) + after_s
    adapt_s = steps * _median(s for m in measurements for s in m.adapt_step_s) + after_s
    epochs = [pretrain_s] * flat["adapt.pretrain_epochs"] + [adapt_s] * flat["adapt.epochs"]
    epochs[-1] += _median(m.final_s for m in measurements)
    return tuple(epochs)


def _median(values: Any) -> float:
    found = list(values)
    return float(median(found)) if found else 0.0


def _is_free(name: str) -> bool:
    return name in _COUNTS or name in _FREE_FIELDS or name.startswith(_FREE)


def _restyles(flat: Mapping[str, Any]) -> list[float]:
    """How often images are restyled, to a quarter; nothing if no trial's image ever is."""
    chances = [flat["adapt.udape.style_source"], flat["adapt.udape.style_target"]]
    if flat["adapt.udape.style_alpha"] == 0 or not any(chances):
        return []
    return [round(4 * chance) / 4 for chance in chances]
