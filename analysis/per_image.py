"""Scores of single images, from what a network predicted for them."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from analysis.trial_names import trial_names
from harness.results import Study
from trainables.evaluation.predictions import Predictions, evaluate_predictions
from trainables.metrics.metric_keys import EVALPOSE_READINGS


def image_scores(predictions: Predictions) -> pd.DataFrame:
    """PCK and the readings of EvalPose of every image.

    Args:
        predictions: Predictions of one split, see ``Predictions.of``.

    Returns:
        ``id``, ``bin`` (-1 for none), ``score`` of its true pose by the reference Pose VAE,
        ``pck`` (share of its visible joints that are correct) and one column for each reading of
        EvalPose, ``evalpose`` and so on; in percent, NaN for an image without enough joints.

    Raises:
        ValueError: If no image can be scored.
    """
    found = evaluate_predictions(predictions)
    readings = {
        EVALPOSE_READINGS[variant]: result.per_pose.numpy()
        for variant, result in found.evalpose.items()
    }
    return pd.DataFrame(
        {
            "id": predictions.ids,
            "bin": predictions.bins.astype(np.int64),
            "score": predictions.scores,
            "pck": found.pck.per_pose.numpy(),
            **readings,
        }
    )


def study_predictions(study: Study, split: str = "target_val") -> dict[str, list[Predictions]]:
    """What the networks of a study's complete runs predicted.

    Args:
        study: The study.
        split: ``target_val``, or ``target_test`` of a confirmation.

    Returns:
        Readable name of each trial (:func:`analysis.trial_names.trial_names`), in the order of
        tables, to the predictions of its runs, one for each seed.

    Raises:
        OSError, ValueError: If those of a run are missing or damaged.
    """
    complete = study.runs[study.runs["state"] == "complete"]
    return {
        name: [study.predictions(n).of(split) for n in complete["number"][complete["trial"] == t]]
        for t, name in trial_names(complete).items()
    }


def trial_image_scores(predictions: Mapping[str, Sequence[Predictions]]) -> pd.DataFrame:
    """Scores of every image by several trials, each the mean over the seeds of the trial.

    Args:
        predictions: Name of a trial to the predictions of its runs, all of one split.

    Returns:
        The columns of :func:`image_scores` after ``trial``, and ``num_seeds``.
    """
    parts = []
    for trial, runs in predictions.items():
        rows = pd.concat([image_scores(run) for run in runs])
        means = rows.groupby(["id", "bin"], as_index=False, sort=True).mean()
        means.insert(0, "trial", trial)
        parts.append(means.assign(num_seeds=len(runs)))
    return pd.concat(parts, ignore_index=True)


def pck_evalpose_correlations(images: pd.DataFrame) -> pd.DataFrame:
    """Rank correlation of PCK with each reading of EvalPose, over the images of each trial.

    Args:
        images: From :func:`trial_image_scores`.

    Returns:
        Index ``trial``, one column per reading: Spearman's correlation, from -1 to 1, NaN where
        one of the two is constant.
    """
    readings = [name for name in EVALPOSE_READINGS.values() if name in images]
    rows = {
        trial: {name: _spearman(rows["pck"], rows[name]) for name in readings}
        for trial, rows in images.groupby("trial", sort=False)
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("trial")


def _spearman(first: pd.Series, second: pd.Series) -> float:
    known = first.notna() & second.notna()
    a, b = first[known].rank(), second[known].rank()
    return float(a.corr(b)) if a.nunique() > 1 and b.nunique() > 1 else float("nan")
