"""A study's ledger, its Optuna study and the bridge between them, in step with each other."""

import uuid
from collections.abc import Callable
from typing import Any

from harness.mlflow_tracking.environment import environment
from harness.optuna_study.bridge import StudyBridge
from harness.optuna_study.continuation import (
    check_distributions,
    check_identity,
    check_meaning,
    identity,
)
from harness.optuna_study.outcomes import TrialOutcomes
from harness.optuna_study.stored_study import Patience, free_study_name, open_database, open_study
from harness.optuna_study.stored_trials import StoredTrials
from harness.optuna_study.suggestions import Suggestions
from harness.record.ledger import Ledger
from harness.spec import StudySpec
from harness.spec.database import database_url
from harness.study.launch import Launch
from trainables.config import TrialConfig, absolute_paths
from trainables.config.reference_recipe import reference_fields


def open_bridge(
    spec: StudySpec,
    launch: Launch,
    ledger: Ledger,
    say: Callable[[str], None],
    gives_up: Callable[[], bool],
) -> tuple[StudyBridge, str]:
    """Start a study, or bring Optuna's study in step with what its ledger says.

    Args:
        spec: The study.
        launch: How it is started or resumed.
        ledger: In the study's folder; without an event if the study is new.
        say: Shows a line to the user.
        gives_up: Asked whether to wait no longer for a database that does not answer.

    Returns:
        The bridge, and the study's name in Optuna's storage.

    Raises:
        SpecError: If it cannot be resumed; nothing has changed then.
    """
    stored = open_database(database_url(spec.database, launch.storage.optuna_url))
    patience = Patience(say, gives_up)
    study_name = ledger.path.parent.name
    described = {**_description(spec, study_name, launch), **identity(spec)}
    described["environment"] = environment()
    if ledger.description is None:
        study_id = uuid.uuid4().hex
        optuna_name = patience(free_study_name, stored, study_name, study_id)
        ledger.append("study", study_id=study_id, optuna_name=optuna_name, **described)
    else:
        study_id, optuna_name = ledger.description["study_id"], ledger.description["optuna_name"]
        if not launch.accept_change:
            check_identity(ledger.description, spec)
    is_new = not ledger.runs
    study = patience(open_study, spec, stored, optuna_name, study_id, is_new=is_new)
    if not ledger.is_new:
        check_distributions(study, spec)
        check_meaning(ledger.runs.values(), spec)
    if not ledger.is_new and not ledger.is_complete:
        ledger.append("resume", **described)
    bridge = StudyBridge(
        spec,
        ledger,
        Suggestions(study, spec, patience),
        TrialOutcomes(spec, optuna_name),
        StoredTrials(study, stored, patience),
    )
    was_complete = ledger.is_complete
    retried = bridge.reconcile(retry_failed=launch.retry_failed)
    if was_complete and not bridge.is_over:  # the budget was raised, or failures are retried
        ledger.append("resume", **described)
    if launch.retry_failed:
        say(f"{retried} failed trials are tried again")
    return bridge, optuna_name


def _description(spec: StudySpec, study_name: str, launch: Launch) -> dict[str, Any]:
    fields = TrialConfig().to_flat()
    varied = set(spec.parameters).union(*spec.baselines.values())
    for own in spec.baselines.values():
        if own.get("parity"):
            varied |= reference_fields(own.get("adapt.method", fields["adapt.method"])).keys()
    if spec.fixed.get("parity"):
        fields |= reference_fields(spec.fixed.get("adapt.method", fields["adapt.method"]))
    fields |= {n: list(v) if isinstance(v, tuple) else v for n, v in spec.fixed.items()}
    return {
        "study": study_name,
        "yaml": spec.model_dump_json(
            indent=1, exclude_defaults=True, exclude={"database"}, by_alias=True
        ),
        "objective": spec.objective.name,
        "goal": spec.objective.goal,
        "objectives": [{"name": m.name, "goal": m.goal} for m in spec.objectives],
        "plugins": list(spec.plugins),
        "trainable": spec.trainable,
        "resources": spec.resources.model_dump(),
        "read_test": launch.read_test,
        "kind": launch.kind,
        "belongs_to": launch.belongs_to,
        "compared": launch.compared,
        "varied": sorted(varied),
        "fixed": {n: v for n, v in absolute_paths(fields).items() if n not in varied},
    }
