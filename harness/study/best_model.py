"""The model that a study leaves: the best trial's network, for use outside of the study.

The driver writes it, before the study's ``end`` event: it alone owns the study's folder and knows
which trial is best, and by that event the model is there for the process that writes to MLflow.
"""

from collections.abc import Iterable
from pathlib import Path

from harness.record.ledger import RunRecord
from harness.record.storage import StudyFolder
from harness.results.ranking import best_result, ranked_trials
from harness.spec import StudySpec

CHOICE = "label-free validators"


def keep_best_model(spec: StudySpec, folder: StudyFolder, runs: Iterable[RunRecord]) -> str | None:
    """Write the best complete trial's network into the study's ``model/``.

    Of a trial with several seeds it is the first one's network: the best seed would be chosen by
    luck. Of that run it is the network of the epoch that the label-free choice preferred,
    ``best.pt`` of its last checkpoint.

    Args:
        spec: The study.
        folder: Its folder; an earlier model in it is replaced if another run is the best.
        runs: All runs of the study.

    Returns:
        A sentence if there is no model of the best trial; None if there is, or no trial is a
        result (:attr:`harness.results.ranking.RankedTrial.is_result`).
    """
    best = best_result(ranked_trials(spec, runs))
    if spec.trainable != "adaptation" or best is None:
        return None
    record = best.runs[0]
    try:
        _write(folder, record)
    except (OSError, ValueError) as error:
        return f"the network of run {record.number} {record.name} is not kept as a model: {error}"
    return None


def _write(folder: StudyFolder, record: RunRecord) -> None:
    from trainables.checkpoint import load_state
    from trainables.config import TrialConfig
    from trainables.data.domain import image_request
    from trainables.data.skeleton_file import skeleton_of
    from trainables.predict.model_description import read_description
    from trainables.predict.pose_model import save_pose_model

    checkpoint = _last_checkpoint(folder.run(record.number))
    best = load_state(checkpoint, "best")
    origin = {
        "study": folder.name,
        "run": record.number,
        "name": record.name,
        "epoch": best["epoch"],
        "chosen_by": CHOICE,
    }
    if folder.model.exists() and read_description(folder.model)["origin"] == origin:
        return
    trial = TrialConfig.from_flat(record.fields)
    request = image_request(trial, "target", 1)
    skeleton = skeleton_of(trial.data.target, request.options)
    save_pose_model(folder.model, best["net"], trial, skeleton, origin)


def _last_checkpoint(folder: Path) -> Path:
    found = sorted(folder.glob("epoch-*"))
    if not found:
        raise FileNotFoundError(f"{folder} has no checkpoint")
    return found[-1]
