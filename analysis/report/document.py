"""The whole report of a study: the answer, then its sections in order."""

import time
from pathlib import Path

from analysis.report.answer import answer
from analysis.report.comparison import Comparison
from analysis.report.origin import origin_section
from analysis.report.page import facts, page, paragraph
from analysis.report.pictures import bins_gallery_section, images_section
from analysis.report.results import (
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
    text = report(study, file.with_name(PER_BIN))
    partial = file.with_name(f".partial-{file.name}")
    partial.write_text(text, encoding="utf-8")
    partial.replace(file)


def report(study: Study, per_bin: Path | None = None) -> str:
    """The report as HTML.

    Args:
        study: The study.
        per_bin: Where the figure of its bins is written, too; None for nowhere.

    Raises:
        OSError, ValueError: See :func:`write_report`.
    """
    found = Comparison(study)
    sections = [
        verdict_section(found),
        trials_section(found),
        bins_section(found, per_bin),
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
    lead = [paragraph(_when(study)), facts(answer(found))]
    return page(f"{kind} {study.name}", lead, [part for part in sections if part is not None])


def _when(study: Study) -> str:
    at = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(study.last_event))
    return f"As its ledger says it until {at}."
