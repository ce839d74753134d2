"""Training as a stage: trials that see the same of it train it once.

Two spans of a run are shared. Pre-training, with any trial that sees the same of it: stored are
the state after its last epoch and what each of its epochs reported, so that a trial that finds
it there reports the same curve, and goes on from the same state bit for bit, as one that trained
for itself. And the whole run, with a trial that is the same in everything, as the baselines of
two studies are: stored are its reports and its best network, as nothing goes on from there.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainables.adapt.adaptation_run import AdaptationRun
from trainables.adapt.replicas import ReplicatedRun
from trainables.checkpoint import load_state, save_states
from trainables.stages.protocol import (
    StageCache,
    StageClaim,
    StageEntry,
    StageFullError,
    WaitStoppedError,
)


class NotKeptError(Exception):
    """What was trained could not be written; carries why."""


@dataclass(frozen=True)
class Span:
    """The first epochs of a run, as a stage.

    Attributes:
        stage: Name of the stage.
        inputs: All that the reports of these epochs, and the state after them, depend on.
        num_epochs: At least 1.
        goes_on: Whether a run may go on from their end. Then its state is stored, and another
            trial that trains them is waited for; else only what was found is, and nobody waits.
    """

    stage: str
    inputs: Mapping[str, Any]
    num_epochs: int
    goes_on: bool


class StagedRun:
    """A run that takes what it can of its training from a stage cache, and leaves it there.

    Of two trials with equal pre-training the first trains and the second waits. Who is started
    again in the middle of it does not wait: if another trains by then, both do. A whole run is
    never waited for: the other trial may be stopped long before its end.

    Args:
        run: Before its first epoch.
        cache: Where stages are kept.
        spans: With a stage each, the longer ones first; may be empty.
        patience_s: Longest wait for another trial, after which this one trains for itself and
            leaves nothing; None for any.
        while_waiting: Called at least every second while another trial is waited for.

    Attributes:
        epoch: Epochs that have been reported; behind the network's while a stored training is
            told.
        lineage: Stage to its outcome, key and training seconds, once these are known.
        tags: What a reader should know, if something could not be kept.
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
        self._is_asked = False
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
    def is_at_its_epoch(self) -> bool:
        """Whether the state is that of the last reported epoch, and may be saved."""
        return self.epoch == self._run.epoch or self.is_done

    @property
    def best(self) -> dict[str, Any]:
        """See :class:`AdaptationRun`."""
        return self._run.best

    @best.setter
    def best(self, best: dict[str, Any]) -> None:
        self._run.best = best

    def run_epoch(self) -> dict[str, float]:
        """Train and judge an epoch, or tell what a stored training reported for it.

        Raises:
            Whatever :meth:`AdaptationRun.run_epoch` raises; another trial may train then.
        """
        try:
            return self._next_epoch()
        except BaseException:
            self.release()
            raise

    def _next_epoch(self) -> dict[str, float]:
        if not self._is_asked:
            self._is_asked = True
            self._ask()
        is_told = self.epoch < len(self._results)
        metrics = self._results[self.epoch] if is_told else self._train()
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

    def _ask(self) -> None:
        """Take what is stored, or the right to store it."""
        for span in self._spans:
            if self.epoch >= span.num_epochs:
                continue
            claim = self._claim(span)
            if claim is None:
                continue
            if claim.entry is None:
                self._claims[span.stage] = claim
                continue
            self._take(span, claim.entry)
            return

    def _claim(self, span: Span) -> StageClaim | None:
        start = time.monotonic()

        def should_stop() -> bool:
            self._while_waiting()
            waited_s = time.monotonic() - start
            is_impatient = self._patience_s is not None and waited_s > self._patience_s
            return not span.goes_on or self.epoch > 0 or is_impatient

        try:
            return self._cache.claim(span.stage, span.inputs, should_stop)
        except WaitStoppedError:
            self.tags[span.stage] = "trained beside another trial that trains the same"
        except StageFullError as error:
            self._not_kept(span, error)
        return None

    def _not_kept(self, span: Span, error: Exception) -> None:
        """This trial loses nothing by it, and others train for themselves."""
        self.tags[span.stage] = f"not kept for other trials: {error}"

    def _take(self, span: Span, entry: StageEntry) -> None:
        self._results = load_state(entry.path, "results")
        self._run.best = load_state(entry.path, "best")
        if span.goes_on:
            self._run.load_state_dict(load_state(entry.path))
            self._seconds = entry.seconds
        self.lineage[span.stage] = [entry.outcome, entry.key, entry.seconds]

    def _publish(self, span: Span, claim: StageClaim) -> None:
        states = {"best": self._run.best, "results": self._results}
        if span.goes_on:
            states["last"] = self._run.state_dict()

        def fill(folder: Path) -> None:
            try:
                save_states(folder, states)
            except (OSError, RuntimeError) as error:  # PyTorch's own is a RuntimeError
                raise NotKeptError(str(error)) from error

        try:
            entry = claim.publish(fill, self._seconds)
        except (NotKeptError, StageFullError) as error:
            self._not_kept(span, error)
        else:
            self.lineage[span.stage] = [entry.outcome, entry.key, entry.seconds]
        claim.release()

    def state_dict(self) -> dict[str, Any]:
        """See :meth:`AdaptationRun.state_dict`, and what is to be stored with it.

        Of a run that was told whole there is no state, and nothing that would go on from it.

        Raises:
            ValueError: While a stored training is told.
        """
        if not self.is_at_its_epoch:
            raise ValueError(f"there is no state of epoch {self.epoch}, which was not trained")
        is_trained = self.epoch == self._run.epoch
        return {
            "run": self._run.state_dict() if is_trained else None,
            "results": self._results,
            "seconds": self._seconds,
            "inputs": {span.stage: dict(span.inputs) for span in self._spans},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where :meth:`state_dict` was taken.

        What began with other inputs, as on a node with other arithmetic, is not left to others.
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
        """Release what is claimed and end the other processes of the trial."""
        self.release()
        if isinstance(self._run, ReplicatedRun):
            self._run.close()
