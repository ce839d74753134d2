"""Pictures of a report: predictions beside the truth, PCK against EvalPose, what a bin holds."""

from collections.abc import Iterator
from typing import Literal

import pandas as pd

from analysis.examples import compared_images, comparison_grid, pck_against_evalpose
from analysis.per_image import trial_image_scores
from analysis.pictures import bin_gallery
from analysis.report.comparison import Comparison
from analysis.report.page import Section, figure, paragraph, subheading
from analysis.report.wording import quoted
from trainables.evaluation.predictions import Predictions
from trainables.metrics.metric_keys import EVALPOSE_READINGS

_ROLES: tuple[tuple[Literal["source", "target"], str], ...] = (
    ("source", "Source training poses by the Pose VAE that the first run trained with"),
    ("target", "Target validation poses by the reference Pose VAE, behind the PCK of each bin"),
)


def images_section(found: Comparison) -> Section | None:
    """What the best trial and its reference predicted, image by image."""
    if found.candidate is None or found.study.spec.trainable != "adaptation":
        return None
    parts = list(_images(found))
    return Section("Images", "images", tuple(parts))


def _images(found: Comparison) -> Iterator[str]:
    names = [name for name in (found.candidate, found.reference) if name is not None]
    split = found.metric.partition("/")[0]
    try:
        predictions = {name: _first_predictions(found, name, split) for name in names}
    except FileNotFoundError:
        yield paragraph(
            f"The study's folder does not hold what {' and '.join(map(quoted, names))} predicted, "
            "so no image can be shown with it."
        )
        return
    except (OSError, ValueError) as error:
        yield paragraph(f"The predictions cannot be read: {error}.")
        return
    scores = trial_image_scores({name: [own] for name, own in predictions.items()})
    yield from _grid(found, predictions, scores)
    best = scores[scores["trial"] == names[0]]
    yield subheading("PCK against EvalPose")
    yield figure(
        pck_against_evalpose(best, list(EVALPOSE_READINGS.values())),
        f"PCK of each image against four readings of EvalPose, predictions of {names[0]}",
        f"Each point is an image of `{split}`, predicted by the first run of {quoted(names[0])}. "
        "A reading that is high where PCK is low says little of whether joints are in place.",
        has_images=True,
    )


def _grid(
    found: Comparison, predictions: dict[str, Predictions], scores: pd.DataFrame
) -> Iterator[str]:
    names = list(predictions)
    if len(names) < 2:
        return
    chosen = compared_images(scores, names[0], names[1])
    number = int(found.part([names[0]]).runs["number"].iloc[0])
    try:
        store = found.study.poses("target", number).store
    except (OSError, ValueError) as error:
        yield paragraph(f"The target images cannot be shown: {error}.")
        return
    yield figure(
        comparison_grid(chosen, predictions, store),
        f"Target images with true poses and those predicted by {' and '.join(names)}",
        f"The images that {quoted(names[0])} gains (left) and loses (right) most on against "
        f"{quoted(names[1])}, by PCK of the first run of each: extremes, not typical images.",
        has_images=True,
    )


def _first_predictions(found: Comparison, trial: str, split: str) -> Predictions:
    number = int(found.part([trial]).runs["number"].iloc[0])
    own = found.study.predictions(number).of(split)
    if not len(own.ids):
        raise ValueError(f"run {number} predicted no image of {split}")
    return own


def bins_gallery_section(found: Comparison) -> Section | None:
    """Images of each bin of difficulty."""
    stages = set(found.study.stages()["stage"])
    scored = {"source": "pose_vae", "target": "pose_vae/reference"}
    parts = []
    for role, words in _ROLES:
        if not {scored[role], f"images/{role}"} <= stages:
            continue
        parts.append(subheading(f"Bins of the {role}"))
        try:
            poses = found.study.poses(role)
            drawn = bin_gallery(poses)
        except FileNotFoundError:
            parts.append(paragraph(f"The images of the {role} are not in the storage any more."))
            continue
        except (OSError, ValueError) as error:
            parts.append(paragraph(f"The images of the {role} cannot be read: {error}."))
            continue
        parts.append(
            figure(
                drawn,
                f"Images of the {role} with their poses, a row for each bin",
                f"{words}; the easiest bin is on top. Images are evenly spread over a bin.",
                has_images=True,
            )
        )
    return Section("What a bin holds", "gallery", tuple(parts)) if parts else None
