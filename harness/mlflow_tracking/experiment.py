"""Which experiment of MLflow holds the studies.

A continued study stays in the experiment that holds its run. A new study goes to the experiment
with our tag, whatever its name is by then: MLflow's pages let users rename experiments.
"""

from pathlib import Path

from mlflow.entities import Experiment, ViewType
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

EXPERIMENT = "posebins"
"""Name of a new experiment."""
MARK = "posebins"
"""Tag of the experiment."""


def experiment_of_studies(
    client: MlflowClient, tracking_uri: str, artifact_root: Path, known: str | None
) -> str:
    """Id of the experiment, which is created if there is none.

    Args:
        client: Connected to the store.
        tracking_uri: Database or server.
        artifact_root: Folder for artifacts of an experiment created on a local database.
        known: Id of the experiment that the study is in; None if it is in none yet.

    Raises:
        MlflowException: If the experiment is deleted, or the store is down.
    """
    if known is not None:
        found = [client.get_experiment(known)]
    else:
        found = client.search_experiments(ViewType.ALL, filter_string=f"tags.{MARK} != ''")
        named = client.get_experiment_by_name(EXPERIMENT)  # an earlier version did not mark it
        found = [*found, *([] if named is None else [named])]
    if not found:
        location = artifact_root.as_uri() if tracking_uri.startswith("sqlite") else None
        return str(client.create_experiment(EXPERIMENT, location, tags={MARK: "studies"}))
    experiment = next((e for e in found if e.lifecycle_stage == "active"), None)
    if experiment is None:
        raise MlflowException(
            f"experiment {found[0].name} is deleted; restore it with: "
            f"mlflow experiments restore -x {found[0].experiment_id}"
        )
    _mark(client, experiment)
    return str(experiment.experiment_id)


def _mark(client: MlflowClient, experiment: Experiment) -> None:
    if MARK not in experiment.tags:
        client.set_experiment_tag(experiment.experiment_id, MARK, "studies")
