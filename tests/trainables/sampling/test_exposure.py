"""How the draws of a run are spread over difficulty."""

import numpy as np
import pytest

from trainables.config import TrialConfig
from trainables.sampling.exposure import NUM_CELLS, difficulty_exposure

THIRDS = {
    "all": ({"sampling.strategy": "all"}, [1 / 3, 1 / 3, 1 / 3]),
    "random third": ({"sampling.strategy": "random"}, [1 / 3, 1 / 3, 1 / 3]),
    "hardest third": ({"sampling.strategy": "hardest"}, [0, 0, 1]),
    "two of three bins": (
        {"sampling.strategy": "bins", "bins.count": 3, "bins.subset": [0, 2]},
        [1 / 2, 0, 1 / 2],
    ),
    "the second of six bins": (
        {"sampling.strategy": "bins", "bins.count": 6, "bins.subset": [1]},
        [1, 0, 0],
    ),
    "in one of two phases": (
        {
            "sampling.strategy": "hardest", "sampling.phase": "adapt",
            "adapt.pretrain_epochs": 3, "adapt.epochs": 1,
        },
        [1 / 4, 1 / 4, 1 / 4 + 1 / 4],
    ),
    # Three epochs: the easiest third, the easier two thirds, all.
    "VAE-CL": (
        {"sampling.strategy": "curriculum", "adapt.pretrain_epochs": 2, "adapt.epochs": 1},
        [(1 + 1 / 2 + 1 / 3) / 3, (1 / 2 + 1 / 3) / 3, 1 / 9],
    ),
    "a random order": (
        {"sampling.strategy": "curriculum", "curriculum.order": "random"},
        [1 / 3, 1 / 3, 1 / 3],
    ),
    "the hardest tenth trimmed": (
        {"sampling.strategy": "random", "sampling.trim": 0.1},
        [120 / 324, 120 / 324, 84 / 324],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("fields", "thirds"), THIRDS.values(), ids=THIRDS)
def test_the_shares_of_the_thirds_are_what_the_strategy_says(fields, thirds):
    exposure = difficulty_exposure(TrialConfig.from_flat(fields))
    assert exposure.sum() == pytest.approx(1)
    assert np.add.reduceat(exposure, [0, NUM_CELLS // 3, 2 * NUM_CELLS // 3]) == pytest.approx(
        thirds
    )
