"""Sizes and durations in words and back."""

import pytest

from harness.record.quantities import (
    clock_text,
    duration_text,
    parse_duration,
    parse_size,
    size_text,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("30m", 1800),
        ("1.5h", 5400),
        ("7d", 604800),
        ("2W", 1209600),
        (" 1 d ", 86400),
    ],
)
def test_durations(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [("0B", 0), ("500MB", 5e8), ("10gb", 1e10), ("1.5KiB", 1536), ("2 TiB", 2 * 2**40)],
)
def test_sizes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "7", "d", "-1d", "1dd", "1e3s", "nan s", "1,5h", "1d2h"])
def test_what_is_no_duration_is_refused_with_what_is_allowed(text):
    with pytest.raises(ValueError, match="must be a duration such as"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["", "10", "GB", "-1GB", "1PB", "1kilobyte"])
def test_what_is_no_size_is_refused_with_what_is_allowed(text):
    with pytest.raises(ValueError, match="must be a size such as"):
        parse_size(text)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"), (999, "999 B"), (1000, "1 kB"), (74_400_000, "74.4 MB"),
        (999_499, "999 kB"), (999_600, "1 MB"), (4.2e9, "4.2 GB"), (1.5e12, "1.5 TB"),
    ],
)  # fmt: skip
def test_sizes_have_three_digits(size, text):
    assert size_text(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0 s"), (1.54, "1.5 s"), (60, "1 min"), (3599, "60 min"), (7200, "2 h"), (9e5, "10 d")],
)
def test_durations_are_in_their_largest_unit(seconds, text):
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "0:00"), (59.6, "1:00"), (238, "3:58"), (7510, "2:05:10")]
)
def test_a_clock_shows_hours_only_where_there_are_any(seconds, text):
    assert clock_text(seconds) == text
