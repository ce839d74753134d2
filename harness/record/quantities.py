"""Sizes and durations as people write and read them."""

import re

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_BYTES = {"B": 1} | {
    prefix + unit: base**power
    for unit, base in (("B", 1000), ("iB", 1024))
    for power, prefix in enumerate("KMGT", start=1)
}


def parse_duration(text: str) -> float:
    """Seconds of a duration such as ``90s``, ``30m``, ``12h``, ``7d`` or ``2w``.

    Raises:
        ValueError: If it is something else.
    """
    return _parse(text, _SECONDS, "a duration such as 90s, 30m, 12h, 7d or 2w")


def parse_size(text: str) -> float:
    """Bytes of a size such as ``500MB`` (10^6) or ``10GiB`` (2^30); case does not matter.

    Raises:
        ValueError: If it is something else.
    """
    return _parse(text, _BYTES, "a size such as 500MB, 10GB or 10GiB")


def duration_text(seconds: float) -> str:
    """A duration in its largest unit that leaves at least 1: ``1.5 s``, ``12 min``, ``3 d``."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.1f} s"


def clock_text(seconds: float) -> str:
    """A duration as a clock shows it: ``3:58``, from an hour on ``2:05:10``."""
    minutes, rest = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def size_text(num_bytes: float) -> str:
    """A size in decimal units, three digits: ``74.4 MB``."""
    for power, prefix in ((4, "T"), (3, "G"), (2, "M"), (1, "k")):
        if num_bytes >= 0.9995 * 1000**power:
            return f"{num_bytes / 1000**power:.3g} {prefix}B"
    return f"{num_bytes:.0f} B"


def _parse(text: str, units: dict[str, int], rule: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([a-z]+)", text.strip(), re.IGNORECASE)
    if found:
        for unit, factor in units.items():
            if unit.lower() == found[2].lower():
                return float(found[1]) * factor
    raise ValueError(f"must be {rule}, got {text!r}")
