"""The interface between a trial and a stage cache.

A stage is a folder of arrays that depends only on named inputs. A trial says which stage it needs
and how to compute it; the harness decides where the folders are kept
(``harness/stage_cache/cache.py``).
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

from trainables.full_disk import is_no_space

Outcome = Literal["hit", "miss", "repaired"]
"""The stage was found, was computed, or was computed again because the stored one was damaged."""


class StageError(Exception):
    """A stage cannot be read, written or locked; the message names the path."""


class StageFullError(StageError):
    """The disk has no space for a stage."""


def stage_error(error: OSError, what: str) -> StageError:
    """The error of a stage that the operating system's error means.

    Args:
        error: Says why.
        what: Which path cannot be what: the start of the sentence.
    """
    kind = StageFullError if is_no_space(error) else StageError
    return kind(f"{what}: {error.strerror}")


class WaitStoppedError(Exception):
    """``should_stop`` ended the wait for a stage that another process computes."""


class StageEntry(Protocol):
    """A finished stage."""

    @property
    def path(self) -> Path:
        """Folder with the stage's files; only to be read."""
        ...

    @property
    def key(self) -> str:
        """Hash of the stage's name and inputs."""
        ...

    @property
    def outcome(self) -> Outcome:
        """Whether it was found or computed."""
        ...

    @property
    def seconds(self) -> float:
        """Time that computing it took; for a hit, when it was computed."""
        ...


class StageClaim(Protocol):
    """A finished stage, or the right to compute it until the holder or the ``with`` block ends."""

    @property
    def entry(self) -> StageEntry | None:
        """The stage; None while the holder of the claim has yet to compute it."""
        ...

    def publish(self, fill: Callable[[Path], None], seconds: float | None = None) -> StageEntry:
        """Publish the computed files as the stage, and release the claim.

        Args:
            fill: Writes the files into an empty folder; if it raises, nothing is kept and the
                claim remains.
            seconds: Time that computing them took; None for the time since the claim.
        """
        ...

    def release(self) -> None:
        """Let another process compute the stage; no effect if it is finished."""
        ...

    def __enter__(self) -> "StageClaim": ...

    def __exit__(self, *_: object) -> None: ...


class StageCache(Protocol):
    """Finds or computes stages."""

    def get(
        self, stage: str, inputs: Mapping[str, Any], compute: Callable[[Path], None]
    ) -> StageEntry:
        """Return a stage, computed by ``compute(folder)`` if it is not stored yet.

        Args:
            stage: Name of the stage.
            inputs: Everything its content depends on, JSON-serialisable.
            compute: Fills an empty folder; if it raises, nothing is kept.
        """
        ...

    def claim(
        self,
        stage: str,
        inputs: Mapping[str, Any],
        should_stop: Callable[[], bool] | None = None,
    ) -> StageClaim:
        """Return the stage if it is finished, else the right to compute it and publish it later.

        For stages whose computation spans many reports of a trial. While another process holds
        the claim, wait until it publishes, releases the claim or dies.

        Args:
            stage: Name of the stage.
            inputs: Everything its content depends on, JSON-serialisable.
            should_stop: Called at least every half second while waiting; True ends the wait with
                :class:`WaitStoppedError`.
        """
        ...
