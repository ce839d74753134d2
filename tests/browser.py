"""Debian's Chromium without a window, for the tests of pages."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

PATIENCE_MS = 120_000
"""Longest wait for a browser or a page: other tests may use all cores meanwhile."""
expect.set_options(timeout=PATIENCE_MS)
CHROMIUM = shutil.which("chromium")
# `.ci/run` installs it, so that pages are tested there at least.
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


@contextmanager
def opened_browser() -> Iterator[Browser]:
    """A browser that ends with the block."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu"],
            timeout=PATIENCE_MS,
        )
        try:
            yield browser
        finally:
            browser.close()


def new_page(browser: Browser, width: int, height: int):
    """A page of this size in pixels whose every step may take :data:`PATIENCE_MS`."""
    page = browser.new_page(viewport={"width": width, "height": height})
    page.set_default_timeout(PATIENCE_MS)
    return page
