"""What a trial asks of a stage cache.

A stage is a folder of arrays that depends on named inputs alone. Who keeps the folders, and
where, is the harness's business (``harness/stage_cache/cache.py``); a trial only says what it
needs and how to make it.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

from trainables.full_disk import is_no_space

Outcome = Literal["hit", "miss", "repaired"]
"""A stage was there, was computed, or was computed again since what was there was damaged."""


class StageError(Exception):
    """A stage cannot be read, written or locked; one sentence with the path."""


class StageFullError(StageError):
    """There is no space for a stage."""


def stage_error(error: OSError, what: str) -> StageError:
    """The error of a stage that the operating system's error means.

    Args:
        error: Says why.
        what: Which path cannot be what: the start of the sentence.
    """
    kind = StageFullError if is_no_space(error) else StageError
    return kind(f"{what}: {error.strerror}")


class WaitStoppedError(Exception):
    """A process gave up waiting for a stage that another computes, as it was asked to."""


class StageEntry(Protocol):
    """A finished stage."""

    @property
    def path(self) -> Path:
        """Folder with the stage's files; read only."""
        ...

    @property
    def key(self) -> str:
        """Hash of the stage's name and inputs."""
        ...

    @property
    def outcome(self) -> Outcome:
        """How it came about."""
        ...

    @property
    def seconds(self) -> float:
        """What computing it took, now or, for a hit, whenever that was."""
        ...

    @property
    def hit(self) -> bool:
        """Whether it was there already."""
        ...


class StageClaim(Protocol):
    """A finished stage, or the right to compute it, which ends with its holder or the block."""

    @property
    def entry(self) -> StageEntry | None:
        """The stage; None as long as it is to be computed by the holder of the claim."""
        ...

    def publish(self, fill: Callable[[Path], None], seconds: float | None = None) -> StageEntry:
        """Make what was computed the stage, and release the claim.

        Args:
            fill: Writes the files into an empty folder; may raise, then nothing is kept and the
                claim goes on.
            seconds: What computing them took; None for the time since the claim was taken.
        """
        ...

    def release(self) -> None:
        """Let another process compute the stage; nothing if it is finished."""
        ...

    def __enter__(self) -> "StageClaim": ...

    def __exit__(self, *_: object) -> None: ...


class StageCache(Protocol):
    """Folders of finished stages."""

    def get(
        self, stage: str, inputs: Mapping[str, Any], compute: Callable[[Path], None]
    ) -> StageEntry:
        """The folder of a stage, computed by ``compute(folder)`` if nobody has done so.

        Args:
            stage: Name of the stage.
            inputs: Everything its content depends on, JSON-serialisable.
            compute: Fills an empty folder; may raise, then nothing is kept.
        """
        ...

    def claim(
        self,
        stage: str,
        inputs: Mapping[str, Any],
        should_stop: Callable[[], bool] | None = None,
    ) -> StageClaim:
        """The stage if it is finished, else the right to compute it, to be published later.

        For a stage that is computed over many reports of a trial. Another process that holds the
        claim is waited for: until it publishes, releases it or dies.

        Args:
            stage: Name of the stage.
            inputs: Everything its content depends on, JSON-serialisable.
            should_stop: Asked now and then while waiting, at most half a second apart; True ends
                the wait with :class:`WaitStoppedError`.
        """
        ...
