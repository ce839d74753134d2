"""Lists the entries of a stage cache and removes those that are not needed.

An entry that a running process uses or computes is never removed.
"""

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from harness.record.quantities import duration_text, size_text
from harness.stage_cache.entry import beside, lock_path, remove
from harness.stage_cache.locks import lock_owner, try_compute_lock, unused
from harness.stage_cache.manifest import (
    MANIFEST,
    Manifest,
    StageDamagedError,
    read_manifest,
    reading,
    verify,
)
from trainables.stages.protocol import StageError

_KEY = "[0-9a-f]{16}"
"""Names of entries; other files in the folder are left alone."""
NO_RULE = "no rule was given"


@dataclass(frozen=True)
class StoredStage:
    """An entry of the cache, undamaged or not.

    Attributes:
        path: The folder, ``<root>/<stage>/<key>``.
        size: Bytes according to the manifest; of a damaged entry, the bytes on disk.
        last_used: When a trial last used it, in seconds since 1970.
        manifest: None if it cannot be read.
        damage: What is wrong with the entry; None if nothing was found.
    """

    path: Path
    size: int
    last_used: float
    manifest: Manifest | None
    damage: str | None

    @property
    def name(self) -> str:
        """``<stage>/<key>``."""
        return f"{self.path.parent.name}/{self.path.name}"


@dataclass(frozen=True)
class PruneRules:
    """Rules by which entries are removed: an entry to which any rule applies, none without a rule.

    Attributes:
        older_than_s: Remove entries that were not used for so many seconds.
        total_bytes: Remove the least recently used entries until so many bytes are left.
        damaged: Remove damaged entries; all files are read to find them.
        everything: Remove all entries.
    """

    older_than_s: float | None = None
    total_bytes: float | None = None
    damaged: bool = False
    everything: bool = False


@dataclass(frozen=True)
class PrunedItem:
    """An entry, or remains of a killed process, after pruning.

    Attributes:
        name: Path below the root.
        size: Bytes.
        why: Which rule applied to it; None if none did.
        kept: Why it was kept; None if it was removed.
    """

    name: str
    size: int
    why: str | None
    kept: str | None


def stored_stages(
    root: Path, stage: str | None = None, *, with_digests: bool = False
) -> list[StoredStage]:
    """All entries of a cache, or those of one stage, sorted by stage and last use.

    Args:
        root: Folder of the cache; may be missing.
        stage: Name of a stage; None for all.
        with_digests: Whether to compare the content of all files, too, not only their sizes.

    Raises:
        StageError: If something cannot be read.
    """
    found = []
    for parent in _parents(root, stage):
        entries = [
            _stored(path, with_digests)
            for path in _listed(parent)
            if re.fullmatch(_KEY, path.name)
        ]
        found += sorted((e for e in entries if e is not None), key=lambda entry: entry.last_used)
    return found


def prune(
    root: Path, rules: PruneRules, stage: str | None = None, *, dry_run: bool = False
) -> Iterator[PrunedItem]:
    """Remove entries, then the remains of killed processes.

    Args:
        root: Folder of the cache.
        rules: Which entries to remove.
        stage: Name of the only stage to prune; None for all.
        dry_run: Whether to report what would be removed, and remove nothing.

    Yields:
        One item for each entry and each remaining file or folder, once it is dealt with.

    Raises:
        StageError: If something cannot be read or removed.
    """
    entries = stored_stages(root, stage, with_digests=rules.damaged)
    entries.sort(key=lambda entry: entry.last_used)
    total, now, rest = sum(entry.size for entry in entries), time.time(), []
    for entry in entries:
        why = _reason(entry, rules, now)
        if why is None:
            rest.append(entry)
            continue
        item = _prune_entry(entry, why, dry_run)
        total -= 0 if item.kept else entry.size
        yield item
    limit = rules.total_bytes
    for entry in rest:
        if limit is None or total <= limit:
            yield PrunedItem(entry.name, entry.size, None, _spared(rules))
            continue
        why = f"{size_text(total)} are more than {size_text(limit)}"
        item = _prune_entry(entry, why, dry_run)
        total -= 0 if item.kept else entry.size
        yield item
    for parent in _parents(root, stage):
        yield from _prune_left_behind(parent, dry_run)


def _reason(entry: StoredStage, rules: PruneRules, now: float) -> str | None:
    if rules.everything:
        return "all"
    if rules.damaged and entry.damage is not None:
        return entry.damage
    unused_s = now - entry.last_used
    if rules.older_than_s is not None and unused_s > rules.older_than_s:
        return f"not used for {duration_text(unused_s)}"
    return None


def _spared(rules: PruneRules) -> str:
    """Why an entry stays to which no rule applies."""
    reasons = []
    if rules.older_than_s is not None:
        reasons.append(f"used within the last {duration_text(rules.older_than_s)}")
    if rules.damaged:
        reasons.append("undamaged")
    if rules.total_bytes is not None:
        reasons.append(f"within a total of {size_text(rules.total_bytes)}")
    return " and ".join(reasons) or NO_RULE


def _prune_entry(entry: StoredStage, why: str, dry_run: bool) -> PrunedItem:
    with _sole(entry.path, dry_run) as kept:
        in_use = kept is None and not _take_out(entry.path, dry_run)
    return PrunedItem(
        entry.name, entry.size, why, "in use by a running process" if in_use else kept
    )


def _take_out(folder: Path, dry_run: bool) -> bool:
    """Remove an entry unless it is in use; returns whether it was removed, or would be."""
    aside = beside(folder)
    with reading(folder / MANIFEST), unused(folder / MANIFEST) as is_unused:
        if is_unused and not dry_run:
            folder.rename(aside)
    remove(aside)  # outside the block: under this name no process can start to use it
    return is_unused


def _prune_left_behind(parent: Path, dry_run: bool) -> Iterator[PrunedItem]:
    """Remove unfinished folders and lock files of processes that are gone."""
    paths: dict[str, list[Path]] = {}
    for path in _listed(parent):
        if found := re.fullmatch(rf"\.({_KEY})\..+", path.name):
            paths.setdefault(found[1], []).append(path)
    for key, left in paths.items():
        with _sole(parent / key, dry_run) as hindrance:
            if hindrance is not None:  # the process is alive
                continue
            items = [
                PrunedItem(
                    f"{parent.name}/{path.name}",
                    _bytes_below(path),
                    "left by a killed process",
                    None,
                )
                for path in left
                if os.path.lexists(path)  # the process may have removed it meanwhile
            ]
            for path in () if dry_run else left:
                if path != lock_path(parent / key):  # releasing it removes it
                    remove(path)
        yield from items


@contextmanager
def _sole(folder: Path, dry_run: bool) -> Iterator[str | None]:
    """Keep others from computing an entry within the block; yields why if that is impossible."""
    path = lock_path(folder)
    leave_file = dry_run and path.exists()
    lock = try_compute_lock(path)
    if lock is None:
        yield f"being computed by {lock_owner(path)}"
        return
    try:
        yield None
    except (OSError, StageDamagedError) as error:
        raise StageError(f"{folder} cannot be removed: {error}") from error
    finally:
        lock.release(leave_file=leave_file)


def _stored(path: Path, with_digests: bool) -> StoredStage | None:
    """An entry; None if it was removed meanwhile."""
    try:
        last_used = _last_used(path)
    except FileNotFoundError:
        return None
    manifest = None
    try:
        manifest = read_manifest(path)
        verify(path, manifest, with_digests=with_digests)
    except StageDamagedError as error:
        if not path.exists():
            return None
        return StoredStage(path, _bytes_below(path), last_used, manifest, str(error))
    return StoredStage(path, manifest.size, last_used, manifest, None)


def _last_used(path: Path) -> float:
    try:
        return (path / MANIFEST).stat().st_mtime
    except OSError:
        return path.stat().st_mtime


def _parents(root: Path, stage: str | None) -> list[Path]:
    if not root.exists():
        return []
    return [
        path for path in _listed(root) if path.is_dir() and (stage is None or path.name == stage)
    ]


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise StageError(f"{folder} cannot be read: {error.strerror}") from error


def _bytes_below(path: Path) -> int:
    """Bytes of a file, or of all files in a folder that do not vanish meanwhile."""
    files = [path] if not path.is_dir() else []
    for folder, _, names in os.walk(path):
        files += [Path(folder, name) for name in names]
    total = 0
    for file in files:
        with suppress(FileNotFoundError):
            total += file.lstat().st_size
    return total
