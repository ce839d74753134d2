"""When a study has to end before it is through."""

import os
import signal

import pytest

from harness.spec.sections import Budget
from harness.study import limits as limits_module
from harness.study.limits import Limits

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Clock:
    """A clock that is set by hand.

    Attributes:
        now: Seconds.
    """

    def __init__(self):
        self.now = 5000.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(limits_module, "time", clock)
    return clock


@pytest.fixture
def heard():
    """Signals that reached whoever listened before; the handlers are put back."""
    heard = []
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        signal.signal(number, lambda number, frame: heard.append(number))
    yield heard
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_budget_without_limits_never_ends(clock):
    limits = Limits(Budget(run_cap=3), earlier_s=1e9, gpu_s=lambda: 1e9)
    clock.now += 1e9
    assert limits.used_up is None
    assert limits.stops_runs is None


def test_the_hours_end_when_they_are_over_and_not_before(clock):
    limits = Limits(Budget(hours=0.5))
    clock.now += 1800
    assert limits.used_up is None
    clock.now += 1
    assert limits.used_up == "budget.hours 0.5 used up"


def test_the_hours_of_earlier_drivers_count(clock):
    limits = Limits(Budget(hours=0.5), earlier_s=1500)
    clock.now += 300
    assert limits.used_up is None
    clock.now += 1
    assert limits.used_up == "budget.hours 0.5 used up"


def test_gpu_hours_are_asked_for_anew_each_time(clock):
    spent = [0.0]
    limits = Limits(Budget(gpu_hours=2), gpu_s=lambda: spent[0])
    for seconds, reason in [(7199, None), (7200, None), (7201, "budget.gpu_hours 2 used up")]:
        spent[0] = seconds
        assert limits.used_up == reason
    clock.now += 1e6
    assert limits.used_up == "budget.gpu_hours 2 used up"


def test_of_two_budgets_the_first_that_is_used_up_ends_the_study(clock):
    spent = [0.0]
    limits = Limits(Budget(hours=1, gpu_hours=2), gpu_s=lambda: spent[0])
    spent[0] = 7201
    assert limits.used_up == "budget.gpu_hours 2 used up"
    clock.now += 3601
    assert limits.used_up == "budget.hours 1 used up"


@pytest.mark.parametrize(
    ("drain", "reason"), [("stop", "budget.hours 1 used up"), ("finish", None)]
)
def test_running_trials_stop_or_finish_as_the_budget_says(clock, drain, reason):
    limits = Limits(Budget(hours=1, drain=drain))
    assert limits.stops_runs is None
    clock.now += 3601
    assert limits.used_up is not None
    assert limits.stops_runs == reason


@pytest.mark.parametrize("number", SIGNALS)
def test_a_first_signal_stops_trials_and_a_second_does_what_it_always_did(heard, number):
    limits = Limits(Budget(drain="finish"))
    with limits.listening():
        assert limits.interruption is None
        os.kill(os.getpid(), number)
        assert limits.stops_runs == limits.interruption == f"interrupted by {number.name}"
        assert heard == []
        os.kill(os.getpid(), number)
        assert heard == [number]
    assert limits.used_up is None


def test_another_signal_is_a_second_signal_too(heard):
    limits = Limits(Budget())
    with limits.listening():
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
    assert heard == [signal.SIGINT]
    assert limits.interruption == "interrupted by SIGTERM"


def test_afterwards_signals_are_left_to_others_again(heard):
    limits = Limits(Budget())
    with limits.listening():
        pass
    for number in SIGNALS:
        os.kill(os.getpid(), number)
    assert heard == list(SIGNALS)
    assert limits.interruption is None


def test_a_handler_that_ray_has_put_is_replaced(heard):
    limits = Limits(Budget())
    with limits.listening():
        signal.signal(signal.SIGTERM, lambda number, frame: heard.append("ray"))
        limits.listen()
        os.kill(os.getpid(), signal.SIGTERM)
    assert limits.interruption == "interrupted by SIGTERM"
    assert heard == []


def test_a_second_signal_counts_though_the_first_came_while_ray_started(heard):
    limits = Limits(Budget())
    with limits.listening():
        os.kill(os.getpid(), signal.SIGINT)
        limits.listen()
        os.kill(os.getpid(), signal.SIGINT)
    assert heard == [signal.SIGINT]


def test_under_nohup_a_closed_terminal_is_no_reason_to_end(heard):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    limits = Limits(Budget())
    with limits.listening():
        os.kill(os.getpid(), signal.SIGHUP)
        assert limits.interruption is None
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
