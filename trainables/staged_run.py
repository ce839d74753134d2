"""Pre-training as a stage: trials that see the same of it train it once.

What is stored is the state of a run after its last pre-training epoch and what each of these
epochs reported, so that a trial that finds it there reports the same curve, and goes on from
the same state bit for bit, as one that trained for itself.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from trainables.adapt.fit import AdaptationRun
from trainables.adapt.replicas import ReplicatedRun
from trainables.checkpoint import load_state, save_states
from trainables.stage_protocol import StageCache, StageClaim, WaitStoppedError

STAGE = "pretrain"


class NotKeptError(Exception):
    """The state after pre-training could not be written; carries why."""


class StagedRun:
    """A run that takes its pre-training from a stage cache, or leaves it there.

    Of two trials with equal inputs the first trains and the second waits. Who is started again
    in the middle of its pre-training does not wait: if another trains by then, both do.

    Args:
        run: Before its first epoch.
        cache: Where stages are kept.
        inputs: From :func:`trainables.pretrain_stage.pretraining_inputs`.
        num_epochs: Of pre-training; 0 has nothing to share.
        patience_s: Longest wait for another trial, after which this one trains for itself and
            leaves nothing; None for any.
        while_waiting: Called at least every second while another trial is waited for.

    Attributes:
        epoch: Epochs that have been reported; behind the network's while a stored pre-training
            is told.
        lineage: The stage's outcome, key and training seconds, once these are known; else empty.
        tags: What a reader should know, if the state could not be kept.
    """

    def __init__(
        self,
        run: AdaptationRun | ReplicatedRun,
        cache: StageCache,
        inputs: Mapping[str, Any],
        num_epochs: int,
        patience_s: float | None = None,
        while_waiting: Callable[[], None] = lambda: None,
    ) -> None:
        self._run, self._cache, self._inputs = run, cache, inputs
        self._num_epochs, self._patience_s = num_epochs, patience_s
        self._while_waiting = while_waiting
        self._is_asked = False
        self._claim: StageClaim | None = None
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
        return self.epoch == self._run.epoch

    @property
    def best(self) -> dict[str, Any]:
        """See :class:`AdaptationRun`."""
        return self._run.best

    @best.setter
    def best(self, best: dict[str, Any]) -> None:
        self._run.best = best

    def run_epoch(self) -> dict[str, float]:
        """Train and judge an epoch, or tell what a stored pre-training reported for it.

        Raises:
            Whatever :meth:`AdaptationRun.run_epoch` raises; another trial may train then.
        """
        try:
            return self._next_epoch()
        except BaseException:
            self.release()
            raise

    def _next_epoch(self) -> dict[str, float]:
        if self.epoch < self._num_epochs and not self._is_asked:
            self._ask()
        is_stored = self.epoch < self._run.epoch
        metrics = self._results[self.epoch] if is_stored else self._train()
        self.epoch += 1
        if self.epoch == self._num_epochs and self._claim is not None:
            self._publish(self._claim)
        return dict(metrics)

    def _train(self) -> dict[str, float]:
        start = time.monotonic()
        metrics = self._run.run_epoch()
        if self.epoch < self._num_epochs:
            self._results.append(metrics)
            self._seconds += time.monotonic() - start
        return metrics

    def _ask(self) -> None:
        """Take the stored state, or the right to store it."""
        self._is_asked = True
        start = time.monotonic()

        def should_stop() -> bool:
            self._while_waiting()
            waited_s = time.monotonic() - start
            return self.epoch > 0 or (self._patience_s is not None and waited_s > self._patience_s)

        try:
            claim = self._cache.claim(STAGE, self._inputs, should_stop)
        except WaitStoppedError:
            self.tags = {"pretraining": "trained beside another trial that trains the same"}
            return
        entry = claim.entry
        if entry is None:
            self._claim = claim
            return
        self._run.load_state_dict(load_state(entry.path))
        self._run.best = load_state(entry.path, "best")
        self._results = load_state(entry.path, "results")
        self.lineage = {STAGE: [entry.outcome, entry.key, entry.seconds]}

    def _publish(self, claim: StageClaim) -> None:
        states = {
            "last": self._run.state_dict(),
            "best": self._run.best,
            "results": self._results,
        }

        def fill(folder: Path) -> None:
            try:
                save_states(folder, states)
            except (OSError, RuntimeError) as error:  # PyTorch's own is a RuntimeError
                raise NotKeptError(str(error)) from error

        try:
            entry = claim.publish(fill, self._seconds)
        except NotKeptError as error:
            # The network is trained: this trial loses nothing, and others train for themselves.
            self.tags = {"pretraining": f"not kept for other trials: {error}"}
        else:
            self.lineage = {STAGE: [entry.outcome, entry.key, entry.seconds]}
        self.release()

    def state_dict(self) -> dict[str, Any]:
        """See :meth:`AdaptationRun.state_dict`, and what is to be stored with it.

        Raises:
            ValueError: While a stored pre-training is told.
        """
        if not self.is_at_its_epoch:
            raise ValueError(f"there is no state of epoch {self.epoch}, which was not trained")
        results = self._results if self.epoch < self._num_epochs else []
        return {"run": self._run.state_dict(), "results": results, "seconds": self._seconds}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where :meth:`state_dict` was taken."""
        self._run.load_state_dict(state["run"])
        self._results, self._seconds = state["results"], state["seconds"]
        self.epoch = self._run.epoch

    def release(self) -> None:
        """Let another trial train what this one did not finish."""
        if self._claim is not None:
            self._claim.release()
            self._claim = None

    def close(self) -> None:
        """Release what is claimed and end the other processes of the trial."""
        self.release()
        if isinstance(self._run, ReplicatedRun):
            self._run.close()
