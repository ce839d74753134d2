"""What a study will cost: sums worked out by hand, budgets, reuse, disk, memory, refusal."""

from dataclasses import replace

import pytest

from harness.forecast import plan as planning
from harness.forecast.capacity import Machine
from harness.forecast.measuring import Measurement
from harness.forecast.plan import ERROR, HARNESS_BYTES, OVERHEAD_S, REPORT_S, plan_study
from harness.nodes.run_slots import Available
from harness.spec import load_spec

ROOMY = Machine(free_bytes=10**12, disk_bytes=10**12, memory_bytes=10**12)
STUDY = """
name: s
metric: {name: target_val/pck_05, goal: maximize}
parameters: {vae.kl_weight: {min: 1e-3, max: 1e-2, distribution: log_uniform_values}}
baselines:
  all: {sampling.strategy: all}
  random: {sampling.strategy: random}
fixed:
  adapt: {pretrain_epochs: 1, epochs: 2, steps_per_epoch: 10}
budget: {run_cap: 4}
resources: {cpus: 1, parallel: 1}
"""
COST = Measurement(
    device="cpu",
    stages={
        "images/source": (40.0, 10**6),
        "images/target": (60.0, 10**6),
        "pose_vae": (5.0, 0),
        "pose_vae/reference": (7.0, 0),
        "style": (100.0, 0),
    },
    memory_bytes=10**9,
    fixed_s=2.0,
    phases=((1.0, 3.0), (2.0, 4.0)),
    checkpoint_bytes=1000,
)
EPOCHS = (2.0 + 10 * 1 + 3 + REPORT_S, 10 * 2 + 4 + REPORT_S, 10 * 2 + 4 + REPORT_S)
"""Seconds of the reports of a trial of the study."""
TRIAL = sum(EPOCHS)
REFERENCE = 7
"""Seconds of the reference Pose VAE, which is the own one of both baselines, too."""
SHARED = 40 + 60 + REFERENCE
"""Seconds of what all trials share, on one core."""


@pytest.fixture
def plan_of(write_study, tmp_path, monkeypatch):
    """The plan of a study whose trials cost what a function says of their settings."""

    def plan_of(*changes, text=STUDY, cost=lambda config: COST, machine=ROOMY, **options):
        spec = load_spec(write_study(text), list(changes))
        measured = []

        def measure(trials, trainable, resources, at_once):
            measured.extend(trials)
            return [cost(trial) for trial in trials]

        monkeypatch.setattr(planning, "measure_trials", measure)
        monkeypatch.setattr(planning, "this_computer", lambda root: machine)
        slots = spec.resources.parallel
        monkeypatch.setattr(planning, "fitting_runs", lambda resources, available: slots)
        large = Available([{"CPU": 64, "GPU": 8}])
        monkeypatch.setattr(planning, "this_machine", lambda resources: large)
        plan = plan_study(spec, tmp_path / "runs", **options)
        plan_of.measured = measured
        return plan

    return plan_of


def wall(seconds):
    """Low end, middle and high end of a time on one worker, given without the overhead."""
    return pytest.approx([(OVERHEAD_S + seconds) * (1 + error) for error in ERROR])


def test_trials_one_after_the_other_take_the_sum(plan_of):
    plan = plan_of()
    # Each of the two that are searched has a Pose VAE of its own.
    assert plan.figures["wall_s"] == wall(SHARED + 4 * TRIAL + 2 * 5)
    assert plan.num_runs == 4
    assert plan.figures["gpu_hours"][2] == plan.figures["stopped"][2] == 0
    assert plan.refusal is None
    assert plan.warnings == []


def test_trials_at_once_wait_for_what_they_share_and_divide_the_rest(plan_of):
    figures = plan_of("resources.parallel=2").figures
    shared = (40 + 60) / 2 + REFERENCE  # the images are made on the cores of both workers
    assert figures["wall_s"] == wall(shared + (4 * TRIAL + 2 * 5) / 2)
    # Both workers are held while one of them makes what both need.
    assert figures["cpu_hours"][1] == pytest.approx((2 * shared + 4 * TRIAL + 2 * 5) / 3600)


def test_a_study_takes_as_long_as_its_longest_trial(plan_of):
    # 4,000 and 3,000 images occupy four and three processes that draw.
    shared = 40 / 4 + 60 / 3 + REFERENCE
    assert plan_of("resources.parallel=9").figures["wall_s"] == wall(shared + TRIAL + 5)


def test_every_seed_is_a_trial_with_its_own_pose_vae(plan_of):
    plan = plan_of("seeds=3")
    assert plan.num_runs == 12
    # Of each seed the baselines share one; that of the first is the reference.
    assert plan.figures["wall_s"] == wall(SHARED + 2 * 5 + 12 * TRIAL + 6 * 5)


def test_the_interval_is_from_all_stopped_at_once_to_none(plan_of):
    rule = "early_terminate={type: successive_halving, min_iter: 2, eta: 3}"
    low, middle, high = plan_of(rule).figures["wall_s"]
    whole, early = TRIAL + 5, sum(EPOCHS[:2]) + 5
    sums = [2 * TRIAL + 2 * early, 2 * TRIAL + early + whole, 2 * TRIAL + 2 * whole]
    assert [low, middle, high] == [wall(SHARED + s).expected[i] for i, s in enumerate(sums)]


@pytest.mark.parametrize(
    ("rule", "stopped"),
    [
        ("{type: hyperband, min_iter: 1}", 2),
        ("{type: hyperband_brackets, min_iter: 1}", 2),
        ("{type: median, min_iter: 1, startup_trials: 3}", 1),
        ("{type: wilcoxon, over: bins}", 0),
        ("{type: none}", 0),
    ],
)
def test_how_many_a_rule_may_stop(plan_of, rule, stopped):
    assert plan_of(f"early_terminate={rule}").figures["stopped"] == [0, stopped / 2, stopped]


def test_the_interval_spans_the_kinds_that_the_search_adds(plan_of):
    def cost(config):
        return replace(COST, fixed_s=float(config.net.width))

    text = STUDY.replace("parameters: {", "parameters: {net.width: {values: [8, 32]}, ")
    text = text.replace("fixed:\n", "fixed:\n  net.depth: 10\n")
    low, _, high = plan_of(text=text, cost=cost).figures["wall_s"]
    assert {config.net.width for config in plan_of.measured} == {8, 16, 32}
    given = SHARED + 2 * (TRIAL + 14)  # the default width is 16
    assert low == pytest.approx(wall(given + 2 * (TRIAL + 6 + 5)).expected[0])
    assert high == pytest.approx(wall(given + 2 * (TRIAL + 30 + 5)).expected[2])


def test_a_pose_vae_trial_fits_two_and_needs_images_alone(plan_of):
    text = STUDY.replace("name: s", "name: s\ntrainable: pose_vae")
    text = text.replace("target_val/pck_05, goal: maximize", "vae/reconstruction, goal: minimize")
    figures = plan_of(text=text).figures
    assert figures["wall_s"] == wall(40 + 60 + 4 * (2 * 5 + 5 * REPORT_S))


@pytest.mark.parametrize(
    ("budget", "middle"),
    [("{run_cap: 4, hours: 0.05}", 180), ("{hours: 0.05}", 180), ("{run_cap: 4, hours: 9}", None)],
)
def test_a_budget_of_hours_cuts_what_comes_after_it(plan_of, budget, middle):
    plan = plan_of(f"budget={budget}")
    whole = OVERHEAD_S + SHARED + 4 * TRIAL + 10
    assert plan.figures["wall_s"][1] == pytest.approx(middle or whole)
    assert plan.figures["cpu_hours"][1] < plan.figures["wall_s"][1] / 3600
    assert any("3:00" in note for note in plan.notes) == (middle is not None)
    assert (plan.num_runs is None) == ("run_cap" not in budget)


def test_a_study_without_an_end_is_planned_for_one_searched_setting(plan_of):
    plan = plan_of("budget={}")
    assert plan.num_runs is None
    assert plan.figures["wall_s"] == wall(SHARED + 3 * TRIAL + 5)


def test_hours_of_gpus_and_their_budget(plan_of):
    gpus = "resources={cpus: 1, gpus: 0.5, parallel: 4}"
    on_gpu = replace(COST, device="H100", gpu_bytes=3 * 10**9)
    plan = plan_of(gpus, "budget={run_cap: 400, gpu_hours: 0.1}", cost=lambda config: on_gpu)
    assert plan.figures["wall_s"][2] == pytest.approx(180)  # 0.1 h at four times half a GPU
    assert plan.figures["gpu_hours"][1] < 0.1
    assert any("3 GB" in note for note in plan.notes)
    unknown = plan_of(gpus)
    assert "gpu_hours" not in unknown.figures
    assert any("GPU" in note for note in unknown.notes)


def test_a_busy_machine_starts_a_study_slowly(plan_of):
    plan = plan_of(machine=replace(ROOMY, load=6, cpus=2))
    extra = 2 * OVERHEAD_S
    assert plan.figures["wall_s"] == wall(SHARED + 4 * TRIAL + 2 * 5 + extra)
    (warning,) = plan.warnings
    assert "load 6.0 on 2 cores" in warning


def test_what_the_storage_has_costs_nothing_and_is_named(plan_of, tmp_path, monkeypatch):
    stage = tmp_path / "runs" / "stages" / "images"
    monkeypatch.setattr("harness.forecast.trials.stage_key", lambda name, inputs: f"{name}-key")
    (stage / "images-key").mkdir(parents=True)
    plan = plan_of()
    # Here all Pose VAEs have one key.
    assert plan.figures["wall_s"] == wall(7 + 4 * TRIAL)
    assert any("images/source, images/target" in note for note in plan.notes)
    (tmp_path / "runs" / "stages" / "training" / "training-key").mkdir(parents=True)
    plan = plan_of()  # draws reuse nothing, even if they equal a baseline
    assert plan.figures["wall_s"] == wall(7 + 2 * 3 * REPORT_S + 2 * TRIAL)
    assert any("2 trials" in note for note in plan.notes)
    plan = plan_of("budget.run_cap=2")  # the baselines alone
    assert plan.figures["wall_s"] == wall(7 + 2 * 3 * REPORT_S)
    assert any("2 trials" in note for note in plan.notes)


def test_a_study_that_does_not_fit_the_disk_is_refused(plan_of):
    large = replace(COST, stages=COST.stages | {"images/source": (40.0, 10**9)})
    disk = plan_of(cost=lambda config: large).figures["disk_bytes"]
    assert 1e9 < disk[1] < 1.02e9
    needed = int(disk[2])
    fits = replace(ROOMY, free_bytes=needed + 1, disk_bytes=10**9)
    assert plan_of(cost=lambda config: large, machine=fits).refusal is None
    too_small = replace(fits, free_bytes=needed - 1)
    refusal = plan_of(cost=lambda config: large, machine=too_small).refusal
    assert "1.11 GB of disk, the file system has 1.11 GB free" in refusal


def test_disk_grows_with_checkpoints_of_trials_that_complete(plan_of):
    large = replace(COST, checkpoint_bytes=10**8)
    low, _, high = plan_of(cost=lambda config: large).figures["disk_bytes"]
    assert 0.9 * 4 * 1.25e8 < low < 4 * 1.25e8 + 10**7
    rule = "early_terminate={type: successive_halving, min_iter: 1, eta: 3}"
    stopped = plan_of(rule, cost=lambda config: large).figures["disk_bytes"]
    assert stopped[0] < 0.6 * low
    assert stopped[2] == high


def test_a_nearly_full_disk_is_warned_of(plan_of):
    nearly = Machine(free_bytes=10**9, disk_bytes=100 * 10**9, memory_bytes=10**12)
    (warning,) = plan_of(machine=nearly).warnings
    assert "less than 5% of it" in warning


def test_memory_is_that_of_the_harness_and_of_trials_at_once(plan_of):
    figures = plan_of("resources.parallel=3").figures
    assert figures["memory_bytes"] == [harness + 3 * 10**9 for harness in HARNESS_BYTES]
    assert figures["run_bytes"] == [10**9] * 3


def test_too_little_memory_is_warned_of_and_for_one_trial_refused(plan_of):
    small = replace(ROOMY, memory_bytes=3 * 10**9)
    assert plan_of(machine=small).warnings == []
    two = plan_of("resources.parallel=2", machine=small)
    assert "set resources.parallel lower" in two.warnings[0]
    assert two.refusal is None
    tiny = replace(ROOMY, memory_bytes=10**9)
    assert "a single trial needs 1.73 GB of memory" in plan_of(machine=tiny).refusal
    assert plan_of(machine=tiny, is_cluster=True).refusal is None


def test_no_trial_may_fit_this_machine(write_study, tmp_path, monkeypatch):
    monkeypatch.setattr(planning, "measure_trials", lambda trials, *_: [COST for _ in trials])
    spec = load_spec(write_study(STUDY), ["resources.cpus=4096"])
    plan = plan_study(spec, tmp_path / "runs", is_cluster=True)
    assert plan.notes[0] == "No trial fits this machine; times on a cluster will differ."
    assert not (tmp_path / "runs").exists()


def test_what_the_user_reads_and_the_json(plan_of):
    plan = plan_of("resources.parallel=2")
    lines = plan.lines()
    assert "4 runs, 2 at once" in lines[0]
    assert any("wall time" in line and "3:26 [2:44, 4:07]" in line for line in lines)
    assert any("of a run" in line and "1 GB" in line for line in lines)
    assert any("1 TB of disk" in line for line in lines)
    found = plan.as_json()
    assert found["wall_s"] == plan.figures["wall_s"]
    assert found["refusal"] is None
