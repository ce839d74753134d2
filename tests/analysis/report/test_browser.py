"""The report in a real browser: on a desk, on a phone, on paper."""

import shutil

import pytest
from playwright.sync_api import sync_playwright

from analysis.report.document import write_report
from harness.results import load_study
from tests.analysis.report.test_document import CONTENT, HOSTILE, PCK

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
]


@pytest.fixture(scope="module")
def browser():
    """A browser without a window."""
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


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
    page = browser.new_page(viewport={"width": width, "height": 800})
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
    page = browser.new_page(viewport={"width": 700, "height": 1000})
    page.goto(file.as_uri())
    assert page.pdf(format="A4").startswith(b"%PDF")
    page.emulate_media(media="print")
    too_wide = (
        "[...document.querySelectorAll('table, img, pre')]"
        ".filter(e => e.getBoundingClientRect().right > window.innerWidth + 1).length"
    )
    assert page.evaluate(too_wide) == 0
    page.close()
