"""How much training until a trial is good? Replays of recorded curves, see record_curves.py.

The default sampler with a pruner by its default words against random search that trains every
trial to its end, and against the same sampler with other pruners. A replay's figure is far from
another's (a quartile of random search is four times the other), hence so many of them.
"""

import csv
import json
import os
import shutil
import statistics

import pytest

from harness.optuna_study import stored_study as optuna_study
from harness.spec import load_spec
from tests.benchmarks.record_curves import CURVES, FIXED, GRID, METRIC
from tests.simulation import Simulation

NUM_REPLAYS = int(os.environ.get("POSEBINS_REPLAYS", "100"))
NUM_EPOCHS = int(FIXED["adapt.pretrain_epochs"]) + int(FIXED["adapt.epochs"])
SHARE = 0.95
DEFAULT = "tpe, successive_halving"
COMPARED = {
    "random, none": ("random", "{type: none}"),
    DEFAULT: ("tpe", "{type: successive_halving}"),
    "tpe, hyperband": ("tpe", f"{{type: hyperband_brackets, max_iter: {NUM_EPOCHS}}}"),
    "tpe, rule of bins.yaml": (
        "tpe",
        f"{{type: hyperband_brackets, min_iter: 2, eta: 2, max_iter: {NUM_EPOCHS}}}",
    ),
    "tpe, none": ("tpe", "{type: none}"),
}


def recorded():
    """Configuration to its curve."""
    with CURVES.open(newline="") as file:
        rows = list(csv.reader(line for line in file if not line.startswith("#")))
    kinds = [type(values[0]) for values in GRID.values()]
    return {
        tuple(kind(text) for kind, text in zip(kinds, row, strict=False)): [
            float(text) for text in row[len(GRID) :]
        ]
        for row in rows[1:]
    }


def study_text(replay, method, rule):
    parameters = "".join(f"  {name}: {{values: {json.dumps(v)}}}\n" for name, v in GRID.items())
    return (
        f"name: replay{replay}\ntrainable: adaptation\n"
        f"metric: {{name: {METRIC}, goal: maximize}}\nmethod: {method}\n"
        f"parameters:\n{parameters}early_terminate: {rule}\nbudget: {{run_cap: 400}}\n"
    )


@pytest.fixture
def compute(write_study, tmp_path, monkeypatch):
    """Epochs that a replay trains until one reports the target."""
    curves, plain_seed = recorded(), optuna_study._seed
    target = SHARE * max(curve[-1] for curve in curves.values())

    def epochs(replay, method, rule):
        monkeypatch.setattr(optuna_study, "_seed", lambda *parts: plain_seed(replay, *parts))
        used, best = 0, 0.0

        def curve(fields, step):
            nonlocal used, best
            value = curves[tuple(fields[name] for name in GRID)][step - 1]
            used, best = used + 1, max(best, value)
            return {METRIC: value}

        spec = load_spec(write_study(study_text(replay, method, rule)))
        folder = tmp_path / f"{method}{replay}"
        simulation = Simulation(spec, folder)
        while best < target and simulation.step(curve, NUM_EPOCHS):
            pass
        simulation.close()
        shutil.rmtree(folder)
        return used

    return epochs


@pytest.mark.benchmark
@pytest.mark.timeout(1800)
def test_compute_to_reach_a_good_trial(compute):
    used = {
        name: [compute(replay, method, rule) for replay in range(NUM_REPLAYS)]
        for name, (method, rule) in COMPARED.items()
    }
    median = {name: statistics.median(epochs) for name, epochs in used.items()}
    print(
        json.dumps(
            {
                "benchmark": "time_to_quality",
                "replays": NUM_REPLAYS,
                "epochs_in_quartiles": {
                    name: statistics.quantiles(epochs) for name, epochs in used.items()
                },
                "ratio_to_random": {
                    name: round(epochs / median["random, none"], 3)
                    for name, epochs in median.items()
                },
                "ratio_of_first_20": round(
                    statistics.median(used[DEFAULT][:20])
                    / statistics.median(used["random, none"][:20]),
                    3,
                ),
            }
        )
    )
    assert all(len(epochs) == NUM_REPLAYS for epochs in used.values())
