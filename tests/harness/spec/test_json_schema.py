"""The JSON Schema that editors get says what the check of a study's file says."""

import json
import subprocess
import sys

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.spec import SpecError, load_spec
from harness.spec.json_schema import study_schema
from harness.yaml.source import read_yaml
from tests.conftest import ROOT
from trainables.config import trial_fields

STUDIES = sorted((ROOT / "search_spaces").rglob("*.yaml"))
SWEEPS = sorted((ROOT / "tests" / "harness" / "spec" / "wandb").glob("*.yaml"))
SCHEMA = study_schema()
CHECK = jsonschema.Draft202012Validator(SCHEMA)

STUDY = {
    "name": "t",
    "metric": {"name": "target_val/pck_05", "goal": "maximize"},
    "parameters": {
        "vae.kl_weight": {"min": 0.1, "max": 1.0},
        "sampling.strategy": {"values": ["all", "bins"]},
        "bins.subset": {"choose": {"from": "bins.count"}, "when": {"sampling.strategy": "bins"}},
    },
    "fixed": {"adapt": {"lr": 0.1, "regda.margin": 2}, "adapt.regda": {"tradeoff": 1}},
    "baselines": {"all": {"sampling.strategy": "all"}},
    "budget": {"run_cap": 4},
}


def test_the_file_on_disk_is_what_the_command_prints():
    printed = subprocess.run(
        [sys.executable, "-m", "harness.spec"],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=True,
    ).stdout  # fmt: skip
    assert printed == (ROOT / "search_spaces" / "schema.json").read_text()
    assert json.loads(printed) == SCHEMA


def test_it_is_a_schema_of_its_dialect():
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("path", [*STUDIES, *SWEEPS], ids=lambda path: path.stem)
def test_every_study_and_sweep_is_accepted(path):
    CHECK.validate(read_yaml(path).data)


def test_every_field_of_a_trial_is_described_with_its_values():
    fields = SCHEMA["$defs"]["fields"]["properties"]
    assert set(trial_fields()) <= set(fields)
    assert all(entry["description"] for entry in fields.values())
    assert fields["adapt.method"]["enum"] == ["source_only", "oracle", "regda", "udape"]
    assert fields["vae.epochs"]["type"] == "integer"
    assert fields["net.weights"]["anyOf"] == [{"type": "string"}, {"type": "null"}]
    assert "hardest (VAE-HM)" in fields["sampling.strategy"]["description"]


def test_every_word_of_the_file_is_described():
    for name, schema in {**SCHEMA["$defs"], "": SCHEMA}.items():
        for word, entry in schema.get("properties", {}).items():
            if not name.endswith(("fields", "parameters")):
                assert entry.get("description"), (name, word)


def changed(path, value):
    """STUDY with one place replaced; None takes it out."""
    study = json.loads(json.dumps(STUDY))
    node = study
    for key in path[:-1]:
        node = node[key]
    if value is None:
        del node[path[-1]]
    else:
        node[path[-1]] = value
    return study


MISTAKES = [
    (["paramters"], {}),
    (["metric"], None),
    (["metrics"], [{"name": "target_val/pck_05"}]),
    (["metric", "goal"], "max"),
    (["metric", "name"], "target_val/pck05"),
    (["metric", "name"], "target_test/pck_05"),
    (["name"], 3),
    (["method"], "bayesian"),
    (["seeds"], 0),
    (["seeds"], "three"),
    (["budget", "run_cap"], 0),
    (["budget", "run_cap"], 2.5),
    (["budget", "hours"], 0),
    (["budget", "hour"], 1),
    (["fixed", "adapt.lrr"], 0.1),
    (["fixed", "adapt", "lrr"], 0.1),
    (["fixed", "adapt", "lr"], "fast"),
    (["fixed", "adapt.method"], "dann"),
    (["fixed", "net.depth"], 12),
    (["fixed", "parity"], "yes"),
    (["baselines", "all", "sampling.strategy"], "everything"),
    (["parameters", "vae.kl_weight"], 0.1),
    (["parameters", "vae.kl_weight"], {"min": 0.1}),
    (["parameters", "vae.kl_weight"], {"value": 0.1, "min": 0.1, "max": 1}),
    (["parameters", "vae.kl_weight", "distribution"], "loguniform"),
    (["parameters", "vae.kl_weight", "q"], "small"),
    (["parameters", "data.num_source"], {"values": [100, 200]}),
    (["parameters", "vae.norm"], {"values": ["box"]}),
    (["parameters", "vae"], {"epochs": {"value": 3}}),
    (["parameters", "bins.subset", "choose", "from"], "bins.size"),
    (["constraints"], [{"name": "train/source_kl", "maximum": 1}]),
    (["early_terminate"], {"type": "asha"}),
    (["early_terminate"], {"type": "median", "min_iter": 0}),
    (["failures"], {"max_rate": 1.5}),
    (["resources"], {"gpus": -1}),
]


def test_the_study_of_the_mistakes_is_right():
    CHECK.validate(STUDY)


@pytest.mark.parametrize(("path", "value"), MISTAKES)
def test_a_mistake_is_refused_by_the_schema_and_by_the_check(path, value, tmp_path):
    study = changed(path, value)
    assert not CHECK.is_valid(study)
    file = tmp_path / "s.yaml"
    file.write_text(json.dumps(study))
    with pytest.raises(SpecError):
        load_spec(file)


NUMBERS = st.sampled_from([0, 1, 2, 3, 0.5, 1e-3, 9, 40])
PARAMETER = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("value", "min", "max", "q", "mu", "sigma", "a", "b"), NUMBERS),
        "values": st.lists(NUMBERS, max_size=3),
        "probabilities": st.lists(st.sampled_from([0, 0.5, 1]), max_size=3),
        "distribution": st.sampled_from(
            SCHEMA["$defs"]["Parameter"]["properties"]["distribution"]["anyOf"][0]["enum"]
        ),
    },
)
SECTIONS = st.fixed_dictionaries(
    {},
    optional={
        "method": st.sampled_from(["bayes", "gp", "cmaes", "nsga2", "qmc", "grid"]),
        "seeds": st.integers(0, 5),
        "early_terminate": st.fixed_dictionaries(
            {"type": st.sampled_from(
                [
                    *("hyperband", "hyperband_brackets", "successive_halving", "median"),
                    "wilcoxon",
                ]
            )},
            optional={
                "min_iter": NUMBERS, "max_iter": NUMBERS, "eta": NUMBERS, "s": NUMBERS,
                "over": st.sampled_from(["seeds", "bins"]), "p_threshold": NUMBERS,
            },
        ),
        "constraints": st.lists(
            st.fixed_dictionaries(
                {"name": st.sampled_from(["train/source_kl", "pck_bin/02"])},
                optional={"min": NUMBERS, "max": NUMBERS},
            ),
            max_size=2,
        ),
        "failures": st.fixed_dictionaries({}, optional={"timeout_s": NUMBERS | st.none()}),
        "database": st.sampled_from(["sqlite:///x.db", "x.db", None]),
        "program": NUMBERS,
    },
)  # fmt: skip


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(["vae.kl_weight", "vae.epochs"]), PARAMETER), SECTIONS)
def test_what_loads_is_accepted_by_the_schema(tmp_path, parameters, sections):
    study = {"metric": STUDY["metric"], "baselines": {"a": {}}, "parameters": parameters}
    study |= sections
    path = tmp_path / "s.yaml"
    path.write_text(json.dumps(study))
    try:
        load_spec(path)
    except SpecError:
        return
    CHECK.validate(study)
