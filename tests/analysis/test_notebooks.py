"""Every notebook runs on a small study and is committed with its outputs."""

import os

import nbformat
import pytest
from nbclient import NotebookClient

from harness.ledger import Ledger
from tests.conftest import ROOT
from trainables.config import TrialConfig

NOTEBOOKS = sorted((ROOT / "analysis").glob("*.ipynb"))


def test_there_is_a_notebook_of_the_bins():
    assert "01_per_bin" in {path.stem for path in NOTEBOOKS}


@pytest.fixture
def small_study(tmp_path):
    path = tmp_path / "events.jsonl"
    with Ledger(path) as ledger:
        ledger.append(
            "study", study="small", objective="target_val/pck_05", goal="maximize",
            trainable="adaptation",
        )  # fmt: skip
        for number, (name, seed) in enumerate(
            (n, s) for n in ("all", "vae_hm", "random_third") for s in (0, 1)
        ):
            fields = {**TrialConfig().to_flat(), "seed": seed}
            ledger.append(
                "trial", number=number, name=f"{name}-seed{seed}", is_baseline=True, params={},
                fields=fields,
            )  # fmt: skip
            pck = 40.0 + number
            for step in (1, 2):
                metrics = {
                    "target_val/pck_05": pck * step / 2,
                    "target_val/evalpose": 90.0,
                    "source_val/pck_05": 60.0,
                }
                if step == 2:
                    metrics |= {f"final/pck_bin/{b:02d}": pck - b for b in range(6)}
                ledger.append(
                    "epoch", number=number, step=step, num_steps=2, metrics=metrics, stages={},
                    digests={}, tags={},
                )  # fmt: skip
            ledger.append("finished", number=number, state="complete", reason=None, value=pck)
        ledger.append("end", state="complete", wall_s=1.0)
    return path


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
