"""What a study will cost: played studies worked out by hand, budgets, disk, refusal."""

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.forecast.capacity import Machine
from harness.forecast.costs import RunCost, cost_key, noise_of, run_cost
from harness.forecast.plan import DATABASE_BYTES, REPORT_BYTES, RUN_BYTES, make_plan
from harness.forecast.simulation import END_S, REPORT_S, START_S, EarlyStops, play
from harness.forecast.trial_pool import TrialPool, vae_name
from harness.spec import StudySpec
from harness.spec.early_terminate import EarlyTerminate
from trainables.cost.measurement import Measurement

ROOMY = Machine(free_bytes=10**12, disk_bytes=10**12, memory_bytes=10**12)
TEN = RunCost(steps_s=(4.0, 6.0))
"""Ten seconds in two reports."""


def overhead(reports):
    """Of the harness on the way that takes longest."""
    return START_S + END_S + reports * REPORT_S


def study(**values):
    fields = {
        "name": "plan",
        "metrics": [{"name": "target_val/pck_05", "goal": "maximize"}],
        "parameters": {"vae.epochs": {"min": 1, "max": 100}},
        "budget": {"run_cap": 4},
        **values,
    }
    return StudySpec.model_validate(fields)


def pool(*costs, seeds=1, given=(), **others):
    return TrialPool(given=tuple(given), drawn=costs, seeds=seeds, **others)


def test_runs_one_after_the_other_take_the_sum():
    # 4 x 10 s and 8 reports
    assert play([TEN] * 4, 1).wall_s == pytest.approx(40 + overhead(8))


def test_runs_two_at_a_time_take_half():
    outcome = play([TEN] * 4, 2)
    assert outcome.wall_s == pytest.approx(20 + overhead(4))
    assert outcome.busy_s == pytest.approx(40 + 8 * REPORT_S)


def test_a_free_worker_takes_the_next_trial():
    # 10 | 1, 1, 1: the second worker does the three short ones
    short = RunCost(steps_s=(1.0,))
    assert play([TEN, short, short, short], 2).wall_s == pytest.approx(10 + overhead(2))


def test_what_runs_share_is_computed_once_and_waited_for():
    sharing = replace(TEN, shared={"images/source": 5.0})
    # Both workers spend 5 s, one on it and one waiting for it; the second pair finds it.
    outcome = play([sharing] * 4, 2)
    assert outcome.wall_s == pytest.approx(5 + 20 + overhead(4))
    assert outcome.busy_s == pytest.approx(2 * 5 + 40 + 8 * REPORT_S)


def test_what_differs_is_computed_by_each():
    runs = [replace(TEN, shared={f"pose_vae/{i}": 5.0}) for i in range(4)]
    assert play(runs, 2).wall_s == pytest.approx(2 * 15 + overhead(4))


def test_what_the_storage_has_costs_nothing():
    measured = measurement(stages={"images/source": True, "images/target": False})
    cost = run_cost("pose_vae", {"vae.epochs": 10}, [measured], "")
    assert cost.shared == {"images/source": 0.0, "images/target": 7.0}
    assert cost.disk == {"images/target": 200}


def test_a_stopped_run_takes_the_time_of_its_reports():
    outcome = play([TEN] * 2, 1, lambda run: 1)
    assert outcome.wall_s == pytest.approx(2 * 4 + overhead(2))
    assert outcome.num_stopped == 2


def test_checkpoints_of_complete_stopped_and_running_runs_on_disk():
    cost = RunCost(
        steps_s=(1.0, 1.0, 1.0), checkpoint_bytes=100, disk={"images/source": 1000, "x": 7}
    )
    # Stages once; one checkpoint of each run; two more of each of two running ones.
    assert play([cost] * 3, 2).disk_bytes == 1007 + 3 * 100 + 2 * 200
    # Stopped runs keep the last two, and one if they have written no more.
    assert play([cost] * 3, 2, lambda run: 2).disk_bytes == 1007 + 3 * 200 + 2 * 200
    assert play([cost] * 3, 2, lambda run: 1).disk_bytes == 1007 + 3 * 100 + 2 * 200


def test_successive_halving_lets_one_in_eta_through_each_rung():
    rule = EarlyTerminate(type="successive_halving", min_iter=1, eta=2)
    run = RunCost(steps_s=(1.0,) * 8)
    stops = EarlyStops(rule, random.Random(0))
    reports = [stops.reports_of(run) for _ in range(4000)]
    assert set(reports) == {1, 2, 4, 8}
    # Asynchronous: half pass each rung, but for the first few.
    for rung, expected in ((1, 0.5), (2, 0.25), (4, 0.125), (8, 0.125)):
        assert reports.count(rung) / 4000 == pytest.approx(expected, abs=0.03)


def test_wandbs_hyperband_stops_at_its_rungs_those_worse_than_one_in_eta():
    rule = EarlyTerminate(type="hyperband", max_iter=50, eta=3, s=3)
    stops = EarlyStops(rule, random.Random(0))
    reports = [stops.reports_of(RunCost((1.0,) * 50)) for _ in range(4000)]
    assert set(reports) == {1, 5, 16, 50}
    for rung, expected in ((1, 2 / 3), (5, 2 / 9), (16, 2 / 27), (50, 1 / 27)):
        assert reports.count(rung) / 4000 == pytest.approx(expected, abs=0.03)


def test_the_first_run_passes_every_rung():
    rule = EarlyTerminate(type="successive_halving", min_iter=1, eta=2)
    assert EarlyStops(rule, random.Random(0)).reports_of(RunCost((1.0,) * 8)) == 8


def test_baselines_are_never_stopped_but_compared_with():
    rule = EarlyTerminate(type="successive_halving", min_iter=1, eta=1000)
    stops = EarlyStops(rule, random.Random(0))
    baseline = RunCost(steps_s=(1.0,) * 4, is_baseline=True)
    assert [stops.reports_of(baseline) for _ in range(50)] == [4] * 50
    later = [stops.reports_of(replace(baseline, is_baseline=False)) for _ in range(50)]
    assert later.count(1) > 40


def test_hyperband_gives_some_runs_a_later_first_rung():
    # Of 6 / 2 at eta 2 there are two brackets with first rungs 2 and 4, shares 2 and 2.
    rule = EarlyTerminate(type="hyperband_brackets", min_iter=2, eta=2, max_iter=6)
    stops = EarlyStops(rule, random.Random(0))
    reports = [stops.reports_of(RunCost((1.0,) * 6)) for _ in range(4000)]
    assert set(reports) == {2, 4, 6}
    assert reports.count(2) / 4000 == pytest.approx(0.25, abs=0.03)  # half of half
    assert reports.count(4) / 4000 == pytest.approx(0.375, abs=0.03)  # half of the rest


def test_the_median_rule_spares_its_first_trials():
    rule = EarlyTerminate(type="median", min_iter=1, startup_trials=5)
    stops = EarlyStops(rule, random.Random(0))
    reports = [stops.reports_of(RunCost((1.0,) * 4)) for _ in range(2000)]
    assert reports[:5] == [4] * 5
    assert set(reports) == {1, 4}  # at min_iter itself
    assert reports.count(1) / 2000 == pytest.approx(0.5, abs=0.05)


runs_strategy = st.lists(
    st.builds(
        RunCost,
        steps_s=st.lists(st.floats(0.01, 50), min_size=1, max_size=5).map(tuple),
        setup_s=st.floats(0, 5),
        shared=st.dictionaries(st.sampled_from("abc"), st.floats(0, 20), max_size=3),
        disk=st.dictionaries(st.sampled_from("abc"), st.integers(0, 1000), max_size=3),
        checkpoint_bytes=st.integers(0, 1000),
    ),
    min_size=1,
    max_size=12,
)


@given(runs_strategy, st.integers(1, 5))
def test_more_workers_never_take_longer(runs, parallel):
    assert play(runs, parallel + 1).wall_s <= play(runs, parallel).wall_s + 1e-9


@given(runs_strategy, st.integers(1, 5), st.integers(0, 100))
def test_more_runs_never_cost_less(runs, parallel, seed):
    rule = EarlyTerminate(type="successive_halving", min_iter=1, eta=2)

    def played(some):
        return play(some, parallel, EarlyStops(rule, random.Random(seed)).reports_of)

    fewer, more = played(runs[:-1]), played(runs)
    assert fewer.wall_s <= more.wall_s
    assert fewer.busy_s <= more.busy_s
    assert fewer.disk_bytes <= more.disk_bytes


def test_intervals_hold_the_known_time_and_are_ordered():
    plan = make_plan(study(), pool(TEN), 2, ROOMY)
    assert plan.num_runs == 4
    for interval in (plan.wall_s, plan.cpu_hours, plan.memory_bytes, plan.disk_bytes):
        assert 0 < interval.low <= interval.middle <= interval.high
    assert plan.wall_s.low < 20 + overhead(4) < plan.wall_s.high
    assert plan.wall_s.middle == pytest.approx(20 + overhead(4), rel=0.03)
    assert plan.cpu_hours.middle == pytest.approx((40 + 8 * REPORT_S) / 3600, rel=0.03)
    assert plan.gpu_hours.high == 0
    assert plan.refusal is None
    assert plan.warnings == []
    assert any("wall time    0:3" in line for line in plan.lines())
    assert plan.as_json()["wall_s"] == [plan.wall_s.low, plan.wall_s.middle, plan.wall_s.high]


def test_a_noisier_measurement_gives_a_wider_interval():
    exact = make_plan(study(), pool(TEN), 2, ROOMY).wall_s
    noisy = make_plan(study(), pool(TEN, noise=0.3), 2, ROOMY).wall_s
    assert noisy.high - noisy.low > 2 * (exact.high - exact.low)


def test_early_termination_is_shown_beside_the_whole_cost():
    run = RunCost(steps_s=(10.0,) * 9)
    spec = study(
        budget={"run_cap": 20},
        early_terminate={"type": "successive_halving", "min_iter": 1, "eta": 3},
    )
    plan = make_plan(spec, pool(run), 1, ROOMY)
    assert plan.wall_s.high < plan.unpruned_s.low
    assert plan.stopped.middle >= 10
    assert any("without early termination" in line for line in plan.lines())


def test_each_seed_is_a_run_with_a_pose_vae_of_its_own():
    name = vae_name({"vae.epochs": 1, "seed": 0, "adapt.lr": 1})
    cost = replace(TEN, shared={name: 5.0}, disk={name: 10})
    runs = pool(given=[cost], seeds=3).draw(1, random.Random(0))
    assert play(runs, 1).wall_s == pytest.approx(3 * 15 + overhead(6))
    assert play(runs, 1).disk_bytes == 30


def test_a_study_that_does_not_fit_the_disk_is_refused():
    cost = replace(TEN, disk={"images/source": 10**9})
    # 4 runs with 8 reports; sizes are foretold to a tenth
    needed = 1.1 * (10**9 + DATABASE_BYTES + 4 * RUN_BYTES + 8 * REPORT_BYTES)
    fits = replace(ROOMY, free_bytes=int(needed) + 1, disk_bytes=10**9)
    assert make_plan(study(), pool(cost), 1, fits).refusal is None
    too_small = replace(fits, free_bytes=int(needed) - 1)
    refusal = make_plan(study(), pool(cost), 1, too_small).refusal
    assert refusal is not None
    assert "1.1 GB of disk, the file system has 1.1 GB free" in refusal


def test_a_nearly_full_disk_is_warned_of():
    cost = replace(TEN, disk={"images/source": 10**9})
    nearly = Machine(free_bytes=2 * 10**9, disk_bytes=100 * 10**9, memory_bytes=10**12)
    (warning,) = make_plan(study(), pool(cost), 1, nearly).warnings
    assert "less than 5% of it" in warning


def test_too_little_memory_is_warned_of():
    cost = replace(TEN, memory_bytes=3 * 10**9)
    small = replace(ROOMY, memory_bytes=7 * 10**9)
    assert make_plan(study(), pool(cost), 1, small).warnings == []
    (warning,) = make_plan(study(), pool(cost), 2, small).warnings
    assert "set resources.parallel lower" in warning


def test_a_busy_machine_is_warned_of():
    (warning,) = make_plan(study(), pool(TEN), 1, replace(ROOMY, load=3, cpus=2)).warnings
    assert "load 3.0 on 2 cores" in warning


def test_a_budget_of_hours_that_comes_first_ends_the_study():
    spec = study(budget={"run_cap": 100, "hours": 0.1})
    plan = make_plan(spec, pool(TEN), 1, ROOMY)
    assert plan.wall_s.high == 360
    (note,) = plan.notes
    # (360 - START_S) / (10 + 2 REPORT_S) of a hundred
    assert "budget.hours 0.1 ends the study before its runs do in 100% of the cases" in note
    assert "after 33 [" in note


def test_a_budget_of_hours_that_comes_last_is_said_to():
    spec = study(budget={"run_cap": 4, "hours": 1})
    assert make_plan(spec, pool(TEN), 1, ROOMY).notes == [
        "the runs end before budget.hours 1 does"
    ]


def test_a_budget_of_gpu_hours_ends_the_study():
    spec = study(budget={"run_cap": 400, "gpu_hours": 0.1}, resources={"cpus": 1, "gpus": 0.5})
    plan = make_plan(spec, pool(TEN, devices=frozenset({"H100"})), 4, ROOMY)
    assert plan.wall_s.high == pytest.approx(180)  # 0.1 h at four times half a GPU
    assert plan.gpu_hours.middle == pytest.approx(0.1, rel=0.15)


def test_gpu_hours_are_not_known_from_a_cpu():
    spec = study(resources={"cpus": 1, "gpus": 1})
    plan = make_plan(spec, pool(TEN), 1, ROOMY)
    assert plan.gpu_hours is None
    assert any("GPU-hours are not known" in line for line in plan.lines())


def test_what_was_not_measured_is_said_and_widens_the_interval():
    guessed = replace(TEN, is_measured=False)
    plan = make_plan(study(), pool(guessed, num_measured=6, num_keys=9), 1, ROOMY)
    assert "6 of 9 configurations" in plan.notes[0]
    exact = make_plan(study(), pool(TEN), 1, ROOMY)
    assert plan.wall_s.high > exact.wall_s.high * 1.3


def measurement(**values):
    fields = {
        "device": "cpu",
        "stages": {"images/source": False, "images/target": False},
        "images_s": {"source": 5.0, "target": 7.0},
        "images_bytes": {"source": 100, "target": 200},
        "vae_epoch_s": 0.1,
        "reference_vae_epoch_s": 0.2,
        "setup_s": 3.0,
        "pretrain_step_s": [1.0, 1.0],
        "adapt_step_s": [2.0, 2.0],
        "evaluation_s": [10.0],
        "final_s": 4.0,
        "checkpoint_s": 1.0,
        "checkpoint_bytes": 50,
        "vae_bytes": 9,
    }
    return Measurement(**{**fields, **values})


def test_a_run_costs_its_steps_evaluations_and_stages():
    fields = {
        "adapt.pretrain_epochs": 2, "adapt.epochs": 1, "adapt.steps_per_epoch": 5,
        "vae.epochs": 30,
    }  # fmt: skip
    cost = run_cost("adaptation", fields, [measurement()], "pose_vae/own")
    # 5 steps of 1 s, then of 2 s, each with 10 s of evaluation and 1 s of checkpoint
    assert cost.steps_s == pytest.approx((16, 16, 21 + 4))
    assert cost.setup_s == 3
    assert list(cost.shared) == [
        "images/source", "images/target", "pose_vae/own", "pose_vae/reference",
    ]  # fmt: skip
    assert list(cost.shared.values()) == pytest.approx([5, 7, 3, 20])
    assert cost.disk["pose_vae/own"] == 9


def test_a_style_network_costs_its_steps():
    measured = measurement(
        stages={"images/source": False, "images/target": False, "style": False},
        style_fixed_s=1.0,
        style_encoder_step_s=0.1,
        style_step_s=0.2,
    )
    fields = {"adapt.method": "udape", "style.encoder_steps": 10, "style.steps": 20}
    assert run_cost("adaptation", fields, [measured], "").shared["style"] == pytest.approx(6)


def test_a_pose_vae_run_fits_two_in_five_reports():
    cost = run_cost("pose_vae", {"vae.epochs": 50}, [measurement()], "")
    # 2 x 10 epochs of 0.1 s, and the 10 s of a report
    assert cost.steps_s == pytest.approx((12,) * 5)


@pytest.mark.parametrize(
    ("change", "is_equal"),
    [
        ({"vae.kl_weight": 0.5}, True),
        ({"sampling.strategy": "hardest"}, True),
        ({"adapt.epochs": 9}, True),  # a number of what was measured
        ({"adapt.regda.margin": 2.0}, True),
        ({"adapt.method": "source_only"}, False),
        ({"adapt.batch_size": 8}, False),
        ({"net.width": 8}, False),
        ({"vae.hidden_dim": 256}, False),
    ],
)
def test_which_fields_make_a_configuration_another_one_to_measure(change, is_equal):
    assert (cost_key({}) == cost_key(change)) == is_equal


def test_udape_without_style_is_another_configuration():
    udape = {"adapt.method": "udape"}
    assert cost_key(udape) != cost_key({**udape, "adapt.udape.style_alpha": 0.0})


def test_noise_is_the_spread_of_repeats():
    assert noise_of([measurement()]) == 0
    # half of 0.4 of the median 1.0, over two repeats
    noisy = measurement(pretrain_step_s=[0.8, 1.2])
    assert noise_of([noisy]) == pytest.approx(0.2 / 2**0.5)
