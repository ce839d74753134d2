"""Content-addressed cache of the stages that trials share.

A stage's key is a hash of its name and of everything its content depends on. Its folder
appears under its final name only when it is complete, so a reader never sees half a stage.
One process computes a stage, the others wait for it. The lock is the kernel's (``flock``):
it is released when its holder dies, however it dies.
"""

import fcntl
import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_DESCRIPTION = "stage.json"


@dataclass(frozen=True)
class StageEntry:
    """A finished stage; see :class:`trainables.stages.StageEntry`."""

    path: Path
    key: str
    hit: bool


@dataclass(frozen=True)
class StageCache:
    """Stages under one folder; picklable, so that it travels to the trials.

    Attributes:
        root: Absolute folder, ``<root>/<stage>/<key>/``.
    """

    root: Path

    def get(
        self, stage: str, inputs: Mapping[str, Any], compute: Callable[[Path], None]
    ) -> StageEntry:
        """See :meth:`trainables.stages.StageCache.get`.

        Raises:
            Whatever ``compute`` raises; nothing is kept then.
        """
        key = stage_key(stage, inputs)
        folder = self.root / stage / key
        folder.parent.mkdir(parents=True, exist_ok=True)
        if (folder / _DESCRIPTION).is_file():
            return StageEntry(folder, key, hit=True)
        with _locked(folder.parent / f".{key}.lock"):
            if (folder / _DESCRIPTION).is_file():
                return StageEntry(folder, key, hit=True)
            for abandoned in folder.parent.glob(f".{key}.*/"):  # by a process that was killed
                shutil.rmtree(abandoned, ignore_errors=True)
            partial = Path(tempfile.mkdtemp(prefix=f".{key}.", dir=folder.parent))
            try:
                compute(partial)
                description = {"stage": stage, "key": key, "inputs": dict(inputs)}
                (partial / _DESCRIPTION).write_text(json.dumps(description, indent=1))
                partial.rename(folder)
            except BaseException:
                shutil.rmtree(partial, ignore_errors=True)
                raise
        return StageEntry(folder, key, hit=False)


def stage_key(stage: str, inputs: Mapping[str, Any]) -> str:
    """16 hex digits of the SHA-256 of a stage's name and inputs in canonical JSON."""
    text = json.dumps([stage, inputs], sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
