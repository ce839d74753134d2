"""The ledger's events as MLflow runs: one for each run, and one that sums up the study.

Every write may be repeated: runs are looked up before one is created, MLflow leaves out a metric
that it has with the same key, time, step and value, equal parameters may be logged again, and
tags are replaced. So a flush is simply repeated if it is not known whether it arrived.

MLflow's cost is per transaction (a ``log_batch`` of a thousand metrics costs as much as six
single ones): what a stretch of the ledger says of a run goes out as one batch.
"""

from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from harness.mlflow_tracking.contents import (
    as_text,
    at_ms,
    best_of,
    counts,
    dataset_sources,
    ended_runs,
    lineage,
    run_number,
    run_params,
    run_tags,
    run_title,
    summary_tags,
    summary_title,
)
from harness.mlflow_tracking.cursor import Cursor
from harness.mlflow_tracking.experiment import experiment_of_study, share_view
from harness.mlflow_tracking.metric_sections import comparing_charts, shown_metric, step_of
from harness.mlflow_tracking.model import log_best_model
from harness.mlflow_tracking.note import study_note
from harness.record.ledger import Event, RunRecord
from harness.record.storage import StudyFolder

_STATUS = {"complete": "FINISHED", "pruned": "KILLED", "stopped": "KILLED", "failed": "FAILED"}
_GONE = "RESOURCE_DOES_NOT_EXIST"
_REFUSED = frozenset({"INVALID_PARAMETER_VALUE", _GONE})
"""Errors that stay the same however often a request is repeated."""
_MAX_METRICS, _MAX_OTHERS, _MAX_TEXT = 800, 100, 7900


class RunWriter:
    """Writes events of one study to its runs.

    Args:
        tracking_uri: Database or server.
        artifact_root: Folder for artifacts of an experiment created on a local database.
        ledger_path: The ledger, for the summary at the end.
        study: Its first event.
        cursor: What MLflow has of it; moves on as it is written.

    Attributes:
        cursor: With all runs of the study that exist, also those a lost cursor knew of.
    """

    def __init__(
        self,
        tracking_uri: str,
        artifact_root: Path,
        ledger_path: Path,
        study: Event,
        cursor: Cursor,
    ) -> None:
        self._client = MlflowClient(tracking_uri)
        self._study = study
        self._ledger_path = ledger_path
        self.cursor = cursor
        self.cursor.study_id = study["study_id"]
        self.cursor.experiment_id = experiment_of_study(
            self._client, tracking_uri, artifact_root, study, self._known_experiment()
        )
        self._look_up_runs()
        self._go_back_if_restored()
        self._batches: dict[str, list[Any]] = defaultdict(list)
        self._stages: dict[int, dict[str, Any]] = {}
        self._handlers: dict[str, Callable[[Event], None]] = {
            "study": self._write_study,
            "resume": self._write_resume,
            "run": self._write_run,
            "epoch": self._write_epoch,
            "continued": self._write_continued,
            "duplicate": self._write_duplicate,
            "finished": self._write_finished,
            "end": self._write_end,
        }

    def write(self, events: list[Event], offset: int) -> None:
        """Write events. If it raises, only some may be written; a new writer must repeat them all.

        Args:
            events: The next ones of the ledger; kinds that MLflow has no place for are skipped.
            offset: Byte of the ledger after them.

        Raises:
            MlflowException: If the store is down or locked.
        """
        for event in events:
            handler = self._handlers.get(event["event"])
            if handler is not None:
                handler(event)
        for run_id in list(self._batches):
            self._flush(run_id)
        self.cursor.offset = offset
        self._go_back_if_restored()

    def _known_experiment(self) -> str | None:
        """Experiment of the summary; None, with a new cursor, if the store has no such run."""
        summary = self._found(self.cursor.summary_run_id)
        if summary is not None:
            return str(summary.info.experiment_id)
        self.cursor = Cursor(self.cursor.uri, self.cursor.study_id)
        return None

    def _found(self, run_id: str | None) -> Run | None:
        """A run, deleted or not; None if the store has lost it."""
        if run_id is None:
            return None
        try:
            return self._client.get_run(run_id)
        except MlflowException as error:
            if error.error_code != _GONE:
                raise
            return None

    def _go_back_if_restored(self) -> None:
        """Have everything written again if a run that was deleted has been restored."""
        runs = [self._found(run_id) for run_id in self.cursor.refused_runs]
        if any(run is not None and run.info.lifecycle_stage == "active" for run in runs):
            self.cursor.go_back()

    def _look_up_runs(self) -> None:
        """Find the study's runs, also those whose creation got no answer.

        A slow server may have created two MLflow runs for one run; one is deleted.
        """
        found: dict[int | None, list[str]] = defaultdict(list)
        token: str | None = ""
        while token is not None:
            page = self._client.search_runs(
                [self.cursor.experiment_id], f"tags.study_id = '{self.cursor.study_id}'",
                max_results=1000, page_token=token or None,
            )  # fmt: skip
            for run in page:
                found[run_number(run.data.tags)].append(run.info.run_id)
            token = page.token or None
        for number, run_ids in found.items():
            known = (
                self.cursor.summary_run_id if number is None else self.cursor.run_ids.get(number)
            )
            kept = known if known in run_ids else min(run_ids)
            for run_id in set(run_ids) - {kept}:
                self._client.delete_run(run_id)
            if number is None:
                self.cursor.summary_run_id = kept
            else:
                self.cursor.run_ids[number] = kept

    @property
    def _summary(self) -> str:
        if self.cursor.summary_run_id is None:
            raise ValueError(f"{self._ledger_path}: the first event is not the study")
        return self.cursor.summary_run_id

    def _write_study(self, event: Event) -> None:
        if self.cursor.summary_run_id is None:
            self.cursor.summary_run_id = self._create(
                event, summary_title(event), summary_tags(event)
            )
        self._batches[self._summary] += _params(event["fixed"])
        share_view(self._client, str(self.cursor.experiment_id), event)
        self._write_note(study_note(event))

    def _write_note(self, note: str) -> None:
        """Show a note above the runs, unless the experiment is another study's."""
        self._batches[self._summary] += _tags({"mlflow.note.content": note})
        experiment = self._client.get_experiment(self.cursor.experiment_id)
        if experiment.tags.get("study_id") == self.cursor.study_id:
            self._client.set_experiment_tag(self.cursor.experiment_id, "mlflow.note.content", note)

    def _write_resume(self, event: Event) -> None:
        self._reopen(self._summary)

    def _write_run(self, event: Event) -> None:
        number = event["number"]
        if number not in self.cursor.run_ids:
            name = run_title(self._study, event)
            self.cursor.run_ids[number] = self._create(event, name, run_tags(self._study, event))
        self._batches[self._run(event)] += _params(run_params(self._study, event))

    def _write_epoch(self, event: Event) -> None:
        number, run_id = event["number"], self._run(event)
        last = self.cursor.steps.get(number)
        if last is not None and event["step"] <= last:
            return  # trained again after its worker died: MLflow has this point
        at = at_ms(event)
        if last is None:
            self._write_data_sets(run_id, event)
        # A stage that takes several epochs, such as pre-training, is known after them.
        if last is None or event["stages"] != self._stages.get(number, event["stages"]):
            self._write_stages(run_id, event)
        self._stages[number] = event["stages"]
        self._batches[run_id] += [
            Metric(shown_metric(name), value, at, step_of(name, event["step"]))
            for name, value in event["metrics"].items()
        ]
        if event["step"] == event["num_steps"]:
            objectives = [goal["name"] for goal in self._study["objectives"]]
            self._batches[run_id] += [
                Metric(name, value, at, step)
                for name, step, value in comparing_charts(objectives, event["metrics"])
            ]
        self.cursor.steps[number] = event["step"]

    def _write_stages(self, run_id: str, event: Event) -> None:
        self._batches[run_id] += _tags(event["tags"])
        if event["stages"]:
            tags, seconds = lineage(event["stages"])
            self._batches[run_id] += _tags(tags)
            self._batches[run_id] += [
                Metric(shown_metric(name), value, at_ms(event), 0)
                for name, value in seconds.items()
            ]

    def _write_data_sets(self, run_id: str, event: Event) -> None:
        inputs = [
            DatasetInput(
                Dataset(name, digest, "local", source), [InputTag("mlflow.data.context", role)]
            )
            for role, name, digest, source in dataset_sources(self._study, event)
        ]
        if inputs:
            self._send(run_id, lambda: self._client.log_inputs(run_id, inputs))

    def _write_continued(self, event: Event) -> None:
        run_id = self._run(event)
        self._batches[run_id] += _tags({"state": "running", "pruned": "false", "reason": ""})
        self._reopen(run_id)
        self._reopen(self._summary)

    def _write_duplicate(self, event: Event) -> None:
        self._batches[self._summary] += _tags({f"duplicate/{event['trial']}": event["of"]})

    def _write_finished(self, event: Event) -> None:
        run_id, state = self._run(event), event["state"]
        tags = {"state": state, "pruned": str(state == "pruned").lower()}
        if event["reason"]:
            tags["reason"] = event["reason"]
        self._batches[run_id] += _tags(tags)
        self._flush(run_id)
        self._terminate(run_id, _STATUS[state], event)

    def _write_end(self, event: Event) -> None:
        study, runs, num_duplicates = ended_runs(self._ledger_path, event)
        best_tags, best = best_of(study, runs)
        tags = {"state": event["state"], "reason": event.get("reason") or ""}
        tags |= counts(runs, num_duplicates) | best_tags
        if best is not None:
            tags |= {"best_run": str(best), "best_run_id": self.cursor.run_ids[best]}
        summary = self._summary
        self._batches[summary] += _tags(tags)
        self._write_outcome(study, runs)
        self._flush(summary)
        status = "FINISHED" if event["state"] == "complete" else "KILLED"
        self._terminate(summary, status, event)
        run_ids, model = self.cursor.run_ids, StudyFolder(self._ledger_path.parent).model
        self._send(summary, lambda: log_best_model(self._client, summary, run_ids, model))

    def _write_outcome(self, study: Event, runs: dict[int, RunRecord]) -> None:
        """Write the note with the results, and the files of the study's folder ``summary``.

        A file that is uploaded again replaces itself.
        """
        summary = self._summary
        folder = StudyFolder(self._ledger_path.parent).summary
        files = sorted(path for path in folder.glob("*") if path.is_file())
        for path in files:
            self._send(summary, partial(self._client.log_artifact, summary, str(path)))
        # MLflow's pages show images of its own server alone, neither data URIs nor others.
        figures = [
            f"get-artifact?path={path.name}&run_uuid={summary}"
            for path in files
            if path.suffix == ".png"
        ]
        self._write_note(study_note(study, runs.values(), figures))

    def _run(self, event: Event) -> str:
        return self.cursor.run_ids[event["number"]]

    def _create(self, event: Event, name: str, tags: dict[str, str]) -> str:
        cut = {key: value[:_MAX_TEXT] for key, value in tags.items()}
        run = self._client.create_run(
            self.cursor.experiment_id, start_time=at_ms(event), tags=cut, run_name=name
        )
        return str(run.info.run_id)

    def _reopen(self, run_id: str) -> None:
        self._send(run_id, lambda: self._client.update_run(run_id, status="RUNNING"))

    def _terminate(self, run_id: str, status: str, event: Event) -> None:
        at = at_ms(event)
        self._send(run_id, lambda: self._client.set_terminated(run_id, status, end_time=at))

    def _flush(self, run_id: str) -> None:
        """Send what is waiting for a run, within MLflow's limits on a batch."""
        entries = self._batches.pop(run_id, [])
        # Tags by key, as MLflow takes a key once in a batch; the last one counts.
        tags = list({e.key: e for e in entries if isinstance(e, RunTag)}.values())
        others = [*(e for e in entries if isinstance(e, Param)), *tags]
        metrics = [e for e in entries if isinstance(e, Metric)]
        while others or metrics:
            self._send_batch(run_id, others[:_MAX_OTHERS] + metrics[:_MAX_METRICS])
            del others[:_MAX_OTHERS], metrics[:_MAX_METRICS]

    def _send_batch(self, run_id: str, entries: list[Any]) -> None:
        """One transaction; if MLflow refuses an entry, all others are written even so."""
        kinds: dict[type, list[Any]] = {Metric: [], Param: [], RunTag: []}
        for entry in entries:
            kinds[type(entry)].append(entry)
        try:
            self._client.log_batch(run_id, kinds[Metric], kinds[Param], kinds[RunTag])
        except MlflowException as error:
            if error.error_code not in _REFUSED:
                raise
            if _is_run_gone(error) or len(entries) == 1:
                self._count_refusal(run_id, error)
                return
            half = len(entries) // 2
            self._send_batch(run_id, entries[:half])
            self._send_batch(run_id, entries[half:])

    def _send(self, run_id: str, write: Callable[[], object]) -> None:
        """Write to one run; a refusal is counted and does not stop the other writes."""
        try:
            write()
        except MlflowException as error:
            if error.error_code not in _REFUSED:
                raise
            self._count_refusal(run_id, error)

    def _count_refusal(self, run_id: str, error: MlflowException) -> None:
        self.cursor.num_refused += 1
        self.cursor.last_error = str(error).partition("\n")[0]
        if _is_run_gone(error) and run_id not in self.cursor.refused_runs:
            self.cursor.refused_runs.append(run_id)


def _is_run_gone(error: MlflowException) -> bool:
    return error.error_code == _GONE or "must be in the 'active'" in str(error)


def _params(fields: dict[str, Any]) -> list[Any]:
    return [Param(name, as_text(value)) for name, value in fields.items()]


def _tags(tags: dict[str, Any]) -> list[Any]:
    return [RunTag(name, str(value)[:_MAX_TEXT]) for name, value in tags.items()]
