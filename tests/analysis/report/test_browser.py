"""The report in a real browser: on a desk, on a phone, on paper."""

import pytest

from analysis.report.document import write_report
from harness.results import load_study
from tests.analysis.report.test_document import CONTENT, HOSTILE, PCK
from tests.browser import needs_chromium, new_page, opened_browser

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), needs_chromium]


@pytest.fixture(scope="module")
def browser():
    """A browser without a window."""
    with opened_browser() as opened:
        yield opened


@pytest.fixture(params=["whole", "hostile"])
def file(request, tmp_path, write_ledger):
    """A report: of a whole study, or of one whose names are markup."""
    file = tmp_path / "report.html"
    if request.param == "whole":
        ledger = request.getfixturevalue("stored_study")
    else:
        content = {**CONTENT, "title": HOSTILE}
        runs = [(name, {}, [{PCK: 50.0}]) for name in (HOSTILE, "x" * 200, "trial-1")]
        ledger = write_ledger(runs, content=content, study=HOSTILE)
    write_report(load_study(ledger), file)
    return file


@pytest.mark.parametrize("width", [380, 1200])
def test_a_page_asks_for_nothing_and_fits(browser, file, width):
    page = new_page(browser, width, 800)
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(file.as_uri())
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [file.as_uri()]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    broken = "[...document.images].filter(image => image.naturalWidth === 0).length"
    assert page.evaluate(broken) == 0
    page.close()


def test_a_page_prints_without_cutting_tables_or_figures(browser, file):
    page = new_page(browser, 700, 1000)
    page.goto(file.as_uri())
    assert page.pdf(format="A4").startswith(b"%PDF")
    page.emulate_media(media="print")
    too_wide = (
        "[...document.querySelectorAll('table, img, pre')]"
        ".filter(e => e.getBoundingClientRect().right > window.innerWidth + 1).length"
    )
    assert page.evaluate(too_wide) == 0
    page.close()
