import itertools
import random

import optuna
import pytest

from harness.space.domains import Subset, repair
from harness.space.number_domains import Rounded, Steps
from harness.space.suggester import RandomSuggester, Suggester
from tests.study_texts import optuna_trial, space_of
from trainables.config import TrialConfig

optuna.logging.set_verbosity(optuna.logging.WARNING)


@pytest.mark.parametrize(
    ("words", "distribution"),
    [
        ("vae.epochs: {min: 2, max: 9}", optuna.distributions.IntDistribution(2, 9)),
        ("vae.epochs: {min: 2, max: 9, q: 3}", optuna.distributions.FloatDistribution(2, 9)),
        (
            "vae.epochs: {min: 6, max: 99, q: 10, distribution: q_log_uniform_values}",
            optuna.distributions.FloatDistribution(6, 99, log=True),
        ),
        (
            "vae.epochs: {min: 2, max: 9, distribution: q_log_uniform_values}",
            optuna.distributions.FloatDistribution(2, 9, log=True),
        ),
        ("vae.kl_weight: {min: 1, max: 9}", optuna.distributions.IntDistribution(1, 9)),
        ("vae.kl_weight: {min: 1, max: 9.0}", optuna.distributions.FloatDistribution(1, 9)),
        (
            "vae.kl_weight: {min: 1, max: 9, distribution: uniform}",
            optuna.distributions.FloatDistribution(1, 9),
        ),
        (
            "vae.kl_weight: {min: 1, max: 9, distribution: log_uniform_values}",
            optuna.distributions.FloatDistribution(1, 9, log=True),
        ),
        (
            "vae.kl_weight: {min: 0.25, max: 1, q: 0.1}",
            optuna.distributions.FloatDistribution(0.25, 1.0),
        ),
        (
            "vae.kl_weight: {values: [1, 0.1]}",
            optuna.distributions.CategoricalDistribution([1.0, 0.1]),
        ),
        (
            "net.weights: {values: [null, a.pt]}\nfixed: {net.width: 64}",
            optuna.distributions.CategoricalDistribution([None, "a.pt"]),
        ),
        (
            "bins.subset: {values: [[3, 1], [0], null]}",
            optuna.distributions.CategoricalDistribution(["[1, 3]", "[0]", None]),
        ),
    ],
)
def test_words_compile_to_one_optuna_distribution(words, distribution):
    name = words.partition(":")[0]
    space = space_of(f"parameters:\n  {words}\n")
    for seed in range(10):
        trial = optuna_trial(seed=seed)
        config = space.suggest(trial)
        assert trial.distributions == {name: distribution}
        TrialConfig.from_flat(config)


def test_lists_come_back_as_lists():
    space = space_of("parameters: {bins.subset: {values: [[3, 1], [0]]}}")
    trial = optuna_trial({"bins.subset": "[1, 3]"})
    assert space.suggest(trial) == {"bins.subset": [1, 3]}


@pytest.mark.parametrize(
    ("domain", "values"),
    [
        (Rounded(1, 10, 3), [0, 3, 6, 9]),
        (Rounded(0.05, 0.35, 0.1), [0.0, 0.1, 0.2, 0.3, 0.4]),
        (Rounded(-1, 1, 0.5), [-1.0, -0.5, 0.0, 0.5, 1.0]),
        (Rounded(32, 100, 32, log=True), [32, 64, 96]),
        (Steps(0, 1, 3), [0, 1, 2, 3]),
        (Steps(1, 3, 2), [1, 4, 7]),
        (Steps(0.1, 0.2, 2), [0.1, 0.3, 0.5]),
    ],
)
def test_every_value_of_a_range_is_drawn_and_comes_back_from_its_code(domain, values):
    assert list(domain.options()) == values
    assert {type(value) for value in domain.options()} == {type(domain.step)}
    rng = random.Random(0)
    drawn = [domain.suggest("x", RandomSuggester(rng)) for _ in range(1000)]
    ends = {0.0, 0.4} if domain == Rounded(0.05, 0.35, 0.1) else set()  # drawn with chance 0
    assert set(drawn) | ends == set(values)
    for value in values:
        pinned = RandomSuggester(rng, domain.encode("x", value))
        assert domain.suggest("x", pinned) == value
    assert domain.encode("x", values[-1] + domain.step) is None
    assert domain.encode("x", values[0] + domain.step / 3) is None


@pytest.mark.parametrize(
    ("num_items", "minimum", "maximum"), [(6, 2, 4), (8, 3, 5), (10, 2, 3), (10, 5, 5), (12, 1, 2)]
)
def test_repair_gives_the_right_size_with_fewest_flips_and_favours_no_position(
    num_items, minimum, maximum
):
    counts = [0] * num_items
    for pattern in itertools.product((False, True), repeat=num_items):
        repaired = repair(pattern, minimum, maximum)
        assert repaired == repair(list(pattern), minimum, maximum)
        size = sum(repaired)
        assert minimum <= size <= maximum
        flips = sum(before != after for before, after in zip(pattern, repaired, strict=True))
        assert flips == abs(size - sum(pattern))
        assert flips == 0 or size in (minimum, maximum)
        for item, is_in in enumerate(repaired):
            counts[item] += is_in
    # Were the flipped items drawn at random, a count would scatter around the mean with a
    # standard deviation below sqrt(patterns) / 2.
    mean = sum(counts) / num_items
    assert max(abs(count - mean) for count in counts) < 4 * 2 ** (num_items / 2) / 2


def test_subset_names_pad_and_explicit_items_keep_their_numbers():
    subset = Subset((7, 0, 12), 1, 2)
    encoded = subset.encode("bins.subset", (7, 12))
    assert encoded == {"bins.subset/b07": True, "bins.subset/b00": False, "bins.subset/b12": True}
    assert subset.suggest("bins.subset", RandomSuggester(random.Random(0), encoded)) == (7, 12)
    assert list(subset.options()) == [(0,), (7,), (12,), (0, 7), (0, 12), (7, 12)]
    for impossible in ((0, 7, 12), (), (1,), None):
        assert subset.encode("bins.subset", impossible) is None


def test_random_suggester_covers_its_ranges_evenly():
    suggester: Suggester = RandomSuggester(random.Random(0))
    ints = [suggester.suggest_int("x", 1, 3) for _ in range(3000)]
    assert [round(ints.count(value) / 3000, 1) for value in (1, 2, 3)] == [0.3, 0.3, 0.3]
    logs = [suggester.suggest_float("x", 1e-4, 1, log=True) for _ in range(3000)]
    assert sum(value < 1e-2 for value in logs) / 3000 == pytest.approx(0.5, abs=0.03)
