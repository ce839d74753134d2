"""What the machine has, against what a study will need."""

import os
from dataclasses import dataclass
from pathlib import Path

from harness.record.quantities import size_text

SPARE = 0.05
"""Share of a file system below which free space is warned of."""
BUSY = 0.5
"""Load of a core by others from which the measured times are called those of a busy machine."""


@dataclass(frozen=True)
class Interval:
    """A median and its 90 % interval."""

    low: float
    middle: float
    high: float

    def __str__(self) -> str:
        return f"{self.middle:.3g} [{self.low:.3g}, {self.high:.3g}]"


@dataclass(frozen=True)
class Machine:
    """What is there.

    Attributes:
        free_bytes: Free for us on the storage's file system.
        disk_bytes: Size of that file system.
        memory_bytes: Memory that the processes may have together.
        load: Processes that were running already.
        cpus: Cores.
    """

    free_bytes: int
    disk_bytes: int
    memory_bytes: int
    load: float = 0.0
    cpus: int = 1


def this_computer(storage_root: Path) -> Machine:
    """Disk of a storage that need not exist yet, memory and load of this machine."""
    place = storage_root.resolve()
    while not place.exists():
        place = place.parent
    disk = os.statvfs(place)
    return Machine(
        free_bytes=disk.f_bavail * disk.f_frsize,
        disk_bytes=disk.f_blocks * disk.f_frsize,
        memory_bytes=_memory_limit(),
        load=os.getloadavg()[0],
        cpus=len(os.sched_getaffinity(0)),
    )


def _memory_limit() -> int:
    """The machine's memory, or that of the container's control group (version 2 or 1)."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            text = Path(path).read_text().strip()
        except OSError:  # the other version, or none
            continue
        if text.isdigit():  # else "max"
            limits.append(int(text))
    return min(limits)


def warnings_of(machine: Machine, disk: Interval, memory: Interval) -> list[str]:
    """What may go wrong with so much disk and memory; sentences."""
    warnings = []
    left = machine.free_bytes - disk.high
    if 0 <= left < SPARE * machine.disk_bytes:
        warnings.append(
            f"the study may leave {size_text(left)} free on the storage's file system, less than "
            f"{SPARE:.0%} of it"
        )
    if memory.high > machine.memory_bytes:
        warnings.append(
            f"the processes may need {size_text(memory.high)} of memory, the machine lets them "
            f"have {size_text(machine.memory_bytes)}; set resources.parallel lower"
        )
    if machine.load > BUSY * machine.cpus:
        warnings.append(
            f"the machine was busy before the measurement (load {machine.load:.1f} on "
            f"{machine.cpus} cores); an idle one is faster than this"
        )
    return warnings


def refusal_of(machine: Machine, disk: Interval) -> str | None:
    """Why a study that adds so much to the storage must not start; None if it may."""
    if disk.high <= machine.free_bytes:
        return None
    return (
        f"--storage: the study needs up to {size_text(disk.high)} of disk, the file system has "
        f"{size_text(machine.free_bytes)} free"
    )
