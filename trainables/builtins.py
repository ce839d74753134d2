"""Everything that is built in: skeletons, data sets, methods, strategies and trainables.

Imported with the package, so that the names are known wherever ``trainables`` is.
"""

from collections.abc import Mapping
from typing import Any

from trainables.config.data_options import (
    CocoHandOptions,
    CocoOptions,
    Human36mOptions,
    LspOptions,
    RhdOptions,
    SportOptions,
    SurrealOptions,
)
from trainables.config.method_options import RegDAOptions, UDAPEOptions
from trainables.metrics.reported import adaptation_metrics, pose_vae_metrics
from trainables.registry import (
    register_domain,
    register_method,
    register_skeleton,
    register_strategy,
    register_trainable,
)

POSE_VAE_REPORTS = 5
"""Most reports of a ``pose_vae`` trial, evenly spread over its epochs."""


def _num_epochs(fields: Mapping[str, Any]) -> int:
    return int(fields["adapt.pretrain_epochs"]) + int(fields["adapt.epochs"])


def num_pose_vae_reports(fields: Mapping[str, Any]) -> int:
    """Reports of a ``pose_vae`` trial with these flat fields."""
    return min(POSE_VAE_REPORTS, int(fields["vae.epochs"]))


for _name in ("body16", "hand21"):
    register_skeleton(_name, f"trainables.data.skeleton:{_name.upper()}")

_RENDERED, _LEEDS = "trainables.data.render.rendered_domain", "trainables.data.leeds"
register_domain("people_clean", f"{_RENDERED}:PEOPLE_CLEAN")
register_domain("people_wild", f"{_RENDERED}:PEOPLE_WILD")
register_domain("people_wild_hard", f"{_RENDERED}:PEOPLE_WILD_HARD")
register_domain("people_sport", f"{_RENDERED}:PEOPLE_SPORT", options=SportOptions)
register_domain("hands_clean", f"{_RENDERED}:HANDS_CLEAN", skeleton="hand21")
register_domain("hands_wild", f"{_RENDERED}:HANDS_WILD", skeleton="hand21")
register_domain("lsp", f"{_LEEDS}:LSP", reads_folder=True, options=LspOptions)
register_domain("lspet", f"{_LEEDS}:LSPET", reads_folder=True)
register_domain(
    "surreal", "trainables.data.surreal:SURREAL", reads_folder=True, options=SurrealOptions
)
register_domain(
    "human36m", "trainables.data.human36m:HUMAN36M", reads_folder=True, options=Human36mOptions
)
register_domain("mpii", "trainables.data.mpii:MPII", reads_folder=True)
for _name, _options in (("rhd", RhdOptions), ("h3d", None), ("freihand", None)):
    register_domain(
        _name,
        f"trainables.data.{_name}:{_name.upper()}",
        skeleton="hand21",
        reads_folder=True,
        options=_options,
    )
_COCO = "trainables.data.coco"
register_domain("coco", f"{_COCO}:COCO", reads_folder=True, options=CocoOptions)
register_domain(
    "coco_hand",
    f"{_COCO}:COCO_HAND",
    skeleton="hand21",
    reads_folder=True,
    options=CocoHandOptions,
)

_METHODS = "trainables.adapt.methods"
register_method("source_only", f"{_METHODS}:keep_training", losses={})
register_method("oracle", f"{_METHODS}:keep_training", losses={})
register_method(
    "regda",
    f"{_METHODS}:build_regda",
    losses={
        "source_kl": "minimize", "source_disparity": "minimize", "false_disparity": "minimize",
        "target_disparity": "minimize",
    },
    options=RegDAOptions,
)  # fmt: skip
register_method(
    "udape",
    f"{_METHODS}:build_udape",
    losses={
        "source_kl": "minimize", "source_mse": "minimize", "consistency": "minimize",
        "confidence": None,
    },
    options=UDAPEOptions,
)  # fmt: skip

_STRATEGIES = "trainables.sampling.strategies"
register_strategy("all", f"{_STRATEGIES}:all_samples", reads_scores=False)
register_strategy("hardest", f"{_STRATEGIES}:hardest")
register_strategy("easiest", f"{_STRATEGIES}:easiest")
register_strategy("random", f"{_STRATEGIES}:random", reads_scores=False)
register_strategy("bins", f"{_STRATEGIES}:bins")
register_strategy("curriculum", f"{_STRATEGIES}:curriculum")

register_trainable(
    "adaptation",
    "trainables.adaptation_trainable:AdaptationTrainable",
    num_reports=_num_epochs,
    metrics=adaptation_metrics,
)
register_trainable(
    "pose_vae",
    "trainables.pose_vae_trainable:PoseVAETrainable",
    num_reports=num_pose_vae_reports,
    metrics=pose_vae_metrics,
)
