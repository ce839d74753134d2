"""Every notebook runs on a small study and is committed with its outputs."""

import os
import re

import nbformat
import pytest
from nbclient import NotebookClient

from tests.conftest import ROOT
from trainables.data.skeleton import BODY16

NOTEBOOKS = sorted((ROOT / "analysis").glob("*.ipynb"))


VALIDATORS = ("source_pck", "confidence", "infomax", "equivariance", "plausibility", "mmd")
TRIALS = {
    "source_only": {"adapt.method": "source_only"},
    "oracle": {"adapt.method": "oracle"},
    "all": {},
    "vae_hm": {"sampling.strategy": "hardest"},
    "random_third": {"sampling.strategy": "random"},
    "udape": {"adapt.method": "udape"},
    "udape_hm": {"adapt.method": "udape", "sampling.strategy": "hardest"},
}


def test_there_is_a_notebook_for_each_question():
    assert {p.stem for p in NOTEBOOKS} >= {"01_per_bin", "02_table1", "03_validators"}


def _epoch(pck, step, num_steps):
    metrics = {
        "target_val/pck_05": pck,
        "target_val/evalpose": 90.0,
        "target_val/evalpose_unit_signed": 80.0,
        "source_val/pck_05": 60.0,
        **{f"target_val/pck_05_{group}": pck for group in BODY16.groups},
        **{f"validator/{name}": pck + i for i, name in enumerate(VALIDATORS)},
    }
    if step < num_steps:
        return metrics
    ways = ("default", "kept", "last", "oracle_val", *VALIDATORS)
    return (
        metrics
        | {"target_val/pck_05_adabn": pck + 1}
        | {f"final/pck_bin/{b:02d}": pck - b for b in range(6)}
        | {f"chosen_epoch/{way}": float(step) for way in ways}
        | {f"chosen_pck_05/{way}": pck for way in ways}
    )


@pytest.fixture
def small_study(write_ledger):
    trials = [
        (
            f"{name}-seed{seed}",
            {**fields, "seed": seed},
            [_epoch((40.0 + 3 * place + seed) * step / 2, step, 2) for step in (1, 2)],
        )
        for place, (name, fields) in enumerate(TRIALS.items())
        for seed in (0, 1)
    ]
    return write_ledger(trials)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("ignore")  # of the kernel's own event loop
def test_a_notebook_runs_and_draws(path, small_study, monkeypatch):
    monkeypatch.setenv("POSEBINS_STUDY", str(small_study))
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
    assert any("image/png" in out.get("data", {}) for out in outputs)
    assert not any(out.output_type == "error" for out in outputs)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_asks_first_then_names_its_study_and_shows_no_path(path):
    notebook = nbformat.read(path, as_version=4)
    assert notebook.cells[0].cell_type == "markdown"
    assert notebook.cells[0].source.splitlines()[0].endswith("?")
    assert notebook.cells[1].source.splitlines()[-1] == "STUDY = None"
    for output in (out for cell in notebook.cells for out in cell.get("outputs", [])):
        output.get("data", {}).pop("image/png", None)
    assert not re.search(r"/(tmp|root|home|work)/", nbformat.writes(notebook))
