"""What a W&B sweep draws, enumerates and stops, law by law with scipy's quantile functions.

Facts from the schema and the controller of the package ``sweeps`` 0.3.0 on PyPI; nothing of its
code is here. A law is the value at each share of an even number between 0 and 1.
"""

import itertools
import math

import numpy as np
from scipy import stats

DEFAULTS = {"mu": 0, "sigma": 1, "a": 1, "b": 1, "q": 1}


def law_of(words: dict) -> str:
    """The distribution of a parameter, the implied one if none is given."""
    if "distribution" in words:
        return words["distribution"]
    if "value" in words:
        return "constant"
    if "values" in words:
        return "categorical_w_probabilities" if "probabilities" in words else "categorical"
    is_whole = type(words["min"]) is int and type(words["max"]) is int
    return "int_uniform" if is_whole else "uniform"


def quantiles(words: dict, shares: np.ndarray) -> list:
    """Values of a parameter at shares in (0, 1)."""
    law, words = law_of(words), DEFAULTS | words
    if law == "constant":
        return [words["value"]] * len(shares)
    if law.startswith("categorical"):
        values = words["values"]
        weights = words.get("probabilities", [1 / len(values)] * len(values))
        edges = np.cumsum(weights)
        return [values[min(np.searchsorted(edges, p, "right"), len(values) - 1)] for p in shares]
    if law == "int_uniform":
        return list(stats.randint(int(words["min"]), int(words["max"]) + 1).ppf(shares))
    numbers = real_quantiles(law.removeprefix("q_"), words, shares)
    return list(np.round(numbers / words["q"]) * words["q"] if law.startswith("q_") else numbers)


def real_quantiles(law: str, words: dict, shares: np.ndarray) -> np.ndarray:
    """Values of a law of real numbers."""
    match law:
        case "normal":
            return stats.norm(words["mu"], words["sigma"]).ppf(shares)
        case "log_normal":
            return np.exp(stats.norm(words["mu"], words["sigma"]).ppf(shares))
        case "beta":
            return stats.beta(words["a"], words["b"]).ppf(shares)
    low, high = float(words["min"]), float(words["max"])
    match law:
        case "uniform":
            return low + (high - low) * shares
        case "log_uniform":
            return np.exp(low + (high - low) * shares)
        case "log_uniform_values":
            return np.exp(math.log(low) + (math.log(high) - math.log(low)) * shares)
        case "inv_log_uniform":
            return 1 / np.exp(low + (high - low) * shares)
        case "inv_log_uniform_values":  # of 1 / x, so between 1 / max and 1 / min
            low, high = math.log(1 / high), math.log(1 / low)
            return 1 / np.exp(low + (high - low) * shares)
    raise AssertionError(law)


def grid(parameters: dict[str, dict]) -> set[tuple]:
    """Every point of a grid, the values in the order of the parameters."""
    return set(itertools.product(*map(grid_values, parameters.values())))


def grid_values(words: dict) -> list:
    """What a grid tries of a parameter; it takes no other distributions."""
    match law_of(words):
        case "constant":
            return [words["value"]]
        case "categorical":
            return words["values"]
        case "int_uniform":
            return list(range(int(words["min"]), int(words["max"]) + 1))
        case "q_uniform":
            low, step = words["min"], words.get("q", 1)
            count = math.ceil(round((words["max"] - low) / step, 9))
            return [low + step * index for index in range(count)]
    raise AssertionError(words)


def bands(rule: dict) -> list[int]:
    """Iterations at which hyperband compares, the first hundred."""
    eta = rule.get("eta", 3)
    if "max_iter" in rule:
        found = [rule["max_iter"] / eta**k for k in range(1, min(int(rule["s"]), 100) + 1)]
        return sorted({int(band + 1e-9) for band in found if band + 1e-9 >= 1})
    return sorted({int(rule["min_iter"] * eta**k + 1e-9) for k in range(100)})


def is_stopped(rule: dict, losses: list[list[float]], run: int) -> bool:
    """Whether hyperband stops a run, from what all runs have reported so far.

    Args:
        rule: Words of ``early_terminate``.
        losses: Reports of every run, less is better.
        run: Index of the run.
    """
    own = losses[run]
    reached = [band for band in bands(rule) if band <= len(own)]
    if not reached:
        return False
    band = reached[-1]
    at_band = sorted(reports[band - 1] for reports in losses if len(reports) >= band)
    threshold = at_band[int(len(at_band) * (1 / rule.get("eta", 3)))]
    return (own[band - 1] if rule.get("strict", True) else min(own)) > threshold
