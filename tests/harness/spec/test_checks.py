"""Words of a study's file that do not go together are refused, with the reason."""

import pytest

from harness.spec import SpecError

HEAD = """\
metrics: [{name: target_val/pck_05, goal: maximize}]
parameters: {vae.kl_weight: {min: 0.1, max: 1.0}}
"""
TWO = "metrics: [{name: target_val/pck_05, goal: maximize}, {name: train/source_kl}]\n"
KL = "parameters: {vae.kl_weight: {min: 0.1, max: 1.0}}\n"
CONDITIONAL = """\
metric: {name: target_val/pck_05, goal: maximize}
parameters:
  vae.kl_weight: {min: 0.1, max: 1.0}
  sampling.strategy: {values: [all, hardest]}
  sampling.keep: {min: 0.1, max: 0.5, when: {sampling.strategy: hardest}}
"""
COUNTED = """\
metric: {name: target_val/pck_05, goal: maximize}
fixed: {sampling.strategy: bins}
parameters:
  bins.count: {values: [4, 6]}
  bins.subset: {choose: {from: bins.count, max: 3}}
"""


REFUSED = [  # whole text, and the message behind the file's name
    (
        TWO + KL + "early_terminate: {type: median}",
        "3:1: early_terminate needs a metric",
    ),
    (
        TWO + KL + "early_terminate: {type: median, metric: train/source_mse}",
        "3:41: early_terminate.metric must be one of the metrics of this study, got train/source_"
        "mse (did you mean train/source_kl?)",
    ),
    (
        "metric: {name: chosen_pck_05/default, goal: maximize}\n"
        + KL
        + "early_terminate: {type: hyperband_brackets}",
        "3:1: early_terminate would compare chosen_pck_05/default",
    ),
    (TWO + KL + "method: cmaes", "3:9: method cmaes knows one objective; use tpe, gp or nsga2"),
    (
        HEAD + "method: cmaes\nconstraints: [{name: train/source_kl, max: 2}]",
        "3:9: method cmaes knows no constraints; use tpe, gp or nsga2",
    ),
    (
        "metric: {name: target_val/pck_05, goal: maximize}\nmethod: cmaes\n"
        "parameters: {vae.norm: {values: [bbox, root]}}",
        "2:9: method cmaes searches numbers and there are only categories; use tpe or nsga2",
    ),
    (
        CONDITIONAL + "method: gp",
        "6:9: method gp would draw sampling.keep at random, which not every trial has",
    ),
    (CONDITIONAL + "method: cmaes", "6:9: method cmaes would draw sampling.keep at random"),
    (CONDITIONAL + "method: qmc", "6:9: method qmc would draw sampling.keep at random"),
    (COUNTED + "method: gp", "6:9: method gp would draw bins.subset at random, which not every"),
    (
        HEAD + "method: gp\nbaselines:\n  far: {vae.kl_weight: 2}",
        "5:8: baselines.far has vae.kl_weight = 2.0, which its parameter cannot take, and gp then",
    ),
    (HEAD + "method: bayesian", "3:9: method must be one of tpe, gp, cmaes, nsga2, qmc, random"),
    (
        "metric: {name: target_val/pck_05, goal: maximize}\nseeds: 3\n"
        "parameters: {seed: {values: [1, 2]}}",
        "3:14: parameters.seed cannot be given per trial: with seeds 3 each has several",
    ),
    (HEAD + "seeds: 2\nbaselines: {a: {seed: 3}}", "4:17: baselines.a.seed cannot be given per"),
    (
        HEAD + "seeds: 2\nfixed: {seed: 2147483647}",
        "3:8: seeds must keep seed below 2147483648, got 2147483648 for the last run",
    ),
    (HEAD + "seeds: 0", "3:8: seeds must be >= 1, got 0"),
    (
        HEAD + "early_terminate: {type: wilcoxon}",
        "3:18: early_terminate.over is required for type wilcoxon: seeds or bins",
    ),
    (
        HEAD + "early_terminate: {type: wilcoxon, over: seeds}",
        "3:18: early_terminate.p_threshold can never be reached: 0 of 1 seeds, before the last",
    ),
    (  # four pairs: 1 / 16 < 0.1, three: 1 / 8
        HEAD + "seeds: 4\nearly_terminate: {type: wilcoxon, over: seeds}",
        "4:18: early_terminate.p_threshold can never be reached: 3 of 4 seeds, before the last "
        "one runs, give no p-value below 0.125, got 0.1; raise seeds or p_threshold",
    ),
    (  # a quarter is not below a quarter
        HEAD + "seeds: 3\nearly_terminate: {type: wilcoxon, over: seeds, p_threshold: 0.25}",
        "4:61: early_terminate.p_threshold can never be reached: 2 of 3 seeds, before the last",
    ),
    (
        HEAD + "fixed: {evaluation.bin_count: 3}\nearly_terminate: {type: wilcoxon, over: bins}",
        "4:18: early_terminate.p_threshold can never be reached: 3 bins give no p-value below",
    ),
    (
        HEAD + "early_terminate: {type: wilcoxon, over: bins, metric: target_val/pck_05}",
        "3:55: early_terminate.metric does not go with over bins",
    ),
    (
        "trainable: pose_vae\nmetric: {name: vae/kl}\n"
        + KL
        + "early_terminate: {type: wilcoxon, over: bins}",
        "4:41: early_terminate.over must be seeds: pose_vae trials have no bins",
    ),
    (
        HEAD + "early_terminate: {type: hyperband, s: 2}",
        "3:18: early_terminate needs min_iter, or max_iter with s, for type hyperband",
    ),
    (
        HEAD + "early_terminate: {type: hyperband, max_iter: 9}",
        "3:18: early_terminate.s is required with max_iter: the number of rungs below it; for",
    ),
    (
        HEAD + "early_terminate: {type: successive_halving, eta: 2.5}",
        "3:50: early_terminate.eta must be whole",
    ),
    (
        HEAD + "early_terminate: {type: hyperband, s: 1, max_iter: 2}",
        "3:52: early_terminate.max_iter must be >= eta (3) for a rung below, got 2",
    ),
    (
        HEAD + "early_terminate: {type: successive_halving, max_iter: 9}",
        "3:45: early_terminate.max_iter does not go with type successive_halving",
    ),
    (HEAD + "budget: {gpu_hours: 2}", "3:21: budget.gpu_hours limits nothing, as resources.gpus"),
    (
        HEAD + "failures: {timeout_s: 60, heartbeat_s: 90}",
        "3:40: failures.heartbeat_s must be below timeout_s (60), got 90",
    ),
    (
        HEAD + "constraints: [{name: train/source_kl}]",
        "3:15: constraints.0 needs one of max and min, got none",
    ),
    (
        HEAD + "constraints: [{name: train/source_kl, max: 1, min: 0}]",
        "3:15: constraints.0 needs one of max and min, got both; write two constraints",
    ),
    (
        HEAD + "constraints: [{name: train/sourcekl, max: 1}]",
        "3:22: constraints.0.name must be a metric that adaptation trials report, got train/source"
        "kl (did you mean train/source_kl?)",
    ),
    (
        HEAD + "constraints: [{name: vae/reconstruction, max: 1}]",
        "3:22: constraints.0.name must be a metric of adaptation trials, got vae/reconstruction, ",
    ),
    (
        HEAD + "constraints: [{name: train/source_kl, max: 1}, {name: train/source_kl, max: 1}]",
        "3:48: constraints.1 repeats the constraint train/source_kl <= 1",
    ),
    (
        "metric: {name: target_test/pck_05, goal: maximize}\n" + KL,
        "1:16: metric.name must not be of the test split, which no search reads, got target_te",
    ),
    (
        "metric: {name: pck_bin/06, goal: maximize}\n" + KL,
        "1:16: metric.name must be one of the bins 00 to 05 (evaluation.bin_count is 6), got",
    ),
    (HEAD + "database: runs.db", "3:11: database must be an SQLAlchemy URL, such as postgresql"),
    (HEAD + "database: sqlite://", "3:11: database must name its file, as in sqlite:"),
    (HEAD + "database: sqlite://host/a.db", "3:11: database must name its file, as in sqlite:"),
    (
        HEAD + "database: postgresql+psycopg://me:secret@host/optuna",
        "3:11: database must not hold a password, as the file is kept with the results; give",
    ),
]


@pytest.mark.parametrize(("text", "message"), REFUSED)
def test_words_that_do_not_go_together_are_refused(load, text, message):
    with pytest.raises(SpecError) as caught:
        load(text + "\n")
    assert str(caught.value).startswith(f"s.yaml:{message}")
    assert "secret" not in str(caught.value)


ACCEPTED = [
    CONDITIONAL + "method: nsga2\n",
    COUNTED + "method: tpe\n",
    HEAD + "method: gp\nbaselines: {a: {vae.kl_weight: 0.5}, b: {vae.kl_weight: 1, seed: 1}}\n",
    TWO + KL + "method: nsga2\nconstraints: [{name: train/source_kl, max: 2}]\n",
    TWO + KL + "early_terminate: {type: median, metric: train/source_kl}\n",
    HEAD + "seeds: 5\nearly_terminate: {type: wilcoxon, over: seeds}\n",
    HEAD + "seeds: 4\nearly_terminate: {type: wilcoxon, over: seeds, p_threshold: 0.2}\n",
    TWO + KL + "early_terminate: {type: wilcoxon, over: bins}\n",
    HEAD + "failures: {timeout_s: 60}\n",
    HEAD + "failures: {timeout_s: 60, heartbeat_s: null}\n",
    HEAD + "budget: {gpu_hours: 2}\nresources: {gpus: 0.5}\n",
    HEAD + "database: postgresql+psycopg://host/optuna\n",
    "metric: {name: pck_bin/08, goal: maximize}\nfixed: {evaluation.bin_count: 9}\n" + KL,
    "metric: {name: target_val/pck_05_wrist, goal: maximize}\nmethod: grid\nseeds: 3\n"
    "parameters: {vae.norm: {values: [bbox, root]}}\n",
]


@pytest.mark.parametrize("text", ACCEPTED)
def test_words_that_go_together_are_accepted(load, text):
    load(text)


def test_stopping_looks_at_the_objective_the_named_metric_or_the_bins(load):
    assert load(HEAD + "early_terminate: {type: median}").pruning_metric.name == (
        "target_val/pck_05"
    )
    named = load(TWO + KL + "early_terminate: {type: median, metric: train/source_kl}")
    assert (named.pruning_metric.name, named.pruning_metric.goal) == (
        "train/source_kl",
        "minimize",
    )
    assert [metric.name for metric in named.objectives] == ["target_val/pck_05", "train/source_kl"]
    bins = load(HEAD + "early_terminate: {type: wilcoxon, over: bins}").pruning_metric
    assert (bins.name, bins.goal) == ("pck_bin", "maximize")


def test_a_constraint_is_violated_by_what_is_beyond_its_bound(load):
    spec = load(
        HEAD + "constraints: [{name: train/source_kl, max: 2}, {name: source_val/pck_05, min: 50}]"
    )
    most, least = spec.constraints
    assert (most.violation(3), most.violation(2), most.violation(0)) == (1, 0, -2)
    assert (least.violation(40), least.violation(60)) == (10, -10)
    assert (most.rule, least.rule) == ("train/source_kl <= 2", "source_val/pck_05 >= 50")


def test_without_parameters_a_study_ends_after_its_baselines(load):
    text = "metric: {name: train/source_kl}\nbaselines: {a: {}, b: {vae.epochs: 5}}\n"
    assert load(text).max_trials == 2
    assert load(text + "run_cap: 2\n").max_trials == 2
    assert load(text).amount == "2 trials"
    assert load(text + "seeds: 3\n").amount == "2 trials x 3 seeds"
