"""Every notebook runs on a small study and is committed with its outputs."""

import os
import re

import nbformat
import papermill
import pytest
from nbclient import NotebookClient

from tests.conftest import ROOT

NOTEBOOKS = sorted((ROOT / "analysis").glob("*.ipynb"))


def test_there_is_a_notebook_for_each_question():
    assert [path.stem for path in NOTEBOOKS] == [
        "01_per_bin", "02_compare_runs", "03_paper_tables_and_figures", "04_which_bins_matter",
        "05_pose_vae", "06_validators",
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("ignore")  # of the kernel's own event loop
def test_a_notebook_runs_and_draws(path, stored_study, monkeypatch):
    monkeypatch.setenv("POSEBINS_STUDY", str(stored_study))
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    )
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(ROOT)}}).execute()
    drawn = [
        output
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    assert drawn


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_thin_and_committed_with_its_figures(path):
    assert path.stat().st_size < 500_000
    notebook = nbformat.read(path, as_version=4)
    assert len(notebook.cells) <= 12
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    assert "def " not in code
    assert "class " not in code
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", [])]
    pictures = [
        content
        for out in outputs
        for kind, content in out.get("data", {}).items()
        if kind in ("image/png", "image/jpeg")
    ]
    assert pictures
    assert max(map(len, pictures)) < 4 / 3 * 100_000  # base64 of 100 kB
    assert not any(out.output_type == "error" for out in outputs)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_asks_first_then_names_its_study_and_shows_no_path(path):
    notebook = nbformat.read(path, as_version=4)
    assert notebook.cells[0].cell_type == "markdown"
    assert notebook.cells[0].source.splitlines()[0].endswith("?")
    assert notebook.cells[1].source.splitlines()[-1] == "study = None"
    assert notebook.cells[1].metadata["tags"] == ["parameters"]
    for output in (out for cell in notebook.cells for out in cell.get("outputs", [])):
        for kind in ("image/png", "image/jpeg"):
            output.get("data", {}).pop(kind, None)
    assert not re.search(r"/(tmp|root|home|work)/", nbformat.writes(notebook))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_papermill_names_the_study(stored_study, tmp_path, monkeypatch):
    monkeypatch.delenv("POSEBINS_STUDY", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = next(path for path in NOTEBOOKS if path.stem == "06_validators")
    done = papermill.execute_notebook(
        notebook, tmp_path / "done.ipynb", {"study": str(stored_study)}, progress_bar=False
    )
    text = "".join(out.get("text", "") for cell in done.cells for out in cell.get("outputs", []))
    assert text.startswith("small: ")
