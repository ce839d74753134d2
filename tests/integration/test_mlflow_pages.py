"""MLflow's page of a study in a real browser: what a person sees without a click."""

import json
import re
import subprocess
import sys

import pandas as pd
import pytest
from playwright.sync_api import expect

from analysis.figures import per_bin_pck
from analysis.report.document import PER_BIN
from harness.mlflow_tracking.cursor import cursor_path
from harness.record.storage import StudyFolder
from tests.browser import needs_chromium, new_page, opened_browser
from tests.conftest import ROOT
from tests.mlflow_study import PCK, SPEC, STUDY_ID, followed, study_events, write
from trainables.config import TrialConfig

NUM_TRIALS = 12
"""More than the ten that MLflow draws by itself."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    needs_chromium,
]


def _events():
    """A study of bins whose trials report their objective, bins and bookkeeping."""
    spec = {
        **SPEC,
        "parameters": {"bins.subset": {"choose": {"from": [*range(6)], "min": 1, "max": 3}}},
        "fixed": {"sampling.strategy": "bins", "bins.count": 6},
        "budget": {"run_cap": NUM_TRIALS},
    }
    runs = [(number, "complete") for number in range(NUM_TRIALS)]
    more = {"yaml": json.dumps(spec), "varied": ["bins.subset"]}
    for event in study_events(runs, study="pages", **more):
        number = event.get("number", 0)
        if event["event"] == "run":
            bins = {"sampling.strategy": "bins", "bins.count": 6, "bins.subset": [number % 6]}
            event["fields"] = TrialConfig().to_flat() | bins
            event |= {"is_baseline": False, "params": {"bins.subset/b00": True}}
        elif event["event"] == "epoch":
            event["metrics"] = {
                PCK: 10.0 + number + event["step"],
                "train/source_kl": 1 / event["step"],
                **{f"chosen_epoch/{way}": 2.0 for way in ("last", "default")},
                **{f"final/pck_bin/{b:02}": 20.0 + number + b for b in range(6)},
            }
        yield event


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    """A storage with the study, recorded in its database."""
    root = tmp_path_factory.mktemp("pages")
    folder = root / "studies" / "pages"
    folder.mkdir(parents=True)
    write(folder, _events())
    (folder / "summary").mkdir()
    bins = {"trial": "all", "bin": range(6), "mean": 50.0, "low": 40.0, "high": 60.0}
    figure = per_bin_pck(pd.DataFrame({**bins, "num_seeds": 3}), ["all"])
    figure.savefig(StudyFolder(folder).summary / PER_BIN)
    uri = f"sqlite:///{root / 'mlflow.db'}"
    cursor = followed(uri, folder)
    assert cursor.last_error is None
    assert cursor_path(folder / "events.jsonl").is_file()
    return root


@pytest.fixture(scope="module")
def address(storage):
    """The address that ``harness.ui`` says; its pages are served until the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "harness.ui", "pages", "--storage", str(storage)],
        cwd=ROOT, text=True, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        line = process.stdout.readline()
        assert line.startswith("pages: http://127.0.0.1:"), line
        yield line.removeprefix("pages: ").strip()
    finally:
        process.terminate()  # as Ctrl-C, which processes in the background of a shell ignore
        code = process.wait(60)
        process.stdout.close()
    assert code == 130


@pytest.fixture(scope="module")
def page(address):
    with opened_browser() as browser:
        page = new_page(browser, 1600, 1200)
        page.goto(address, timeout=400_000)
        yield page


def test_all_trials_are_listed_under_names_that_say_what_they_tried(page):
    expect(page.get_by_text(f"{NUM_TRIALS} matching runs")).to_be_visible()
    for number in range(NUM_TRIALS):
        name = f"{number:02} bins {number % 6} of 6"
        expect(page.get_by_role("link", name=name, exact=True)).to_be_visible()
    expect(page.get_by_role("link", name="summary", exact=True)).to_have_count(0)


def test_the_note_begins_with_the_best_trial(page):
    expect(page.get_by_text(f"Best: 11 bins 5 of 6, {PCK} 23.")).to_be_visible()


def test_the_note_shows_the_figure_of_the_bins(page):
    figure = page.locator(f"img[src*='{PER_BIN}']")
    figure.wait_for(state="attached")
    page.wait_for_function("image => image.naturalWidth > 100", arg=figure.element_handle())


def test_charts_of_the_objective_and_of_the_bins_come_first(page):
    titles = ("1 objective", "2 bins", "3 final/pck_bin")
    for title in titles:
        expect(page.get_by_text(re.compile(f"^{title}")).first).to_be_visible()
    text = page.inner_text("body")
    sections = re.findall(f"^({'|'.join(titles)})", text, re.MULTILINE)
    assert tuple(dict.fromkeys(sections)) == titles
    bars = page.locator(".js-plotly-plot").first
    for number in (0, NUM_TRIALS - 1):
        expect(bars).to_contain_text(f"{12 + number}")
    expect(page.locator(".js-plotly-plot").nth(1)).to_be_visible()


def test_two_runs_are_compared(page, storage, address):
    cursor = json.loads((storage / "studies" / "pages" / "mlflow.json").read_text())
    runs = [cursor["run_ids"][number] for number in ("0", "11")]
    server = address.partition("/#/")[0]
    chosen = json.dumps(runs).replace(" ", "")
    page.goto(
        f"{server}/#/compare-runs?runs={chosen}&experiments=[%22{cursor['experiment_id']}%22]"
    )
    expect(page.get_by_text("Comparing 2 Runs from 1 Experiment").first).to_be_visible()
    for name in ("00 bins 0 of 6", "11 bins 5 of 6"):
        expect(page.get_by_text(name).first).to_be_visible()
    assert STUDY_ID not in page.title()
