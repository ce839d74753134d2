"""What the runs say: names, parameters, tags, the note and the summary."""

import json
import subprocess
import sys

import pytest
from ruamel.yaml import YAML

from harness.mlflow_tracking import contents
from harness.mlflow_tracking.note import CUT, MAX_CHARACTERS, study_note
from harness.mlflow_tracking.provenance import git_commit, harness_version
from harness.record.ledger import RunRecord
from tests.conftest import ROOT
from tests.mlflow_study import PCK, RUNS, SPEC, study_events, write

EVENTS = list(study_events(RUNS))
STUDY, RUN = EVENTS[0], EVENTS[1]
KL = "train/source_kl"


def test_runs_that_differ_in_their_seed_alone_have_one_hash():
    first = contents.config_hash({"seed": 0, "a": [1, 2], "b": 0.5})
    assert contents.config_hash({"b": 0.5, "seed": 7, "a": [1, 2]}) == first
    assert contents.config_hash({"seed": 0, "a": [2, 1], "b": 0.5}) != first


BINS = {"sampling.strategy": "bins", "bins.count": 6, "bins.subset": [2, 4, 5]}
HARD = {"sampling.strategy": "hardest", "bins.count": 6, "bins.subset": [2]}


@pytest.mark.parametrize(
    ("run", "varied", "name"),
    [
        ({"is_baseline": True}, ["sampling.strategy"], "07 vae_hm"),
        ({"fields": BINS}, list(BINS), "07 bins 2+4+5 of 6"),
        ({"fields": BINS | {"bins.subset": None}}, list(BINS), "07 bins all of 6"),
        ({"fields": HARD | {"vae.kl_weight": 0.01234}}, ["vae.kl_weight", *HARD],
         "07 hardest kl_weight=0.0123"),
        ({"fields": {"vae.kl_weight": 0.01234, **BINS}}, ["vae.kl_weight"], "07 kl_weight=0.0123"),
        ({"fields": HARD | {"seed": 1}, "seed": 1}, ["sampling.strategy", "seed"],
         "07 s1 hardest seed=1"),
        ({"fields": HARD}, [], "07 vae_hm"),
    ],
)  # fmt: skip
def test_a_runs_name_begins_with_its_number_and_what_it_draws(run, varied, name):
    given = {"trial": 7, "seed": 0, "trial_name": "vae_hm", "is_baseline": False, "fields": {}}
    given |= run
    given["params"] = {field: given["fields"].get(field) for field in varied}
    assert contents.run_title(STUDY | {"varied": varied}, given) == name


def test_a_replay_is_named_for_what_it_replays():
    study = STUDY | {"kind": "replay", "study": "replay-0123abcd"}
    assert contents.run_title(study, RUN) == "replay-0123abcd"


def test_a_runs_name_is_cut_after_a_whole_word():
    fields = {f"section.parameter_{i}": i for i in range(20)}
    run = RUN | {"trial": 7, "is_baseline": False, "fields": fields, "params": fields}
    name = contents.run_title(STUDY | {"varied": list(fields)}, run)
    # " parameter_0=0" is 14 long, and after "07" there is place for five.
    assert name == "07" + "".join(f" parameter_{i}={i}" for i in range(5))


def test_parameters_are_those_in_which_runs_differ_and_the_same_for_all():
    assert contents.run_params(STUDY, RUN) == {"vae.kl_weight": 0.1, "bins.subset": [0, 2]}
    with_seeds = STUDY | {"space": {"seeds": 2}}
    assert contents.run_params(with_seeds, RUN)["seed"] == 0


def test_a_runs_tags_let_one_filter_and_group():
    tags = contents.run_tags(STUDY, RUN | {"number": 5, "trial": 2})
    assert (tags["run"], tags["trial"], tags["seed"]) == ("5", "2", "0")
    assert json.loads(tags["config"]) == RUN["fields"]
    assert "retry_of" not in tags
    assert contents.run_tags(STUDY, RUN | {"retry_of": 0})["retry_of"] == "0"


def test_a_runs_number_is_read_from_its_tags():
    assert contents.run_number({"run": "5", "trial": "2"}) == 5
    assert contents.run_number(contents.summary_tags(STUDY)) is None


def test_a_stage_under_two_names_counts_once():
    fitted = {"pose_vae": ["miss", "k", 5.0], "pose_vae/reference": ["hit", "k", 5.0]}
    _, metrics = contents.lineage(fitted)
    assert metrics == {"stages/seconds_saved": 0.0, "stages/seconds_spent": 5.0}


def test_seconds_of_stages_found_are_saved_and_of_others_spent():
    stages = {"a": ["hit", "k", 5.0], "b": ["miss", "l", 2.0], "c": ["repaired", "m", 1.0]}
    tags, metrics = contents.lineage(stages)
    assert (tags["stage/a"], tags["stage/c"]) == ("hit", "repaired")
    assert json.loads(tags["stages"])["b"] == {"outcome": "miss", "key": "l", "seconds": 2.0}
    assert metrics == {"stages/seconds_saved": 5.0, "stages/seconds_spent": 3.0}


def test_the_summary_counts_states_and_repeated_trials(tmp_path):
    runs = [(0, "complete"), (1, "complete"), (2, "pruned"), (3, "failed"), (4, "complete")]
    study, *events, end = study_events(runs)
    duplicate = {"event": "duplicate", "trial": 9, "of": 1, "time": 0.0}
    write(tmp_path, [study, *events, duplicate, end, *events[:2]])
    described, records, num_duplicates = contents.ended_runs(tmp_path / "events.jsonl", end)
    assert described == study
    assert contents.counts(records, num_duplicates) == {
        "runs_complete": "3", "runs_pruned": "1", "runs_failed": "1", "runs_stopped": "0",
        "duplicate_trials": "1",
    }  # fmt: skip


def _best_of(states, metrics, more=(), **fields):
    """Best of two runs for each trial, seeds 0 and 1, with these metrics of their last epochs."""
    goals = [{"name": PCK, "goal": "maximize"}, {"name": KL, "goal": "minimize"}]
    content = {**SPEC, "metrics": goals, "seeds": 2, **dict(more)}
    study = {**STUDY, "objectives": goals, "yaml": json.dumps(content)}
    runs = {
        number: RunRecord(
            number=number, trial=number // 2, trial_name=f"t{number // 2}", seed=number % 2,
            name=f"t{number}", is_baseline=False, params={}, fields=fields, state=state,
            metrics=dict(zip((PCK, KL), values, strict=True)),
        )
        for number, (state, values) in enumerate(zip(states, metrics, strict=True))
    }  # fmt: skip
    return contents.best_of(study, runs)


def test_the_best_is_that_of_the_tables_by_means_over_seeds():
    metrics = [(50.0, 3.0), (30.0, 3.0), (42.0, 5.0), (44.0, 5.0), (90.0, 0.0), (90.0, 0.0)]
    states = ["complete"] * 4 + ["complete", "pruned"]
    assert _best_of(states, metrics) == ({f"best/{PCK}": "43", f"best/{KL}": "3"}, 2)


def test_what_breaks_a_constraint_or_reads_target_labels_is_not_the_best():
    metrics = [(50.0, 3.0), (50.0, 3.0), (42.0, 1.0), (44.0, 1.0)]
    limits = {"constraints": [{"name": KL, "max": 2.0}]}
    assert _best_of(["complete"] * 4, metrics, limits) == (
        {f"best/{PCK}": "43", f"best/{KL}": "1"},
        2,
    )
    oracle = {"adapt.method": "oracle"}
    assert _best_of(["complete"] * 4, metrics, **oracle) == ({}, None)


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ({}, ({f"best/{PCK}": "1"}, 0)),
        ({"yaml": json.dumps({**SPEC, "oddity": 1})}, ({}, None)),
        ({"kind": "confirmation"}, ({}, None)),
    ],
)
def test_a_study_of_an_unknown_version_and_a_confirmation_have_no_best(other, expected):
    run = RunRecord(
        number=0, trial=0, trial_name="t0", seed=0, name="t0", is_baseline=False, params={},
        fields={}, state="complete", metrics={PCK: 1.0},
    )  # fmt: skip
    assert contents.best_of(STUDY | other, {0: run}) == expected


def test_a_study_without_a_complete_run_has_no_best():
    assert _best_of(["failed", "failed"], [(1.0, 1.0)] * 2) == ({}, None)


def test_the_note_shows_the_space_as_a_table_and_the_file_as_yaml():
    spec = {"name": "s", "parameters": {"a.b": {"values": ["x", "y|z"]}}, "fixed": {"c": 1e-4}}
    note = study_note(STUDY | {"yaml": json.dumps(spec)})
    assert note.startswith("Search: maximize `target_val/pck_05`.\n")
    assert '| `a.b` | values `["x", "y\\|z"]` |' in note
    assert "config_hash" in note
    text = note.split("```yaml\n")[1].removesuffix("```\n")
    assert "{" not in text
    assert YAML(typ="safe").load(text) == spec


def test_the_title_of_a_study_heads_its_note():
    note = study_note(STUDY | {"yaml": json.dumps({"name": "s", "title": "Easy half\n(2)"})})
    assert note.startswith("**Easy half (2)**\n")


def test_the_note_of_an_ended_study_begins_with_its_best_trial_and_shows_the_table(tmp_path):
    events = list(study_events([(0, "complete"), (1, "complete"), (2, "pruned")]))
    write(tmp_path, events)
    study, records, _ = contents.ended_runs(tmp_path / "events.jsonl", events[-1])
    note = study_note(study, records.values())
    assert note.startswith(f"**Best: 01 t1, {PCK} 12.** Search: maximize `{PCK}`.\n")
    table = note.split("```text\n")[1].split("```")[0]
    rows = [line.split() for line in table.splitlines() if line.split()[0] in ("0", "1")]
    assert rows == [["1", "t1", "12", "+10"], ["0", "t0", "*", "2"]]
    assert "python -m harness.confirm s" in note


def test_the_note_of_an_ended_study_that_cannot_be_read_says_why_it_has_no_table():
    note = study_note(STUDY | {"yaml": json.dumps({"name": "s", "oddity": 1})}, [])
    assert "the results are in the ledger alone: " in note


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
