"""Takes the README's pictures of two studies that have ended: ``make pictures``.

    python docs/pictures.py STUDY_OF_PHOTOGRAPHS --mlflow FIRST_STUDY --out docs

Of the first folder ``photographs.jpg`` shows single images. Of the second ``report.png`` shows the
report, ``mlflow.png`` the page that compares the runs and ``per_bin.png`` the figure of the bins.
Needs Debian's chromium.
"""

import argparse
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser

from analysis.examples import compared_images, comparison_grid
from analysis.per_image import trial_image_scores
from analysis.report.comparison import Comparison
from analysis.report.document import PER_BIN
from harness.record.storage import StudyFolder
from harness.results import Study, load_study

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.browser import new_page, opened_browser

SIZE, WIDE_SIZE = (1100, 900), (1800, 1000)
"""Width and height of the report and of MLflow's page in pixels."""


def main() -> None:
    """Take all pictures."""
    parser = argparse.ArgumentParser(description="Take the README's pictures.")
    parser.add_argument("study", type=Path, help="folder of the study of photographs")
    parser.add_argument("--mlflow", type=Path, required=True, help="folder of another study")
    parser.add_argument("--out", type=Path, default=Path("docs"))
    options = parser.parse_args()
    with opened_browser() as browser:
        take_report(browser, StudyFolder(options.mlflow.resolve()).report, options.out)
        take_mlflow(browser, options.mlflow.resolve(), options.out)
    shutil.copyfile(StudyFolder(options.mlflow).summary / PER_BIN, options.out / PER_BIN)
    draw_photographs(load_study(options.study), options.out / "photographs.jpg")


def take_report(browser: Browser, report: Path, out: Path) -> None:
    """The first screen of a report."""
    page = new_page(browser, *SIZE)
    page.goto(report.resolve().as_uri())
    page.screenshot(path=out / "report.png")


def take_mlflow(browser: Browser, study: Path, out: Path) -> None:
    """MLflow's page of a study, as its address opens it."""
    with served_address(study) as address:
        page = new_page(browser, *WIDE_SIZE)
        page.goto(address)
        page.locator(".js-plotly-plot").nth(1).wait_for()
        page.locator('[data-component-id="mlflow.assistant.chat_panel.close"]').click()
        page.wait_for_timeout(2000)  # charts grow into their places
        page.screenshot(path=out / "mlflow.png")


@contextmanager
def served_address(study: Path) -> Iterator[str]:
    """The address that ``python -m harness.ui`` says, for as long as the block lasts."""
    process = subprocess.Popen(
        [sys.executable, "-m", "harness.ui", study.name, "--storage", str(study.parents[1])],
        text=True, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        yield process.stdout.readline().partition(": ")[2].strip()
    finally:
        process.terminate()
        process.wait()


def draw_photographs(study: Study, file: Path) -> None:
    """Images that the best trial gains and loses most on against its reference."""
    found = Comparison(study)
    names = [name for name in (found.candidate, found.reference) if name is not None]
    numbers = {name: int(found.part([name]).runs["number"].iloc[0]) for name in names}
    predictions = {name: study.predictions(n).of("target_val") for name, n in numbers.items()}
    scores = trial_image_scores({name: [own] for name, own in predictions.items()})
    chosen = compared_images(scores, *names)
    store = study.poses("target", numbers[names[0]]).store
    drawn = comparison_grid(chosen, predictions, store)
    drawn.savefig(file, dpi=150, pil_kwargs={"quality": 85})


if __name__ == "__main__":
    main()
