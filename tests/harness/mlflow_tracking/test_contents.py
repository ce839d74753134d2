"""What the runs say: names, parameters, tags, the note and the summary."""

import json
import subprocess
import sys

import pytest
from ruamel.yaml import YAML

from harness.mlflow_tracking import contents
from harness.mlflow_tracking.note import CUT, MAX_CHARACTERS, study_note
from harness.mlflow_tracking.provenance import git_commit, harness_version
from tests.conftest import ROOT
from tests.mlflow_study import RUNS, study_events, write

EVENTS = list(study_events(RUNS))
STUDY, RUN = EVENTS[0], EVENTS[1]


def test_runs_that_differ_in_their_seed_alone_have_one_hash():
    first = contents.config_hash({"seed": 0, "a": [1, 2], "b": 0.5})
    assert contents.config_hash({"b": 0.5, "seed": 7, "a": [1, 2]}) == first
    assert contents.config_hash({"seed": 0, "a": [2, 1], "b": 0.5}) != first


@pytest.mark.parametrize(
    ("is_baseline", "varied", "name"),
    [
        (True, ["sampling.strategy"], "vae_hm#7"),
        (False, ["sampling.strategy", "vae.kl_weight"], "hardest kl_weight=0.0123 #7"),
        (False, ["bins.subset", "not.here"], "subset=0,2 #7"),
        (False, [], "vae_hm #7"),
    ],
)
def test_a_runs_name_says_what_it_tries(is_baseline, varied, name):
    fields = {"sampling.strategy": "hardest", "vae.kl_weight": 0.012345, "bins.subset": [0, 2]}
    params = {"sampling.strategy": "hardest", "vae.kl_weight": 0.012345, "bins.subset/b00": True}
    run = {"number": 7, "name": "vae_hm", "is_baseline": is_baseline, "fields": fields}
    assert contents.run_title({"varied": varied}, run | {"params": params}) == name


def test_a_runs_name_leaves_out_what_the_run_does_not_have():
    fields = {"sampling.strategy": "hardest", "bins.count": 6}
    run = {"number": 7, "name": "x", "is_baseline": False, "fields": fields}
    run["params"] = {"sampling.strategy": "hardest"}
    assert contents.run_title({"varied": list(fields)}, run) == "hardest #7"


def test_a_runs_name_is_cut_after_a_whole_word():
    fields = {f"section.parameter_{i}": i for i in range(20)}
    run = {"number": 7, "name": "x", "is_baseline": False, "fields": fields, "params": fields}
    name = contents.run_title({"varied": list(fields)}, run)
    # "parameter_0=0 " is 14 long, and five of them leave no place for a sixth and " #7".
    assert name == "".join(f"parameter_{i}={i} " for i in range(5)) + "#7"


def test_a_runs_tags_let_one_filter_and_group():
    tags = contents.run_tags(STUDY, RUN | {"number": 5, "trial": 2})
    assert (tags["run"], tags["trial"], tags["seed"]) == ("5", "2", "0")
    assert json.loads(tags["config"]) == RUN["fields"]
    assert "retry_of" not in tags
    assert contents.run_tags(STUDY, RUN | {"retry_of": 0})["retry_of"] == "0"


def test_a_runs_number_is_read_from_tags_of_this_and_of_earlier_versions():
    assert contents.run_number({"run": "5", "trial": "2"}) == 5
    assert contents.run_number({"trial": "5", "setting": "2"}) == 5
    assert contents.run_number(contents.study_tags(STUDY)) is None


def test_seconds_of_stages_found_are_saved_and_of_others_spent():
    stages = {"a": ["hit", "k", 5.0], "b": ["miss", "l", 2.0], "c": ["repaired", "m", 1.0]}
    tag, metrics = contents.lineage(stages)
    assert json.loads(tag)["b"] == {"outcome": "miss", "key": "l", "seconds": 2.0}
    assert metrics == {"stages/seconds_saved": 5.0, "stages/seconds_spent": 3.0}


def test_the_summary_counts_states_and_takes_the_best_of_the_complete(tmp_path):
    runs = [(0, "complete"), (1, "complete"), (2, "pruned"), (3, "failed"), (4, "complete")]
    events = list(study_events(runs))
    objectives = [{"name": "m", "goal": "maximize"}, {"name": "pck_bin/00", "goal": "minimize"}]
    study = events[0] | {"objectives": objectives}
    duplicate = {"event": "duplicate", "trial": 9, "of": 1, "time": 0.0}
    write(tmp_path, [study, *events[1:-1], duplicate, events[-1], *events[1:3]])
    metrics, best = contents.summary(tmp_path / "events.jsonl", study, events[-1])
    assert best == 4
    assert metrics == {
        "runs/complete": 3.0, "runs/pruned": 1.0, "runs/failed": 1.0, "runs/stopped": 0.0,
        "trials/duplicate": 1.0, "best/m": 42.0, "best/pck_bin/00": 5.0,
    }  # fmt: skip


def test_a_study_without_a_complete_run_has_no_best(tmp_path):
    write(tmp_path, study_events([(0, "failed")]))
    metrics, best = contents.summary(tmp_path / "events.jsonl", STUDY, EVENTS[-1])
    assert best is None
    assert {name for name, value in metrics.items() if value} == {"runs/failed"}


def test_the_note_shows_the_space_as_a_table_and_the_file_as_yaml():
    spec = {"name": "s", "parameters": {"a.b": {"values": ["x", "y|z"]}}, "fixed": {"c": 1e-4}}
    note = study_note(STUDY | {"yaml": json.dumps(spec)})
    assert note.startswith("# s\n")
    assert "maximize `m`" in note
    assert '| `a.b` | values `["x", "y\\|z"]` |' in note
    assert "config_hash" in note
    text = note.split("```yaml\n")[1].removesuffix("```\n")
    assert "{" not in text
    assert YAML(typ="safe").load(text) == spec


def test_the_title_of_a_study_heads_its_note():
    note = study_note(STUDY | {"yaml": json.dumps({"name": "s", "title": "Easy half\n(2)"})})
    assert note.startswith("# Easy half (2)\n")


def test_a_note_that_is_too_long_is_cut_at_a_line_and_closed():
    spec = {"fixed": {f"field_{i}": "x" * 50 for i in range(400)}}
    note = study_note(STUDY | {"yaml": json.dumps(spec)})
    assert len(note) <= MAX_CHARACTERS
    assert note.endswith(f"\n{CUT}\n```\n")


def test_a_space_that_is_too_long_for_the_note_is_cut_too():
    spec = {"parameters": {f"section.field_{i}": {"values": ["x" * 50]} for i in range(400)}}
    note = study_note(STUDY | {"yaml": json.dumps(spec)})
    assert len(note) <= MAX_CHARACTERS
    assert note.endswith(f"{CUT}\n")


def test_the_commit_is_the_checkouts_wherever_the_command_is_given(tmp_path):
    head = subprocess.run(
        ["git", "rev-parse", "--short=12", "HEAD"], cwd=ROOT, capture_output=True, text=True
    ).stdout.strip()
    code = "from harness.mlflow_tracking.provenance import git_commit; print(git_commit())"
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert said.stdout.strip().removesuffix("+changes") == head
    assert git_commit() == said.stdout.strip()
    assert harness_version()
