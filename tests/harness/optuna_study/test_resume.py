"""A driver that dies between any two writes, and what the next one makes of it.

The driver here is simulated in this process: it dies by an exception at its n-th write to the
ledger or the database, before or after the write. ``tests/integration/test_killed_driver.py``
kills real ones.
"""

import json
import math
import shutil

import optuna
import pytest
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from harness.record.ledger import Ledger, read_events
from harness.spec import SpecError, load_spec
from tests.simulation import PCK, STUDY, Simulation, curve

WRITES = (
    "create_new_study", "create_new_trial", "set_study_user_attr", "set_trial_param",
    "set_trial_state_values", "set_trial_intermediate_value", "set_trial_user_attr",
    "set_trial_system_attr",
)  # fmt: skip


class Death(BaseException):
    """Not an Exception, so that nothing in between can handle it."""


class Mortality:
    """Counts the writes of a driver and ends it at one of them."""

    def __init__(self, patch):
        self.num_writes = 0
        self.dies_at = None
        for owner, name in [(Ledger, "_write"), *((RDBStorage, name) for name in WRITES)]:
            patch.setattr(owner, name, self._mortal(getattr(owner, name)))

    def _mortal(self, write):
        def mortal(*arguments, **named):
            self._write(at=2 * self.num_writes)
            result = write(*arguments, **named)
            self._write(at=2 * self.num_writes + 1)
            self.num_writes += 1
            return result

        return mortal

    def _write(self, at):
        if at == self.dies_at:
            raise Death


@pytest.fixture
def mortality(monkeypatch):
    return Mortality(monkeypatch)


def run(spec, root, empty=None, **options):
    if empty is not None and not root.exists():
        root.mkdir()
        shutil.copy(empty, root / "optuna.db")
    simulation = Simulation(spec, root, **options)
    try:
        simulation.run(curve, num_steps=4)
    finally:
        simulation.close()
    return simulation


def outcome(spec, root):
    """What a study has come to: its trials, their curves, and Optuna's view of it."""
    ledger = root / "studies" / "t" / "events.jsonl"
    events = list(read_events(ledger))
    trials = {e["number"]: (e["name"], e["fields"]) for e in events if e["event"] == "run"}
    curves = [(e["number"], e["step"], e["metrics"]) for e in events if e["event"] == "epoch"]
    assert len(curves) == len({curve[:2] for curve in curves}), "each epoch is there once"
    ends = {e["number"]: (e["state"], e["value"]) for e in events if e["event"] == "finished"}
    study = optuna.load_study(study_name="t", storage=f"sqlite:///{root / 'optuna.db'}")
    stored = [
        (t.number, t.state, t.params, t.values, t.intermediate_values)
        for t in study.get_trials(deepcopy=False)
    ]
    return trials, sorted(curves, key=lambda c: c[:2]), ends, stored


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """A database with tables and nothing in them, as making one takes half a second."""
    path = tmp_path_factory.mktemp("empty") / "optuna.db"
    RDBStorage(f"sqlite:///{path}")
    return path


@pytest.fixture
def spec(write_study):
    return load_spec(write_study(STUDY))


@pytest.mark.timeout(900)  # five minutes for all deaths, beside other tests
def test_a_study_that_dies_at_any_write_ends_as_one_that_never_did(
    spec, tmp_path, mortality, empty, subtests_of_deaths
):
    run(spec, tmp_path / "whole")
    expected = outcome(spec, tmp_path / "whole")
    assert {state for state, _ in expected[2].values()} == {"complete", "pruned"}
    num_deaths = 2 * mortality.num_writes
    for dies_at in subtests_of_deaths(num_deaths):
        root = tmp_path / str(dies_at)
        mortality.num_writes, mortality.dies_at = 0, dies_at
        with pytest.raises(Death):
            run(spec, root, empty)
        mortality.dies_at = None
        run(spec, root)
        assert outcome(spec, root) == expected, f"death {dies_at} of {num_deaths}"


@pytest.fixture(params=["some", pytest.param("all", marks=pytest.mark.faults)])
def subtests_of_deaths(request):
    """Which writes to die at: a spread of them by default, every one among the faults."""
    return lambda number: range(0, number, 1 if request.param == "all" else number // 12)


def test_a_driver_that_dies_again_and_again_makes_progress(spec, tmp_path, mortality):
    run(spec, tmp_path / "whole")
    expected = outcome(spec, tmp_path / "whole")
    deaths = 0
    while True:
        mortality.num_writes, mortality.dies_at = 0, 17
        try:
            run(spec, tmp_path / "mortal")
        except Death:
            deaths += 1
        else:
            break
    assert deaths > 5, "or this would show little"
    assert outcome(spec, tmp_path / "mortal") == expected


def test_a_ledger_torn_at_any_byte_of_its_last_line_is_mended(spec, tmp_path, mortality):
    run(spec, tmp_path / "whole")
    expected = outcome(spec, tmp_path / "whole")
    mortality.num_writes, mortality.dies_at = 0, 2 * 60 + 1
    with pytest.raises(Death):
        run(spec, tmp_path / "mortal")
    mortality.dies_at = None
    path = tmp_path / "mortal" / "studies" / "t" / "events.jsonl"
    whole = path.read_bytes()
    last = whole.rindex(b"\n", 0, -1) + 1
    for end in (last, last + 1, (last + len(whole)) // 2, len(whole) - 1):
        path.write_bytes(whole[:end])
        Ledger(path).close()
        assert path.read_bytes() == whole[:last]
    run(spec, tmp_path / "mortal")
    assert outcome(spec, tmp_path / "mortal") == expected


def test_a_flaw_is_remembered_when_the_driver_dies_before_it_ends_the_trial(write_study, tmp_path):
    text = STUDY.replace("run_cap: 7", "run_cap: 1")
    spec = load_spec(write_study(text))
    simulation = Simulation(spec, tmp_path)
    simulation.bridge.ask("a")
    simulation.bridge.report("a", {f"metrics/{PCK}": math.nan, "step": 1, "num_steps": 4})
    simulation.close()  # before Tune says that the trial is over
    simulation = Simulation(spec, tmp_path)
    assert simulation.bridge.is_over
    (record,) = simulation.ledger.runs.values()
    simulation.close()
    assert (record.state, record.reason) == ("failed", f"objective {PCK} is nan at step 1")


def test_a_finished_study_is_left_as_it_is(spec, tmp_path):
    run(spec, tmp_path)
    ledger = tmp_path / "studies" / "t" / "events.jsonl"
    before = ledger.read_bytes()
    simulation = Simulation(spec, tmp_path)
    assert simulation.bridge.is_over
    simulation.close()
    assert ledger.read_bytes() == before


def test_a_raised_budget_goes_on_with_what_the_sampler_knows(write_study, tmp_path):
    short = load_spec(write_study(STUDY.replace("run_cap: 7", "run_cap: 4")))
    spec = load_spec(write_study(STUDY))
    run(spec, tmp_path / "whole")
    run(short, tmp_path / "raised")
    run(spec, tmp_path / "raised")
    assert outcome(spec, tmp_path / "raised") == outcome(spec, tmp_path / "whole")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("max: 1}", "max: 2}", r"parameters\.vae\.kl_weight\.max was 1, is 2"),
        ("eta: 2", "eta: 3", r"early_terminate\.eta was 2, is 3"),
        ("maximize", "minimize", "metrics was"),
    ],
)
def test_a_changed_space_is_refused_with_the_choices(write_study, tmp_path, old, new, words):
    run(load_spec(write_study(STUDY)), tmp_path)
    ledger = tmp_path / "studies" / "t" / "events.jsonl"
    before = ledger.read_bytes()
    with pytest.raises(SpecError, match=f"{words}.*--new.*--accept-change"):
        Simulation(load_spec(write_study(STUDY.replace(old, new))), tmp_path)
    assert ledger.read_bytes() == before


def test_changed_code_is_refused(spec, tmp_path, monkeypatch):
    run(spec, tmp_path)
    monkeypatch.setattr("harness.optuna_study.continuation.code_digest", lambda: "another")
    with pytest.raises(SpecError, match="study t was .* another version of the code"):
        Simulation(spec, tmp_path)


def test_what_may_change_may_change(write_study, tmp_path):
    run(load_spec(write_study(STUDY)), tmp_path)
    text = STUDY + "resources: {parallel: 3}\nfailures: {retries: 4}\n"
    Simulation(load_spec(write_study(text)), tmp_path).close()


def test_an_accepted_change_goes_on_with_the_new_space(write_study, tmp_path):
    run(load_spec(write_study(STUDY)), tmp_path)
    wider = STUDY.replace("max: 1}", "max: 2}").replace("run_cap: 7", "run_cap: 9")
    spec = load_spec(write_study(wider))
    simulation = run(spec, tmp_path, accept_change=True)
    assert len({r.trial for r in simulation.ledger.runs.values()}) == 9
    Simulation(spec, tmp_path).close()  # from now on this is the study


def test_categories_cannot_change_even_so(write_study, tmp_path):
    run(load_spec(write_study(STUDY)), tmp_path)
    other = STUDY.replace("[all, hardest, random]", "[all, hardest, random, easiest]")
    with pytest.raises(SpecError, match=r"parameters\.sampling\.strategy cannot change"):
        Simulation(load_spec(write_study(other)), tmp_path, accept_change=True)


def test_an_end_that_only_the_database_kept_is_believed(spec, tmp_path):
    """After a power failure the ledger may lack what the database has."""
    run(spec, tmp_path)
    expected = outcome(spec, tmp_path)
    ledger = tmp_path / "studies" / "t" / "events.jsonl"
    kept = [
        line
        for line in ledger.read_text().splitlines(keepends=True)
        if json.loads(line)["event"] not in ("end", "finished")
    ]
    ledger.write_text("".join(kept))
    run(spec, tmp_path)
    assert outcome(spec, tmp_path) == expected
    states = {trial[1] for trial in expected[3]}
    assert states == {TrialState.COMPLETE, TrialState.PRUNED}


LAW = """
name: t
trainable: adaptation
metric: {name: target_val/pck_05, goal: maximize}
method: tpe
parameters:
  PARAMETER
budget: {run_cap: 7}
"""


def constant(fields, step):
    return {PCK: float(step)}


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [
        (
            "sampling.strategy: {values: [all, hardest], probabilities: [0.9, 0.1]}",
            "sampling.strategy: {values: [all, hardest], probabilities: [0.1, 0.9]}",
            "sampling.strategy",
        ),
        (
            "adapt.lr: {distribution: log_normal, mu: -7, sigma: 1}",
            "adapt.lr: {distribution: log_normal, mu: -6, sigma: 1}",
            "adapt.lr",
        ),
        (
            "sampling.keep: {distribution: beta, a: 2, b: 5}",
            "sampling.keep: {distribution: beta, a: 5, b: 2}",
            "sampling.keep",
        ),
        (
            "adapt.batch_size: {distribution: q_log_uniform_values, min: 8, max: 128, q: 8}",
            "adapt.batch_size: {distribution: q_log_uniform_values, min: 8, max: 128, q: 12}",
            "adapt.batch_size",
        ),
        (
            "bins.subset: {choose: {from: bins.count, min: 1, max: 4}}",
            "bins.subset: {choose: {from: bins.count, min: 1, max: 1}}",
            "bins.subset",
        ),
    ],
)
def test_a_change_under_which_old_trials_mean_something_else_is_refused(
    write_study, tmp_path, old, new, name
):
    def study(parameter):
        fixed = "fixed: {sampling.strategy: bins}\n" if name == "bins.subset" else ""
        return load_spec(write_study(LAW.replace("PARAMETER", parameter) + fixed))

    first = Simulation(study(old), tmp_path)
    first.run(constant, num_steps=1)
    first.close()
    words = rf"parameters\.{name} cannot change like this.*trained .* would now read as .*--new"
    with pytest.raises(SpecError, match=words):
        Simulation(study(new), tmp_path, accept_change=True)
    Simulation(study(old), tmp_path).close()  # it is still that study


def test_what_was_trained_stands_beside_the_codes_that_optuna_stores(write_study, tmp_path):
    parameters = (
        "adapt.batch_size: {distribution: q_log_uniform_values, min: 8, max: 128, q: 8}\n"
        "  sampling.strategy: {values: [bins, all], probabilities: [0.8, 0.2]}\n"
        "  bins.subset: {choose: {from: bins.count, min: 1, max: 3},\n"
        "    when: {sampling.strategy: bins}}"
    )
    simulation = Simulation(load_spec(write_study(LAW.replace("PARAMETER", parameters))), tmp_path)
    simulation.run(constant, num_steps=1)
    simulation.close()
    url = f"sqlite:///{tmp_path / 'optuna.db'}"
    frame = optuna.load_study(study_name="t", storage=url).trials_dataframe()
    records = list(simulation.ledger.runs.values())
    assert {"bins", "all"} == {record.fields["sampling.strategy"] for record in records}
    for record, (_, row) in zip(records, frame.iterrows(), strict=True):
        for name in ("adapt.batch_size", "sampling.strategy"):
            assert row[f"user_attrs_{name}"] == record.searched[name] == record.fields[name]
        assert record.searched["adapt.batch_size"] % 8 == 0
        if "bins.subset" in record.searched:
            assert row["user_attrs_bins.subset"] == record.fields["bins.subset"]
        assert set(record.searched) <= {"adapt.batch_size", "sampling.strategy", "bins.subset"}
