import copy
import io
import re
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from harness.spec import SpecError, load_spec
from tests.conftest import ROOT

SMOKE = ROOT / "search_spaces" / "smoke.yaml"

VALID = """\
name: test
trainable: adaptation
metrics: [{name: target_val/pck_05, goal: maximize}]
parameters:
  sampling.strategy: {values: [all, bins]}
  vae.kl_weight: {min: 0.001, max: 1.0, distribution: log_uniform_values}
  bins.count: {min: 4, max: 8, when: {sampling.strategy: bins}}
  bins.subset: {choose: {from: bins.count, max: 4}, when: {sampling.strategy: [bins]}}
fixed: {adapt: {epochs: 2}}
baselines: {a: {sampling.strategy: all}}
budget: {run_cap: 10}
early_terminate: {type: hyperband, eta: 3, min_iter: 1}
resources: {gpus: 0.5}
"""

FUZZ = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
WORDS = st.sampled_from(
    [
        *("name", "trainable", "metrics", "metric", "goal", "method", "parameters", "fixed"),
        *("baselines", "budget", "run_cap", "hours", "early_terminate", "type", "failures"),
        *("resources", "value", "values", "min", "max", "q", "distribution", "when", "choose"),
        *("from", "vae.kl_weight", "bins.count", "bins.subset", "sampling.strategy", "adapt"),
        *("grid", "tpe", "maximize", "bins", "all", "log_uniform_values", "q_uniform"),
        *("cmaes", "gp", "qmc", "nsga2", "seeds", "constraints", "database", "command", "over"),
        *(
            "wilcoxon",
            "hyperband",
            "hyperband_brackets",
            "scheduler",
            "strict",
            "probabilities",
            "mu",
            "sigma",
            "a",
            "b",
            "normal",
            "target",
        ),
    ]
)
LEAVES = (
    WORDS
    | st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-2, 9)
    | st.floats()
    | st.sampled_from([0.0, 0.1, 1.0, 1e308, 1e-308])
    | st.text(max_size=5)
)
NESTED = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS | LEAVES, inner, max_size=5),
    max_leaves=12,
)
PARAMETER = st.fixed_dictionaries(
    {},
    optional={
        "value": LEAVES,
        "values": st.lists(LEAVES, max_size=4),
        "min": st.integers(-2, 9) | st.floats(),
        "max": st.integers(0, 99) | st.floats(),
        "q": st.integers(0, 3) | st.floats(0, 1),
        **dict.fromkeys(("mu", "sigma", "a", "b"), st.integers(-1, 3) | st.floats()),
        "probabilities": st.lists(st.sampled_from([0, 0.5, 1]) | st.floats(), max_size=4),
        "distribution": st.sampled_from(
            [
                *("uniform", "q_uniform", "q_log_uniform_values", "log_uniform", "q_log_uniform"),
                *("inv_log_uniform", "normal", "q_log_normal", "beta", "q_beta"),
            ]
        ),
        "when": st.dictionaries(WORDS, LEAVES, max_size=2),
        "choose": st.fixed_dictionaries(
            {"from": st.just("bins.count") | st.lists(st.integers(0, 9), max_size=5)},
            optional={"min": st.integers(0, 5), "max": st.integers(0, 9)},
        ),
    },
)
FIELDS = st.sampled_from(["vae.kl_weight", "bins.count", "bins.subset", "sampling.strategy"])


@pytest.fixture
def check(tmp_path, monkeypatch):
    """Load a text: it is a study, or one sentence says why not, and that soon."""
    monkeypatch.chdir(tmp_path)

    def loads_or_explains(text: str) -> None:
        Path("s.yaml").write_text(text)
        message = "s.yaml:1:1: none"
        start = time.process_time()  # other processes may be busy
        try:
            load_spec("s.yaml")
        except SpecError as error:
            message = str(error)
        assert time.process_time() - start < 2
        assert re.match(r"s\.yaml:\d+:\d+: .+$", message)

    return loads_or_explains


def dumped(data: object) -> str:
    stream = io.StringIO()
    YAML(typ="safe", pure=True).dump(data, stream)
    return stream.getvalue()


def loaded(text: str) -> dict:
    return YAML(typ="safe", pure=True).load(text)


def paths_of(node: dict | list, path: tuple = ()) -> list[tuple]:
    found = []
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        found.append((*path, key))
        if isinstance(value, dict | list):
            found += paths_of(value, (*path, key))
    return found


@FUZZ
@given(st.dictionaries(WORDS, NESTED, max_size=8))
def test_any_structure(check, data):
    check(dumped(data))


@FUZZ
@given(
    st.dictionaries(FIELDS, PARAMETER | NESTED, max_size=4),
    st.sampled_from(["tpe", "grid", "gp", "cmaes"]),
)
def test_any_parameters(check, parameters, method):
    check(dumped(loaded(VALID) | {"parameters": parameters, "baselines": {}, "method": method}))


@FUZZ
@given(
    st.lists(
        st.tuples(st.sampled_from(paths_of(loaded(VALID))), NESTED | PARAMETER),
        min_size=1,
        max_size=3,
    )
)
def test_mutations_of_a_valid_study(check, mutations):
    data = loaded(VALID)
    for path, value in mutations:
        node = data
        for key in path[:-1]:
            node = node[key] if isinstance(node, dict) and key in node else {}
        if isinstance(node, dict):
            node[path[-1]] = copy.deepcopy(value)
    check(dumped(data))


@FUZZ
@given(st.integers(0, 900), st.integers(0, 6), st.text("{}[]:,-'\"#&*!|> \n\tab01._~", max_size=4))
def test_edits_of_a_study_text(check, start, length, inserted):
    text = SMOKE.read_text()
    check(text[:start] + inserted + text[start + length :])
