"""Studies as their ledgers leave them, without training anything."""

import pytest

from harness.record.ledger import Ledger, trial_of
from harness.results import load_study
from trainables.config import TrialConfig


@pytest.fixture
def write_ledger(tmp_path):
    """Write the ledger of a study and return its path.

    A run is (name, fields, epochs), or has its state as a fourth: the metrics of each epoch in
    order. Names such as ``all-seed0`` make trials of several seeds.
    """

    def write(runs):
        path = tmp_path / "events.jsonl"
        with Ledger(path) as ledger:
            ledger.append(
                "study", study="small", objective="target_val/pck_05", goal="maximize",
                trainable="adaptation",
            )  # fmt: skip
            for number, (name, changed, epochs, *state) in enumerate(runs):
                fields = {**TrialConfig().to_flat(), **changed}
                seed = fields["seed"]
                ledger.append(
                    "run", number=number, trial=number, trial_name=trial_of(name, seed), seed=seed,
                    name=name, is_baseline=True, params={}, fields=fields,
                )  # fmt: skip
                for step, metrics in enumerate(epochs, start=1):
                    ledger.append(
                        "epoch", number=number, step=step, num_steps=len(epochs),
                        metrics=metrics, stages={}, digests={}, tags={},
                    )  # fmt: skip
                ledger.append(
                    "finished", number=number, state=(state or ["complete"])[0], reason=None,
                    value=None,
                )  # fmt: skip
            ledger.append("end", state="complete", wall_s=1.0)
        return path

    return write


@pytest.fixture
def study_of(write_ledger):
    """The study of some runs, read back."""
    return lambda runs: load_study(write_ledger(runs))
