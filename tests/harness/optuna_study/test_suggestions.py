"""A database that keeps what it is told but loses the answer."""

import pytest
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from sqlalchemy.exc import OperationalError

from harness.optuna_study import stored_study as optuna_study
from harness.spec import load_spec
from tests.harness.optuna_study.test_resume import STUDY, outcome, run

WRITES = (
    "_create_new_trial", "_set_trial_param", "set_trial_state_values",
    "set_trial_intermediate_value", "set_trial_user_attr", "set_trial_system_attr",
)  # fmt: skip


@pytest.mark.parametrize("every", [2, 3, 5])
def test_nothing_is_lost_or_left_running_when_answers_are(
    write_study, tmp_path, monkeypatch, every
):
    spec = load_spec(write_study(STUDY))
    monkeypatch.setattr(optuna_study, "FIRST_PAUSE_S", 0.0)
    calls, lost = {name: 0 for name in WRITES}, []

    def forgetful(name, write):
        def call(*arguments, **named):
            result = write(*arguments, **named)
            calls[name] += 1
            if calls[name] % every == 0:
                lost.append(name)
                gone = OperationalError("statement", {}, Exception("server closed the connection"))
                raise StorageInternalError("An exception is raised") from gone
            return result

        return call

    for name in WRITES:
        monkeypatch.setattr(RDBStorage, name, forgetful(name, getattr(RDBStorage, name)))
    run(spec, tmp_path / "forgetful")
    monkeypatch.undo()
    assert set(lost) >= {"_create_new_trial", "_set_trial_param", "set_trial_state_values"}
    trials, curves, ends, stored = outcome(spec, tmp_path / "forgetful")
    states = [trial[1] for trial in stored]
    assert not {TrialState.RUNNING, TrialState.FAIL} & set(states)
    assert len(ends) == len(trials) == spec.budget.run_cap
    assert [fields["sampling.strategy"] for name, fields in trials.values() if name == "all"]
    told = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED}
    assert {number: states[number] for number in ends} == {
        number: told[state] for number, (state, _) in ends.items()
    }
    reported = {number: {} for number in trials}
    for number, step, metrics in curves:
        reported[number][step] = metrics["target_val/pck_05"]
    assert {number: stored[number][4] for number in trials} == reported
