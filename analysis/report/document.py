"""The whole report of a study: the answer, then its sections in order."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from analysis.report.answer import answer
from analysis.report.comparison import Comparison
from analysis.report.origin import origin_section
from analysis.report.page import facts, page, paragraph
from analysis.report.pictures import bins_gallery_section, images_section
from analysis.report.results import (
    bins_figure,
    bins_section,
    controls_section,
    ranges_section,
    trials_section,
    verdict_section,
)
from analysis.report.search import (
    cost_section,
    schedules_section,
    search_section,
    validators_section,
)
from harness.results import Study

PER_BIN = "per_bin.png"
"""Name of the figure of bins as an image of its own, beside the report."""


def write_report(study: Study, file: Path) -> None:
    """Write the report, and the figure of its bins as an image beside it.

    Args:
        study: The study.
        file: HTML file to create or replace; its folder is created.

    Raises:
        OSError: If it cannot be written.
        ValueError: If this version cannot read the study's file or its fields any more.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    found = Comparison(study)
    drawn = bins_figure(found)
    if drawn is not None:
        with _replaced(file.with_name(PER_BIN)) as partial:
            drawn.savefig(partial, format="png", dpi=150)
    with _replaced(file) as partial:
        partial.write_text(report(found), encoding="utf-8")


@contextmanager
def _replaced(file: Path) -> Iterator[Path]:
    """A path to write to, which becomes the file at the end of the block, unless that raises."""
    partial = file.with_name(f".partial-{file.name}")
    try:
        yield partial
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)


def report(found: Comparison) -> str:
    """The report as HTML.

    Raises:
        OSError, ValueError: See :func:`write_report`.
    """
    sections = [
        verdict_section(found),
        trials_section(found),
        bins_section(found),
        ranges_section(found),
        controls_section(found),
        images_section(found),
        bins_gallery_section(found),
        search_section(found),
        schedules_section(found),
        validators_section(found),
        cost_section(found),
        origin_section(found),
    ]
    kind = "Confirmation" if found.is_confirmation else "Study"
    lead = [paragraph(_when(found.study)), facts(answer(found))]
    return page(
        f"{kind} {found.study.name}", lead, [part for part in sections if part is not None]
    )


def _when(study: Study) -> str:
    at = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(study.last_event))
    return f"As its ledger says it until {at}."
