import random

import pytest

from harness.spec import load_spec
from tests.conftest import ROOT
from tests.simulation import Simulation
from trainables.config import TrialConfig

STUDIES = sorted((ROOT / "search_spaces").rglob("*.yaml"))


def test_there_are_studies():
    assert {"bins", "kl_weight", "lspet", "smoke"} <= {path.stem for path in STUDIES}


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_study_loads_and_its_draws_build_configs(path):
    space = load_spec(path).space
    rng = random.Random(7)
    for _ in range(200):
        TrialConfig.from_flat(space.draw(rng))
    for baseline in space.baselines():
        TrialConfig.from_flat(space.draw(rng, baseline.overrides))


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_study_is_resumed_after_its_driver_has_died(path, tmp_path):
    spec = load_spec(path)

    def curve(fields, step):
        return {metric.name: float(step) for metric in spec.metrics}

    first = Simulation(spec, tmp_path)
    for _ in range(len(spec.baselines) + 2):
        first.step(curve, num_steps=2)
    first.close()
    second = Simulation(spec, tmp_path)
    assert second.ledger.runs
    second.step(curve, num_steps=2)
    second.close()


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_study_begins_with_the_question_it_answers(path):
    first = path.read_text().splitlines()[1]
    assert first.startswith("# ")
    assert "?" in first


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_study_tells_an_editor_where_its_schema_is(path):
    marker, named = path.read_text().splitlines()[0].split("=")
    assert marker == "# yaml-language-server: $schema"
    assert (path.parent / named).resolve() == ROOT / "search_spaces" / "schema.json"


@pytest.mark.parametrize("name", ["bins", "lspet"])
def test_the_papers_ways_of_sampling_and_their_control_come_first(name):
    baselines = list(load_spec(ROOT / "search_spaces" / f"{name}.yaml").baselines)
    assert baselines[:4] == ["all", "vae_hm", "vae_cl", "random_third"]
