"""A study as tidy data frames; the only reader the analysis uses.

Everything comes from the study's ledger, so it works while MLflow is down or on another
machine: one file, ``<storage>/studies/<study>/events.jsonl``.

Metric keys, all of them numbers:

================================  =========  ======  =====================================
key                               range      better  meaning; labels it reads
================================  =========  ======  =====================================
``<split>/pck_05``                0..100     more    PCK@0.05, mean of the joints behind "All"
``<split>/pck_05_<group>``        0..100     more    the same for a group of joints
``<split>/evalpose``              0..100     more    EvalPose as printed, equation (3)
``<split>/evalpose_cosines``      -100..100  more    equation (3) of the angles' cosines
``<split>/evalpose_within_20``    0..100     more    share of angles off by 20 degrees or less
``<split>/evalpose_unit_signed``  -100..100  more    mean cosine of the angle errors
``<split>/evalpose_coverage``     0..1       -       share of the triplets that EvalPose read
``<split>/evalpose_degenerate``   0..        less    of these, with a predicted limb of no length
``pck_bin/NN``                    0..100     more    keypoint score of target_val bin NN
``final/pck_bin/NN``              0..100     more    the same after the last epoch
``target_test/pck_bin/NN``        0..100     more    the same of target_test, in confirmations
``<split>/pck_05_adabn``          0..100     more    AdaBN control of a target split, see below
``<split>/control/<metric>/<c>``  as metric  -       PCK or EvalPose of no network, see below
``validator/<name>``              any        more    label-free; reads no target label
``chosen_epoch/<way>``            1..        -       epoch that a way of choosing picks
``chosen_pck_05/<way>``           0..100     more    ``target_val/pck_05`` of that epoch
``train/<loss>``                  any        less    mean training loss of the epoch
``train/wait_share``              0..1       less    training time spent waiting for batches
``sampling/active_fraction``      0..1       -       share of the source in use
``vae/corruption_auc``            0..1       more    scores tell real from corrupted poses
``vae/rank_stability``            -1..1      more    Spearman correlation of two seeds
``vae/active_units``              0..Z       more    latent units in use
``vae/reconstruction``            >= 0       less    first term of equation (1)
``vae/kl``                        >= 0       -       KL divergence in nats
``vae/mean_pose_correlation``     -1..1      less    of scores and distances to the mean pose
``vae/is_collapsed``              0 or 1     less    the latent code says nothing of a pose
================================  =========  ======  =====================================

Bin 00 is the easiest. Its keypoint score is the paper's of Fig. 4: the mean over its poses of the
share of correct joints among all that are labelled and visible, of a body with head and trunk,
whereas ``pck_05`` is of the body's 12 limb joints alone.

Splits: ``source_val`` reads source labels; ``target_val`` reads target validation labels, for the
objective and for reports; ``target_test`` is read by ``harness.confirm`` alone.

Validators, in :mod:`trainables.metrics.validators` and ``discrepancies``: ``source_pck`` (reads
source labels), ``confidence``, ``infomax``, ``bnm``, ``equivariance``, ``agreement`` (of two
heads or of teacher and student, so only while such a method adapts), ``plausibility``, ``mmd``
and ``coral``. Ways of choosing, logged with the last epoch: each validator alone, ``default``
(:func:`trainables.metrics.selection.default_choice`, over the whole history), ``kept`` (the same
rule applied as the run went on, so the epoch of ``best.pt``), ``last``, and ``oracle_val``,
which alone chooses by target labels. The AdaBN control, also of the last epoch only, judges the
network with the batch-norm statistics of target training images in place of its own.

A ``pose_vae`` trial judges its VAE on source validation poses, but ``vae/reconstruction`` is the
mean over the epoch's training poses. An ``adaptation`` trial reports the latent code on the source
training poses, as these are chosen by its scores.

``train/wait_share`` is a measurement, the only metric here that a second run of the same trial
does not repeat; a replay does not compare it. An epoch that is reused from the stage cache has
that of the run which trained it, and a trial on several devices that of its first process. A GPU
may still compute an earlier step while the loop waits for a batch, so there it is the most that
faster reading can gain.

The other controls, of target splits in the last epoch, are predictions that no network made
(:mod:`trainables.metrics.controls`): ``centre``, all joints in the middle of the image;
``mean_pose``, the mean of the source training poses for every image; ``mean_target_pose``, that of
the target, which takes labels that no method has; ``mirrored``, the true pose
in a mirror; ``swapped``, the true pose with left and right exchanged. Where a reading of EvalPose
gives them as much as a network, it does not show that the network has learned anything;
``docs/evalpose.md`` says which reading tells them apart.
"""

import json
from collections.abc import Mapping
from dataclasses import astuple, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from harness.record.ledger import Event, RunRecord, read_runs
from harness.record.storage import Storage, StudyFolder
from harness.results import validators as validator_report
from harness.results.ranking import RankedTrial, ranked_trials
from harness.results.trial_label import trial_label
from harness.results.verdict import Verdict, num_looks, recorded_verdict
from harness.spec import StudySpec, checked_study
from harness.yaml.text import as_yaml
from trainables.config import TrialConfig
from trainables.metrics.metric_keys import FINAL_BIN_PREFIX
from trainables.registry import load_plugins

if TYPE_CHECKING:
    from trainables.evaluation.predictions import Predictions
    from trainables.stages.binned_poses import BinnedPoses, Role


@dataclass(frozen=True)
class Study:
    """One study, read.

    Attributes:
        name: Name in its storage.
        objective: Optimised metric.
        goal: ``maximize`` or ``minimize``.
        runs: One row per run: ``number``, ``name``, ``is_baseline``, ``state``, ``reason``,
            ``value``, ``epochs_run``, ``num_epochs`` (of a full run), ``busy_s`` (seconds that
            workers spent on it), ``trial`` (what its trial tries, in words: the same for all runs
            of a trial), and one column for each field of the run's config.
        epochs: One row per run, epoch and metric: ``number``, ``step``, ``metric`` (a category),
            ``value``.
        folder: Folder of the study, or of the ledger alone.
        last_event: Time of the ledger's last event, in seconds since 1970.
        wall_s: Seconds that the study's drivers ran.
    """

    name: str
    objective: str
    goal: str
    runs: pd.DataFrame
    epochs: pd.DataFrame
    folder: Path
    last_event: float = 0.0
    wall_s: float = 0.0
    _read: tuple[Event, dict[int, RunRecord]] | None = field(default=None, repr=False)

    def final(self, metric: str) -> pd.Series:
        """Last reported value of a metric by run number; runs without it are left out."""
        rows = self.epochs[self.epochs["metric"] == metric].sort_values("step")
        return rows.groupby("number")["value"].last()

    def bins(self, prefix: str = FINAL_BIN_PREFIX) -> pd.DataFrame:
        """Per-bin PCK of every complete run.

        Args:
            prefix: ``final/pck_bin`` or ``target_test/pck_bin``.

        Returns:
            Columns ``number``, ``name``, ``trial``, ``seed``, ``bin`` (int), ``pck``.
        """
        rows = self.epochs[self.epochs["metric"].str.startswith(prefix + "/")]
        rows = rows.assign(bin=rows["metric"].str.rsplit("/", n=1).str[-1].astype(int))
        known = self.runs.loc[
            self.runs["state"] == "complete", ["number", "name", "trial", "seed"]
        ]
        merged = rows.merge(known, on="number")
        columns = ["number", "name", "trial", "seed", "bin", "value"]
        return merged[columns].rename(columns={"value": "pck"}).reset_index(drop=True)

    def checkpoints(self) -> pd.DataFrame:
        """Validators beside target PCK; see :func:`harness.results.validators.checkpoints`."""
        return validator_report.checkpoints(self.runs, self.epochs)

    def validators(self) -> pd.DataFrame:
        """What each validator is worth; see :func:`harness.results.validators.validators`."""
        return validator_report.validators(self.checkpoints())

    def choices(self) -> pd.DataFrame:
        """What each way of choosing an epoch picked.

        See :func:`harness.results.validators.choices`. Only complete runs have chosen, and only
        those of studies that log ``chosen_*/*``.
        """
        return validator_report.choices(self.runs, self.epochs)

    @cached_property
    def spec(self) -> StudySpec:
        """What the study's file says.

        Raises:
            SpecError: If this version does not read it any more.
        """
        return checked_study(
            json.loads(self._content[0]["yaml"]), f"{self._ledger} cannot be analysed"
        )

    @property
    def file(self) -> str:
        """The study's file as YAML, without its comments."""
        return as_yaml(json.loads(self._content[0]["yaml"]))

    def trials(self) -> pd.DataFrame:
        """The complete trials, in the order in which they were suggested.

        Returns:
            ``number`` (Optuna's), ``trial`` (as in ``runs``), ``is_baseline``, one column per
            objective (mean over seeds), ``low`` and ``high`` (95 % t interval of the first
            objective, NaN for one seed), ``num_seeds``, ``is_feasible`` (keeps the constraints),
            ``is_result`` (and trains on no target label), ``is_pareto`` (no result is better; of a
            single objective, the best), ``repeats`` (``trial`` of a baseline or an earlier trial
            that is the same training; None of most).
        """
        names = [metric.name for metric in self.spec.objectives]
        labels = {trial.number: trial_label(trial.runs[0]) for trial in self._ranked}
        rows = [
            {
                "number": trial.number,
                "trial": labels[trial.number],
                "is_baseline": trial.is_baseline,
                **{name: trial.means[name] for name in names},
                "low": trial.interval[0],
                "high": trial.interval[1],
                "num_seeds": len(trial.runs),
                "is_feasible": not trial.broken,
                "is_result": trial.is_result,
                "is_pareto": trial.is_pareto,
                "repeats": None if trial.repeats is None else labels[trial.repeats],
            }
            for trial in sorted(self._ranked, key=lambda trial: trial.number)
        ]
        first = ["number", "trial", "is_baseline"]
        flags = ["is_feasible", "is_result", "is_pareto"]
        columns = [*first, *names, "low", "high", "num_seeds", *flags, "repeats"]
        return pd.DataFrame(rows, columns=columns).astype(
            dict.fromkeys(["is_baseline", *flags], bool)
        )

    @property
    def verdict(self) -> Verdict | None:
        """What a confirmation shows; see :func:`harness.results.verdict.recorded_verdict`."""
        return recorded_verdict(self.description, self._records.values())

    @property
    def num_looks(self) -> int:
        """How often the test split was looked at, see :mod:`harness.results.verdict`."""
        return num_looks(self._ledger)

    def effects(self) -> pd.DataFrame:
        """What training on each range of difficulty does to the first objective.

        See :mod:`harness.results.effects`.

        Returns:
            ``start`` and ``end`` of the range (quantiles of difficulty), ``effect`` in points,
            ``low`` and ``high`` of its 95 % interval, ``runs``; no rows where the trials do not
            tell.
        """
        from harness.results.effects import DifficultyEffect, difficulty_effects

        rows = [astuple(effect) for effect in difficulty_effects(self.spec, self._ranked)]
        return pd.DataFrame(rows, columns=list(DifficultyEffect.__dataclass_fields__))

    def importances(self) -> pd.Series:
        """Share of each searched parameter in what makes a trial one of the best.

        See :func:`harness.results.importance.parameter_importances`; the largest first.
        """
        from harness.results.importance import parameter_importances  # imports Optuna

        found = parameter_importances(self.spec, self._ranked)
        return pd.Series(found, dtype=float, name="importance").rename_axis("parameter")

    def stages(self) -> pd.DataFrame:
        """The stages of every run: what was computed, what was shared.

        Returns:
            ``number`` of the run, ``stage``, ``outcome`` (``hit``: found, ``miss``: computed,
            ``repaired``), ``key``, ``seconds`` that computing it took, whoever did.
        """
        rows = [
            (record.number, stage, *entry)
            for record in self._records.values()
            for stage, entry in record.stages.items()
        ]
        return pd.DataFrame(rows, columns=["number", "stage", "outcome", "key", "seconds"])

    def poses(self, role: "Role", number: int | None = None) -> "BinnedPoses":
        """The poses of a domain, their images and their bins, from the study's storage.

        Args:
            role: ``source`` or ``target``.
            number: Run whose scores are meant; None for the first one that has any. All runs have
                the same bins of the target.

        Raises:
            ValueError: If no such run has scores.
            OSError: If a stage is not in the storage any more.
        """
        from trainables.stages.binned_poses import SCORED_BY, binned_poses  # imports torch

        scored = [n for n, run in self._records.items() if SCORED_BY[role] in run.stages]
        chosen = number if number is not None else next(iter(scored), None)
        if chosen not in scored:
            which = "one of its runs" if number is None else f"its run {number}"
            raise ValueError(f"study {self.name} has no scores of {role} poses of {which}")
        load_plugins(self._content[0]["plugins"])
        record = self._records[chosen]
        return binned_poses(
            Storage(self.folder.resolve().parents[1]).stages,  # of <storage>/studies/<study>
            TrialConfig.from_flat(record.fields),
            {name: stage[1] for name, stage in record.stages.items()},
            role,
        )

    def predictions(self, number: int) -> "Predictions":
        """What the last network of a run predicted for every image of the target splits.

        Args:
            number: Number of a run.

        Raises:
            KeyError: If the study has no such run.
            FileNotFoundError: If the run left no predictions; the message says why.
            ValueError: If their file is damaged.
        """
        from trainables.evaluation.predictions import PREDICTIONS, read_predictions

        states = self.runs.set_index("number")["state"]
        if number not in states.index:
            raise KeyError(f"study {self.name} has no run {number}")
        path = StudyFolder(self.folder).run(number) / PREDICTIONS
        try:
            return read_predictions(path)
        except FileNotFoundError as error:
            state = states[number]
            why = (
                "the disk was full at its end, or only the ledger was copied here"
                if state == "complete"
                else f"it is {state}, and only complete runs leave them"
            )
            raise FileNotFoundError(
                f"run {number} of {self.name} left no predictions in {path}: {why}"
            ) from error

    def recomputed(self) -> "Study":
        """The same study with the metrics that follow from the predictions of its complete runs.

        Its ``epochs`` hold the last epoch of each, and only what can be computed of predictions;
        see :func:`trainables.evaluation.predictions.metrics_of`.

        Raises:
            OSError, ValueError: If the predictions of a run are missing or damaged.
        """
        from trainables.evaluation.predictions import metrics_of

        complete = self.runs[self.runs["state"] == "complete"]
        rows = [
            (number, step, metric, value)
            for number, step in zip(complete["number"], complete["epochs_run"], strict=True)
            for metric, value in metrics_of(self.predictions(number)).items()
        ]
        return replace(self, epochs=pd.DataFrame(rows, columns=list(self.epochs.columns)))

    @property
    def _ledger(self) -> Path:
        return StudyFolder(self.folder).ledger

    @property
    def description(self) -> Mapping[str, Any]:
        """What the ledger says of the study as a whole: its last ``study`` or ``resume`` event."""
        return self._content[0]

    @property
    def digests(self) -> dict[str, list[str]]:
        """Digests of the images and poses that its runs read, by domain: mostly one for each."""
        found: dict[str, list[str]] = {}
        for record in self._records.values():
            for role, digest in record.digests.items():
                if digest not in found.setdefault(role, []):
                    found[role].append(digest)
        return found

    @cached_property
    def _content(self) -> tuple[Event, dict[int, RunRecord]]:
        return self._read or read_runs(self._ledger)

    @property
    def _records(self) -> dict[int, RunRecord]:
        return self._content[1]

    @cached_property
    def _ranked(self) -> list[RankedTrial]:
        return ranked_trials(self.spec, self._records.values())
