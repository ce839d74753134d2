"""Figures of single images: those that two trials differ most on, and PCK against EvalPose."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure

from analysis.palette import BLUE, FONT, declutter, new_figure, shortened
from analysis.per_image import image_scores
from analysis.pictures import draw_pose
from trainables.data.image_store import ImageStore
from trainables.evaluation.predictions import Predictions


def compared_images(
    images: pd.DataFrame, trial: str, baseline: str, num: int = 3, column: str = "pck"
) -> pd.DataFrame:
    """The images that a trial gains and loses most on: what a figure of examples should show.

    The rule: the ``num`` images with the largest and the ``num`` with the smallest difference of
    per-image scores, of equal ones the first by id. A figure of winners alone would always look
    well.

    Args:
        images: From :func:`analysis.per_image.trial_image_scores`.
        trial: Trial that is looked at.
        baseline: What it is compared with.
        num: Images of each kind.
        column: Score whose difference decides.

    Returns:
        ``id``, ``kind`` (``gain`` or ``loss``), ``difference``; the largest gains first, then the
        largest losses.

    Raises:
        ValueError: If the two trials have no image in common.
    """
    ours, theirs = (
        images[images["trial"] == name].set_index("id")[column] for name in (trial, baseline)
    )
    gaps = (ours - theirs).dropna().sort_index()
    if gaps.empty:
        raise ValueError(f"{trial} and {baseline} have no image in common")
    largest = gaps.sort_values(ascending=False, kind="stable").head(num)
    smallest = gaps.drop(largest.index).sort_values(kind="stable").head(num)
    kinds = ["gain"] * len(largest) + ["loss"] * len(smallest)
    both = pd.concat([largest, smallest])
    return pd.DataFrame({"id": both.index, "kind": kinds, "difference": both.to_numpy()})


def comparison_grid(
    chosen: pd.DataFrame,
    predictions: Mapping[str, Predictions],
    store: ImageStore,
    reading: str = "evalpose_unit_signed",
) -> Figure:
    """Ground truth and predictions side by side with PCK and EvalPose (paper, Fig. 5).

    Args:
        chosen: From :func:`compared_images`; gains fill the left half, losses the right one.
        predictions: Name of a trial to what one of its runs predicted, of one split; a column for
            each, in order.
        store: Images of the target.
        reading: Reading of EvalPose, a column of :func:`analysis.per_image.image_scores`.
    """
    num_lines, width = -(-len(chosen) // 2), 1 + len(predictions)
    figure = new_figure(1.42 * num_lines + 0.3, width=1.25 * 2 * width + 0.4)
    grid = figure.subplots(num_lines, 2 * width, squeeze=False)
    rows = {name: row for row, name in enumerate(store.ids)}
    scores = {name: image_scores(own).set_index("id") for name, own in predictions.items()}
    places = {
        name: {sample: place for place, sample in enumerate(own.ids.tolist())}
        for name, own in predictions.items()
    }
    for place, example in enumerate(chosen.to_dict("records")):
        half, line = divmod(place, num_lines)
        sample, cells = example["id"], grid[line, half * width : (half + 1) * width]
        image = store.images[rows[sample]]
        row = rows[sample]
        draw_pose(cells[0], store.keypoints_px[row], store.visible[row], store.skeleton, image)
        cells[0].set_ylabel(f"{example['kind']} {example['difference']:+.0f}", fontsize=FONT - 1)
        for axes, (name, own) in zip(cells[1:], predictions.items(), strict=True):
            at = places[name][sample]
            draw_pose(axes, own.keypoints_px[at], own.visible[at], own.skeleton, image)
            pck, evalpose = scores[name].loc[sample, ["pck", reading]]
            axes.set_xlabel(f"PCK {pck:.0f}, EvalPose {evalpose:.0f}", fontsize=FONT - 2)
        if line == 0:
            for axes, name in zip(cells, ("ground truth", *predictions), strict=True):
                axes.set_title(shortened(name, 20), fontsize=FONT - 1)
    for line in range(num_lines):
        for half in range(2):
            if half * num_lines + line >= len(chosen):
                for axes in grid[line, half * width : (half + 1) * width]:
                    axes.set_visible(False)
    return figure


def pck_against_evalpose(images: pd.DataFrame, readings: list[str], title: str = "") -> Figure:
    """Each reading of EvalPose against PCK, a point per image, a panel per reading.

    Args:
        images: From :func:`analysis.per_image.image_scores`.
        readings: Columns of it.
        title: Title of the figure.
    """
    figure = new_figure(2.4, width=7.2)
    grid = figure.subplots(1, len(readings), sharey=True, squeeze=False)[0]
    for axes, reading in zip(grid, readings, strict=True):
        axes.plot(
            images[reading], images["pck"], "o", color=BLUE, markersize=2.5, alpha=0.25,
            markeredgewidth=0,
        )  # fmt: skip
        correlation = images["pck"].corr(images[reading], method="spearman")
        name = reading.removeprefix("evalpose").replace("_", " ").strip() or "printed"
        axes.set_title(f"{name}\nSpearman {correlation:.2f}", fontsize=FONT - 1)
        axes.tick_params(labelsize=FONT - 1)
        declutter(axes)
    grid[0].set_ylabel("PCK@0.05 of an image (%)", fontsize=FONT - 1)
    figure.supxlabel("EvalPose of the image (%)", fontsize=FONT - 1)
    figure.suptitle(title, fontsize=FONT + 1)
    return figure
