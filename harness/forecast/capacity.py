"""What the machine has, against what a study will need."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from harness.record.quantities import size_text

SPARE, BUSY = 0.05, 0.5
"""Share of a disk below which free space is warned of; load of a core that counts as busy."""


@dataclass(frozen=True)
class Machine:
    """Bytes free on the storage's disk and in all, bytes of memory, load before, cores."""

    free_bytes: int
    disk_bytes: int
    memory_bytes: int
    load: float = 0.0
    cpus: int = 1

    def warnings(self, disk: float, memory: float) -> list[str]:
        """What may go wrong with a study that takes so many bytes; sentences."""
        found, left = [], self.free_bytes - disk
        if 0 <= left < SPARE * self.disk_bytes:
            found.append(
                f"the study may leave {size_text(left)} free on the storage's file system, less "
                f"than {SPARE:.0%} of it"
            )
        if memory > self.memory_bytes:
            found.append(
                f"the processes may need {size_text(memory)} of memory, the machine lets them "
                f"have {size_text(self.memory_bytes)}; set resources.parallel lower"
            )
        if self.load > BUSY * self.cpus:
            found.append(
                f"the machine was busy before the measurement (load {self.load:.1f} on "
                f"{self.cpus} cores); an idle one is faster than this"
            )
        return found

    def refusal(self, disk: float, memory: float) -> str | None:
        """Why a study that takes so many bytes with one trial at a time must not start."""
        if disk > self.free_bytes:
            return (
                f"--storage: the study needs up to {size_text(disk)} of disk, the file system has "
                f"{size_text(self.free_bytes)} free"
            )
        if memory > self.memory_bytes:
            return (
                f"a single trial needs {size_text(memory)} of memory, Ray's processes included; "
                f"the machine lets them have {size_text(self.memory_bytes)}"
            )
        return None


def this_computer(storage: Path) -> Machine:
    """This machine, and the disk of a storage that need not exist yet."""
    disk = shutil.disk_usage(next(p for p in (storage, *storage.parents) if p.exists()))
    memory = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for limit in ("memory.max", "memory/memory.limit_in_bytes"):  # of a container
        path = Path("/sys/fs/cgroup", limit)
        text = path.read_text().strip() if path.is_file() else "max"
        memory += [int(text)] if text.isdigit() else []
    cpus = len(os.sched_getaffinity(0))
    return Machine(disk.free, disk.total, min(memory), os.getloadavg()[0], cpus)
