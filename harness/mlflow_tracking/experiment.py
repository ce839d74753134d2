"""Which experiment of MLflow holds a study: one of its own, known by a tag and not by its name.

MLflow's pages let users rename experiments, so a study that is resumed looks for the tag
``study_id``. A confirmation or a replay goes to the experiment of the study that it belongs to, if
the store has that one.
"""

import json
from itertools import count
from pathlib import Path

from mlflow.entities import ViewType
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from harness.mlflow_tracking.page import view_key
from harness.record.ledger import Event
from harness.spec.database import sqlite_file

_KIND = {"mlflow.experimentKind": "custom_model_development"}
"""Has MLflow's pages compare training runs; without it they open on language models."""
_NAME_TAKEN = "RESOURCE_ALREADY_EXISTS"


def experiment_of_study(
    client: MlflowClient, tracking_uri: str, artifact_root: Path, study: Event, known: str | None
) -> str:
    """Id of the experiment, which is created if there is none.

    Args:
        client: Connected to the store.
        tracking_uri: Database or server.
        artifact_root: Folder for artifacts of an experiment created on a local database.
        study: The ledger's ``study`` event.
        known: Id of the experiment that the study is in; None if it is in none yet.

    Raises:
        MlflowException: If the experiment is deleted, or the store is down.
    """
    found = [client.get_experiment(known)] if known is not None else []
    for study_id in (study.get("belongs_to"), study["study_id"]):
        if not found and study_id is not None:
            found = client.search_experiments(
                ViewType.ALL, filter_string=f"tags.study_id = '{study_id}'"
            )
    if not found:
        location = artifact_root.as_uri() if sqlite_file(tracking_uri) else None
        return _created(client, study, location)
    experiment = next((e for e in found if e.lifecycle_stage == "active"), None)
    if experiment is None:
        raise MlflowException(
            f"experiment {found[0].name} is deleted; restore it with: "
            f"mlflow experiments restore -x {found[0].experiment_id}"
        )
    return str(experiment.experiment_id)


def _created(client: MlflowClient, study: Event, location: str | None) -> str:
    """Create the experiment under the study's name, or ``name (2)``, ... if that is taken."""
    tags = {"study_id": study["study_id"], **_KIND}
    for number in count(1):
        name = study["study"] if number == 1 else f"{study['study']} ({number})"
        try:
            return str(client.create_experiment(name, location, tags=tags))
        except MlflowException as error:
            if error.error_code != _NAME_TAKEN:
                raise
    raise AssertionError("count() does not end")


def share_view(client: MlflowClient, experiment_id: str, study: Event) -> None:
    """Store what the study's page shows: all of its runs, first one first, not the summary.

    By itself MLflow draws the newest ten runs of an experiment.
    """
    view = {
        "searchFilter": f"tags.study_id = '{study['study_id']}' and tags.kind != 'summary'",
        "orderByAsc": True,
        "runsHiddenMode": "SHOW_ALL",
    }
    key = f"mlflow.sharedViewState.{view_key(study['study_id'])}"
    client.set_experiment_tag(experiment_id, key, json.dumps(view))
