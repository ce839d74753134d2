"""Training states on disk: written atomically, loaded without running pickled code.

Each trial has one folder; a checkpoint in it is a folder ``epoch-00003`` with ``<name>.pt`` files
and ``digests.json``. It is written under another name and renamed once complete. A restarted
trial, on any node, resumes from the newest undamaged checkpoint.
"""

import hashlib
import json
import os
import shutil
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from trainables.full_disk import is_no_space

_DIGESTS = "digests.json"
_EPOCH = "epoch-"
_PARTIAL = ".partial-"


@dataclass(frozen=True)
class Loaded:
    """What :meth:`CheckpointFolder.load` found.

    Attributes:
        epoch: Epoch of the newest undamaged checkpoint; 0 if there is none.
        states: Name to state; empty if there is none.
        damaged: For every newer checkpoint the reason why it could not be read.
    """

    epoch: int
    states: dict[str, Any]
    damaged: list[str]


@dataclass(frozen=True)
class CheckpointFolder:
    """Checkpoints of one trial.

    Attributes:
        folder: Created when needed; on storage that all nodes of a cluster share.
        keep: Number of newest checkpoints to keep: two, in case one is damaged.
    """

    folder: Path
    keep: int = 2

    def save(self, epoch: int, states: Mapping[str, Any]) -> bool:
        """Write a checkpoint, then remove all but the newest :attr:`keep`.

        If the disk is full, remove older checkpoints and try once more.

        Args:
            epoch: Number of the epoch, >= 1; an existing checkpoint of it is replaced.
            states: File name without suffix to tensors and plain values.

        Returns:
            Whether it was written; False if the disk is still full. The newest checkpoint
            is kept in that case.

        Raises:
            OSError: If it cannot be written for another reason.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        for keep in (self.keep, 1):
            try:
                self._write(epoch, states)
            except OSError as error:
                if not is_no_space(error):
                    raise
                self._remove_all_but(keep - 1 or 1)
            else:
                self._remove_all_but(self.keep)
                return True
        return False

    def load(self, names: Sequence[str]) -> Loaded:
        """Load the newest complete checkpoint; damaged ones are skipped."""
        damaged: list[str] = []
        for epoch, path in reversed(self._epochs()):
            try:
                return Loaded(epoch, {name: load_state(path, name) for name in names}, damaged)
            except ValueError as error:
                damaged.append(str(error))
        return Loaded(0, {}, damaged)

    def _write(self, epoch: int, states: Mapping[str, Any]) -> None:
        for abandoned in self.folder.glob(f"{_PARTIAL}*"):  # left by a killed process
            shutil.rmtree(abandoned, ignore_errors=True)
        # One that exists is damaged, or was left by an earlier start of the trial.
        with whole_folder(self.folder / f"{_EPOCH}{epoch:05d}") as partial:
            save_states(partial, states)
        _sync_folder(self.folder)

    def _remove_all_but(self, keep: int) -> None:
        for _, path in self._epochs()[:-keep]:
            # Renamed first: a half-removed checkpoint would look like a damaged one.
            doomed = path.rename(path.with_name(f"{_PARTIAL}{path.name}"))
            shutil.rmtree(doomed, ignore_errors=True)

    def _epochs(self) -> list[tuple[int, Path]]:
        """Checkpoints, oldest first."""
        found = self.folder.glob(f"{_EPOCH}[0-9]*")
        return sorted((int(path.name.removeprefix(_EPOCH)), path) for path in found)


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """A new folder to fill, which then becomes ``target``; an error leaves nothing of it.

    An older ``target`` is replaced. Its parent must exist.
    """
    partial = target.with_name(f"{_PARTIAL}{socket.gethostname()}-{os.getpid()}-{target.name}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
        if target.exists():
            target.rename(partial / "replaced")
        partial.rename(target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    shutil.rmtree(target / "replaced", ignore_errors=True)


def save_states(folder: Path, states: Mapping[str, Any]) -> None:
    """Write states of tensors and plain values into a folder, and their digests last.

    Args:
        folder: Existing folder.
        states: File name without suffix to state.
    """
    digests = {}
    for name, state in states.items():
        path = folder / f"{name}.pt"
        with path.open("wb") as file:
            _save(state, file)
            _to_disk(file)
        digests[path.name] = _sha256(path)
    with (folder / _DIGESTS).open("w") as text:
        json.dump(digests, text)
        _to_disk(text)
    _sync_folder(folder)


def load_state(folder: Path, name: str = "last") -> Any:
    """Read a state of :func:`save_states` to the CPU; pickled code is refused.

    Raises:
        ValueError: If the checkpoint is incomplete or does not match its digest; names the file.
    """
    path = folder / f"{name}.pt"
    try:
        digests = json.loads((folder / _DIGESTS).read_text())
        found = _sha256(path)
    except (OSError, ValueError) as error:  # ValueError: not JSON, or not even text
        raise ValueError(f"checkpoint {folder} is not complete: {error}") from error
    if not isinstance(digests, dict) or digests.get(path.name) != found:
        raise ValueError(f"{path} does not match the digest in {_DIGESTS}; it is damaged")
    return torch.load(path, map_location="cpu", weights_only=True)


def _save(state: Any, file: Any) -> None:
    try:
        torch.save(state, file)
    except RuntimeError as error:
        # PyTorch's own error, about the file's length, hides the disk's error.
        if isinstance(error.__context__, OSError):
            raise error.__context__ from error
        raise


def _to_disk(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Make renames and new files in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
