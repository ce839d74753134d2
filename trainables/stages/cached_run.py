"""Training that is shared like a stage: trials that agree in a part of it train that part once.

Two parts of a run are shared. *Pre-training* is shared by trials for which it is identical. The
cache stores the state after its last epoch and the report of each of its epochs, so a trial that
reuses it reports the same curve, and continues from the same state bit for bit, as one that
trained it. The *whole training* is shared by trials that agree in everything, such as the
baselines of two studies. The cache stores its reports, its best network and its predictions, as
nothing resumes from its end.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainables.adapt.adaptation_run import AdaptationRun
from trainables.adapt.replicas import ReplicatedRun
from trainables.checkpoint import load_state, save_states
from trainables.evaluation.predictions import (
    PREDICTIONS,
    Predictions,
    read_predictions,
    write_predictions,
)
from trainables.stages.protocol import (
    StageCache,
    StageClaim,
    StageEntry,
    StageFullError,
    WaitStoppedError,
)


class NotStoredError(Exception):
    """Trained epochs could not be written to the cache; the message says why."""


@dataclass(frozen=True)
class Span:
    """The first epochs of a run, as a stage.

    Attributes:
        stage: Name of the stage.
        inputs: Everything that the reports of these epochs, and the state after them, depend on.
        num_epochs: At least 1.
        is_resumable: Whether runs continue from the end of these epochs. If so, the state is
            stored too, and other trials wait for the one that trains them; else nobody waits.
    """

    stage: str
    inputs: Mapping[str, Any]
    num_epochs: int
    is_resumable: bool


class CachedRun:
    """A run that reuses training from a stage cache where it can, and stores its own there.

    Of two trials with equal pre-training the first trains it and the second waits. A trial that
    restarts in the middle of it does not wait: if another trial trains by then, both do. Nobody
    waits for a whole training, because the other trial may be stopped long before its end.

    Args:
        run: Before its first epoch.
        cache: The stage cache.
        spans: Parts of the training to share, longer ones first; may be empty.
        patience_s: Longest wait for another trial; after it this trial trains for itself and
            stores nothing. None waits without limit.
        while_waiting: Called at least once a second while waiting for another trial.

    Attributes:
        epoch: Number of reported epochs; while reports are reused, the network is ahead of it.
        lineage: Stage to its outcome, key and training seconds, once these are known.
        tags: Notes for readers of the results, if a part was not shared.
    """

    def __init__(
        self,
        run: AdaptationRun | ReplicatedRun,
        cache: StageCache,
        spans: Sequence[Span],
        patience_s: float | None = None,
        while_waiting: Callable[[], None] = lambda: None,
    ) -> None:
        self._run, self._cache, self._spans = run, cache, spans
        self._patience_s, self._while_waiting = patience_s, while_waiting
        self._has_opened = False
        self._claims: dict[str, StageClaim] = {}
        self._results: list[dict[str, float]] = []
        self._seconds = 0.0
        self.epoch = 0
        self.lineage: dict[str, list[str | float]] = {}
        self.tags: dict[str, str] = {}

    @property
    def total_epochs(self) -> int:
        """Epochs of the whole training."""
        return self._run.total_epochs

    @property
    def is_done(self) -> bool:
        """Whether all epochs have been reported."""
        return self.epoch >= self.total_epochs

    @property
    def has_state(self) -> bool:
        """Whether there is a state of the last reported epoch to save."""
        return self.epoch == self._run.epoch or self.is_done

    @property
    def best(self) -> dict[str, Any]:
        """See :class:`AdaptationRun`."""
        return self._run.best

    @best.setter
    def best(self, best: dict[str, Any]) -> None:
        self._run.best = best

    @property
    def predictions(self) -> Predictions | None:
        """See :class:`AdaptationRun`; those of a reused training are there from its start."""
        return self._run.predictions

    def run_epoch(self) -> dict[str, float]:
        """Report the next epoch: reuse its stored report, or train and evaluate it.

        Raises:
            Whatever :meth:`AdaptationRun.run_epoch` raises; another trial may train then.
        """
        try:
            return self._next_epoch()
        except BaseException:
            self.release()
            raise

    def _next_epoch(self) -> dict[str, float]:
        if not self._has_opened:
            self._has_opened = True
            self._open_spans()
        is_stored = self.epoch < len(self._results)
        metrics = self._results[self.epoch] if is_stored else self._train()
        self.epoch += 1
        for span in self._spans:
            if span.num_epochs == self.epoch and span.stage in self._claims:
                self._publish(span, self._claims.pop(span.stage))
        return dict(metrics)

    def _train(self) -> dict[str, float]:
        start = time.monotonic()
        metrics = self._run.run_epoch()
        self._results.append(metrics)
        self._seconds += time.monotonic() - start
        return metrics

    def _open_spans(self) -> None:
        """Reuse the longest stored span; claim those that are not stored."""
        for span in self._spans:
            if self.epoch >= span.num_epochs:
                continue
            claim = self._claim(span)
            if claim is None:
                continue
            if claim.entry is None:
                self._claims[span.stage] = claim
                continue
            self._reuse(span, claim.entry)
            return

    def _claim(self, span: Span) -> StageClaim | None:
        start = time.monotonic()

        def should_stop() -> bool:
            self._while_waiting()
            waited_s = time.monotonic() - start
            is_impatient = self._patience_s is not None and waited_s > self._patience_s
            return not span.is_resumable or self.epoch > 0 or is_impatient

        try:
            return self._cache.claim(span.stage, span.inputs, should_stop)
        except WaitStoppedError:
            self.tags[span.stage] = "trained although another trial was training the same"
        except StageFullError as error:
            self._note_not_stored(span, error)
        return None

    def _note_not_stored(self, span: Span, error: Exception) -> None:
        """This trial loses nothing by it; other trials train for themselves."""
        self.tags[span.stage] = f"not stored for other trials: {error}"

    def _reuse(self, span: Span, entry: StageEntry) -> None:
        self._results = load_state(entry.path, "results")
        self._run.best = load_state(entry.path, "best")
        if span.num_epochs == self.total_epochs:
            self._run.predictions = read_predictions(entry.path / PREDICTIONS)
        if span.is_resumable:
            self._run.load_state_dict(load_state(entry.path))
            self._seconds = entry.seconds
        self.lineage[span.stage] = [entry.outcome, entry.key, entry.seconds]

    def _publish(self, span: Span, claim: StageClaim) -> None:
        states = {"best": self._run.best, "results": self._results}
        if span.is_resumable:
            states["last"] = self._run.state_dict()

        def fill(folder: Path) -> None:
            try:
                save_states(folder, states)
                if self._run.predictions is not None:
                    write_predictions(folder / PREDICTIONS, self._run.predictions)
            except (OSError, RuntimeError) as error:  # PyTorch raises a RuntimeError
                raise NotStoredError(str(error)) from error

        try:
            entry = claim.publish(fill, self._seconds)
        except (NotStoredError, StageFullError) as error:
            self._note_not_stored(span, error)
        else:
            self.lineage[span.stage] = [entry.outcome, entry.key, entry.seconds]
        claim.release()

    def state_dict(self) -> dict[str, Any]:
        """The state of :meth:`AdaptationRun.state_dict`, and what will be stored in the cache.

        A run that reused its whole training has no state of its own; nothing resumes from it.

        Raises:
            ValueError: While stored reports are reused.
        """
        if not self.has_state:
            raise ValueError(f"there is no state of epoch {self.epoch}, which was not trained")
        is_trained = self.epoch == self._run.epoch
        return {
            "run": self._run.state_dict() if is_trained else None,
            "results": self._results,
            "seconds": self._seconds,
            "inputs": {span.stage: dict(span.inputs) for span in self._spans},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned.

        A span that began with other inputs, for example on a node with other numerics, is not
        stored for other trials.
        """
        if state["run"] is not None:
            self._run.load_state_dict(state["run"])
        self._results, self._seconds = state["results"], state["seconds"]
        self.epoch = len(self._results)
        began = state["inputs"]
        self._spans = [span for span in self._spans if began.get(span.stage) == span.inputs]

    def release(self) -> None:
        """Let another trial train what this one did not finish."""
        while self._claims:
            self._claims.popitem()[1].release()

    def close(self) -> None:
        """Release all claims and end the other processes of the trial."""
        self.release()
        if isinstance(self._run, ReplicatedRun):
            self._run.close()
