import io
import time

import pytest

from harness.record.ledger import apply_event
from harness.spec import StudySpec
from harness.terminal.progress import LiveProgress, PlainProgress, StudyView, describe_params


class View(StudyView):
    """Keeps the records up to date itself, as a ledger does."""

    def __init__(self, goal, num_trials, num_seeds=1, constraints=()):
        content = {
            "name": "s",
            "metrics": [{"name": "m", "goal": goal}],
            "parameters": {"vae.kl_weight": {"min": 0.1, "max": 1.0}},
            "constraints": constraints,
            "seeds": num_seeds,
            "budget": {} if num_trials is None else {"run_cap": num_trials},
        }
        self.spec = StudySpec.model_validate(content)
        super().__init__(self.spec, {})

    def apply(self, event):
        apply_event(self.runs, event)
        super().apply(event)


def _run(number, name="trial", **params):
    fields = {"vae.kl_weight": 0.25, "bins.subset": [0, 2], "seed": 0}
    return {
        "event": "run", "time": 0.0, "number": number, "trial": number,
        "trial_name": name, "seed": 0, "name": name, "is_baseline": False,
        "params": params, "fields": fields,
    }  # fmt: skip


def _epoch(number, step, value, at, num_steps=4):
    return {
        "event": "epoch", "time": at, "number": number, "step": step, "num_steps": num_steps,
        "metrics": {"m": value}, "stages": {}, "digests": {}, "tags": {},
    }  # fmt: skip


def _finished(number, state="complete", value=None, reason=None):
    return {
        "event": "finished", "time": 0.0, "number": number, "state": state, "value": value,
        "reason": reason,
    }  # fmt: skip


def test_the_time_left_follows_from_the_pace_of_epochs_after_the_first():
    view = View("maximize", 3)
    view.apply(_run(0))
    assert view.eta_s() is None
    view.apply(_epoch(0, 1, 1.0, at=100.0))  # with preparation: not a pace
    assert view.eta_s() is None
    view.apply(_epoch(0, 2, 1.0, at=110.0))
    # Two of twelve epochs done, ten at 10 s each, one run at a time.
    assert view.eta_s() == pytest.approx(100.0)
    view.apply(_run(1))
    assert view.eta_s() == pytest.approx(50.0)  # two at a time


@pytest.mark.parametrize(
    ("stages", "reused"),
    [
        ({"training": ["hit", "k", 9.0]}, (1, 2, 3, 4)),
        ({"pretrain": ["hit", "k", 9.0], "training": ["miss", "k", 9.0]}, (1, 2)),
        ({"pretrain": ["miss", "k", 9.0]}, ()),
    ],
)
def test_reused_epochs_are_no_pace(stages, reused):
    view = View("maximize", 2)
    first = _run(0)
    first["fields"]["adapt.pretrain_epochs"] = 2
    view.apply(first)
    at = 100.0
    for step in (1, 2, 3, 4):
        at += 0.001 if step in reused else 10.0
        view.apply(_epoch(0, step, 1.0, at=at) | {"stages": stages})
    view.apply(_run(1))
    view.apply(_finished(0))
    expected = None if len(reused) == 4 else pytest.approx(40.0)
    assert view.eta_s() == expected


def test_a_pruned_run_counts_as_done():
    view = View("maximize", 2)
    view.apply(_run(0))
    view.apply(_epoch(0, 1, 1.0, at=0.0))
    view.apply(_finished(0, "pruned"))
    assert view.fraction_done() == 0.5
    assert view.num_finished == 1


@pytest.mark.parametrize(("goal", "best"), [("maximize", 1), ("minimize", 0)])
def test_the_best_is_a_complete_run_in_the_right_direction(goal, best):
    view = View(goal, 3)
    for number, value in enumerate((1.0, 2.0)):
        view.apply(_run(number))
        view.apply(_epoch(number, 4, value, at=0.0))
        view.apply(_finished(number, value=value))
    view.apply(_run(2))
    view.apply(_epoch(2, 1, 9.0 if goal == "maximize" else 0.0, at=0.0))
    view.apply(_finished(2, "pruned"))
    assert view.best.number == best


def test_the_best_is_by_the_mean_over_seeds_of_trials_that_have_them_all():
    view = View("maximize", 3, num_seeds=2)
    for number, value in enumerate((50.0, 30.0, 42.0, 44.0, 60.0)):
        view.apply(_run(number) | {"trial": number // 2, "seed": number % 2})
        view.apply(_epoch(number, 4, value, at=0.0))
        view.apply(_finished(number, value=value))
    assert (view.best.number, view.best.means["m"]) == (1, 43.0)


def test_a_trial_that_breaks_a_constraint_is_not_the_best_so_far():
    view = View("maximize", 2, constraints=[{"name": "other", "max": 1.0}])
    for number, (value, other) in enumerate(((40.0, 0.5), (50.0, 2.0))):
        view.apply(_run(number))
        view.apply(_epoch(number, 4, value, at=0.0) | {"metrics": {"m": value, "other": other}})
        view.apply(_finished(number, value=value))
    assert view.best.number == 0


def test_a_view_of_a_resumed_study_knows_the_best_of_before():
    before = View("maximize", 2)
    for event in (_run(0), _epoch(0, 4, 41.5, at=0.0), _finished(0, value=41.5)):
        before.apply(event)
    view = StudyView(before.spec, before.runs)
    view.apply({"event": "resume", "time": 1.0})
    assert view.best.means == {"m": 41.5}


def test_the_oracle_is_not_the_best_so_far():
    view = View("maximize", 2)
    for number, method, value in ((0, "regda", 60.0), (1, "oracle", 75.0)):
        event = _run(number)
        view.apply(event | {"fields": event["fields"] | {"adapt.method": method}})
        view.apply(_epoch(number, 4, value, at=0.0))
        view.apply(_finished(number, value=value))
    assert view.best.number == 0


def test_plain_lines_tell_each_event_without_control_codes():
    out = io.StringIO()
    progress = PlainProgress(View("maximize", 2), out)
    progress(_run(0, "vae_hm", **{"vae.kl_weight": 0.25}))
    progress(_epoch(0, 1, 12.345, at=0.0))
    progress(_finished(0, "failed", reason="ValueError: im1.jpg is not a readable image"))
    progress({"event": "end", "time": 0.0, "state": "complete"})
    progress.close()
    lines = out.getvalue().splitlines()
    assert len(lines) == 3
    assert lines[0].endswith("run 0 vae_hm starts: kl_weight=0.25")
    assert "epoch 1/4  m 12.35" in lines[1]
    assert lines[2].endswith("failed: ValueError: im1.jpg is not a readable image")
    assert "\x1b" not in out.getvalue()


def test_the_live_view_shows_runs_best_bar_and_time_left():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    out = Terminal()
    progress = LiveProgress(View("maximize", 2), out)
    for event in (
        _run(0, "all", **{"bins.subset/b00": True}), _epoch(0, 1, 1.0, at=0.0),
        _epoch(0, 2, 41.5, at=10.0), _finished(0, value=41.5), _run(1, "trial-1"),
    ):  # fmt: skip
        progress(event)
    time.sleep(0.3)
    progress.close()
    text = out.getvalue()
    for words in ("all", "preparing", "1/2 runs", "best 41.5", "left", "0+2"):
        assert words in text, words


def test_the_parameters_are_those_that_were_searched():
    view = View("maximize", 1)
    view.apply(_run(0, **{"bins.subset/b00": True, "bins.subset/b01": False}))
    assert describe_params(view.runs[0]) == "subset=0+2"


def test_a_run_that_goes_on_says_after_what_and_why():
    out = io.StringIO()
    progress = PlainProgress(View("maximize", 2), out)
    progress(_run(0))
    progress({"event": "continued", "time": 1.0, "number": 0, "step": 3, "why": "lost node"})
    progress({"event": "continued", "time": 2.0, "number": 0, "step": 0, "why": "killed"})
    progress({"event": "duplicate", "time": 2.0, "trial": 5, "of": 0})
    lines = out.getvalue().splitlines()
    assert lines[1].endswith("run 0 trial continues after epoch 3: lost node")
    assert lines[2].endswith("run 0 trial continues from its start: killed")
    assert lines[3] == "trial 5 is the same as trial 0 and is not run again"


def test_only_the_first_of_several_duplicates_in_a_row_is_shown():
    out = io.StringIO()
    progress = PlainProgress(View("maximize", 2), out)
    progress(_run(0))
    for trial in (1, 2, 3):
        progress({"event": "duplicate", "time": 2.0, "trial": trial, "of": 0})
    progress(_run(4))
    progress({"event": "duplicate", "time": 2.0, "trial": 5, "of": 0})
    said = [line for line in out.getvalue().splitlines() if "is the same as" in line]
    assert [line.split()[1] for line in said] == ["1", "5"]


def test_a_study_without_an_end_shows_no_share_and_no_time_left():
    view = View("maximize", None)
    view.apply(_run(0))
    for step in (1, 2):
        view.apply(_epoch(0, step, 1.0, at=10.0 * step))
    assert (view.fraction_done(), view.eta_s()) == (0.0, None)


def test_every_run_of_a_trial_counts():
    view = View("maximize", 2, num_seeds=3)
    view.apply(_run(0))
    view.apply(_finished(0, value=1.0))
    assert view.fraction_done() == pytest.approx(1 / 6)
