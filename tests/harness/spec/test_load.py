import random
import re
import subprocess
import sys

import pytest

from harness.spec import SpecError, checked_study, load_spec
from tests.conftest import ROOT
from tests.study_texts import HEAD, message_of
from trainables.registry import STRATEGIES

SEARCH_SPACES = ROOT / "search_spaces"
SMOKE = SEARCH_SPACES / "smoke.yaml"


@pytest.mark.parametrize("path", sorted(SEARCH_SPACES.rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_search_space_loads_and_starts_with_its_question(path):
    load_spec(path)
    assert re.match(r"# yaml-language-server: .*\n# .*\?", path.read_text())


def idle(name, config):
    """Whether a field changes nothing in a trial."""
    strategy = config.get("sampling.strategy", "all")
    scores_are_read = (
        STRATEGIES[strategy].reads_scores and config.get("curriculum.order") != "random"
    )
    rules = {
        "vae.": not scores_are_read,
        "bins.": strategy != "bins",
        "curriculum.": strategy != "curriculum",
        "curriculum.window": config.get("curriculum.mode") != "window",
        "sampling.keep": strategy not in ("hardest", "easiest", "random"),
        "adapt.udape.": config.get("adapt.method") != "udape",
        "adapt.regda.": config.get("adapt.method", "regda") != "regda",
    }
    return any(name.startswith(prefix) and is_idle for prefix, is_idle in rules.items())


@pytest.mark.parametrize("path", sorted(SEARCH_SPACES.rglob("*.yaml")), ids=lambda path: path.stem)
def test_a_shipped_study_searches_nothing_that_changes_nothing(path):
    spec = load_spec(path)
    if spec.trainable == "pose_vae":
        return
    rng = random.Random(0)
    for _ in range(200):
        config = spec.space.draw(rng)
        assert [n for n in spec.parameters if n in config and idle(n, config)] == []


def test_smoke_study_is_what_its_file_says():
    spec = load_spec(SMOKE)
    assert (spec.name, spec.trainable, spec.method) == ("smoke", "adaptation", "tpe")
    assert (spec.objective.name, spec.objective.goal) == ("target_val/pck_05", "maximize")
    assert spec.budget.run_cap == 4
    assert list(spec.parameters) == ["sampling.strategy", "vae.kl_weight"]
    assert spec.fixed["data.image_size"] == 32
    assert spec.fixed["adapt.steps_per_epoch"] == 4
    assert spec.baselines["vae_hm"] == {"sampling.strategy": "hardest"}
    assert (spec.early_terminate.type, spec.early_terminate.eta) == ("hyperband_brackets", 3)
    assert (spec.failures.retries, spec.resources.cpus, spec.resources.parallel) == (1, 1, None)


def test_a_study_is_checked_without_the_heavy_libraries():
    code = (
        "import sys; from harness.spec import load_spec; "
        f"load_spec({str(SMOKE)!r}); "
        "bad = {'torch', 'ray', 'mlflow', 'optuna', 'numpy'} & set(sys.modules); "
        "sys.exit(str(bad) if bad else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=SEARCH_SPACES.parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_wandb_spellings_are_accepted(load):
    spec = load(
        "name: t\ntrainable: pose_vae\nmethod: bayes\nrun_cap: 7\n"
        "metric: {name: vae/reconstruction, goal: minimize}\n"
        "parameters:\n  vae.latent_dim: {distribution: int_uniform, min: 2, max: 16}\n"
        "  vae.norm: {value: raw, distribution: constant}\n"
        "  vae.kl_weight: {values: [1, 0.1], distribution: categorical}\n"
        "early_terminate: {type: hyperband, max_iter: 27, s: 1}\n"
    )
    assert (spec.method, spec.budget.run_cap, spec.objective.goal) == ("tpe", 7, "minimize")
    assert (spec.early_terminate.max_iter, spec.early_terminate.s) == (27, 1)


def test_fixed_and_baselines_are_flattened_to_values_of_the_right_type(load):
    spec = load(
        HEAD + "parameters: {vae.kl_weight: {min: 0.1, max: 1.0}}\n"
        "fixed: {adapt: {lr: 1, regda.margin: 2}, adapt.epochs: 3.0, net: {weights: null}}\n"
        "baselines: {a: {bins: {subset: [3, 1], count: 4}}}\n"
    )
    assert spec.fixed == {
        "adapt.lr": 1.0,
        "adapt.regda.margin": 2.0,
        "adapt.epochs": 3,
        "net.weights": None,
    }
    assert type(spec.fixed["adapt.lr"]) is float
    assert type(spec.fixed["adapt.epochs"]) is int
    assert spec.baselines == {"a": {"bins.subset": (1, 3), "bins.count": 4}}


def test_spec_is_frozen():
    with pytest.raises(ValueError, match="frozen"):
        load_spec(SMOKE).name = "other"


def test_the_space_and_what_is_drawn_to_check_it_are_made_once():
    spec = load_spec(SMOKE)
    assert spec.space is spec.space
    assert spec.space.probes is spec.space.probes


def test_plain_data_is_checked_like_a_file():
    data = {
        "name": "t",
        "metrics": [{"name": "target_val/pck_05", "goal": "maximize"}],
        "baselines": {"a": {"vae.epochs": 3}},
    }
    assert checked_study(data, "cannot try it").baselines == {"a": {"vae.epochs": 3}}
    for change, path in (
        ({"budget": {"run_cap": 2}}, "budget.run_cap"),
        ({"baselines": {"a": {"data.image_size": 64}}}, "baselines.a.data.image_size"),
        ({"seeds": 0}, "seeds"),
    ):
        with pytest.raises(SpecError, match=f"^cannot try it: {path} "):
            checked_study(data | change, "cannot try it")


TOP = [  # changes to the head of a valid study: key, text of the line, line:column and message
    ("name", "name: 3", "1:7: name must be text, got 3"),
    (
        "name",
        "nam: t",
        "1:1: nam is not a known key (did you mean name?); allowed are name, title, plugi",
    ),
    (
        "trainable",
        "trainable: adaption",
        "2:12: trainable must be one of adaptation, pose_vae, got 'adaption' "
        "(did you mean adaptation?)",
    ),
    (
        "trainable",
        "trainable: [a]",
        "2:12: trainable must be one of adaptation, pose_vae, got ['a",
    ),
    ("metrics", "metrics: []", "3:10: metrics must not be empty"),
    ("metrics", "metrics: {name: a}", "3:10: metrics must be a list, got {'name': 'a'}"),
    ("metrics", "metrics: [{goal: maximize}]", "3:11: metrics.0.name is required"),
    (
        "metrics",
        "metrics: [{name: target_val/pck_05}]",
        "3:11: metrics.0 needs its goal",
    ),
    (
        "metrics",
        "metrics: [{name: a, goal: max}]",
        "3:27: metrics.0.goal must be one of maximize, minimize, got 'max'",
    ),
    (
        "metrics",
        "metrics: [{name: a b, goal: maximize}]",
        "3:18: metrics.0.name must be letters, digits and _ . / - only, got 'a b'",
    ),
    (
        "metrics",
        "metrics: [{name: a, goal: maximize, rol: report}]",
        "3:37: metrics.0.rol is not a known key (did you mean role?); allowed are name, go",
    ),
    (
        "metrics",
        "metrics: [{name: vae/reconstruction, goal: minimize, role: report}]",
        "3:18: metrics.0.name must be a metric of adaptation trials, got vae/reconstruction, ",
    ),
    (
        "metrics",
        "metrics: [{name: train/source_kl, role: report}]",
        "3:10: metrics must have a metric with role objective, got none",
    ),
    (
        "metrics",
        "metrics: [{name: train/source_kl}, {name: train/source_kl, role: report}]",
        "3:43: metrics.1.name repeats the metric train/source_kl",
    ),
    (
        "metrics",
        "metric: {name: a, goal: up}",
        "3:25: metric.goal must be one of maximize, mini",
    ),
    ("metrics", "metric: a", "3:9: metric must be a mapping, got 'a'"),
    ("budget", "budget: {drain: wait}", "4:17: budget.drain must be one of stop, finish, got"),
    ("budget", "budget: 5", "4:9: budget must be a mapping, got 5"),
    ("budget", "run_cap: 0", "4:10: run_cap must be >= 1, got 0"),
    ("budget", "run_cap: 2.5", "4:10: run_cap must be a whole number, got 2.5"),
    ("budget", "budget: {run_cap: yes}", "4:19: budget.run_cap must be a whole number, got 'yes'"),
    ("budget", "budget: {run_cap: true}", "4:19: budget.run_cap must be a whole number, got true"),
    ("budget", "budget: {run_cap: 5, hours: 0}", "4:29: budget.hours must be > 0, got 0"),
    ("budget", "budget: {run_cap: 5, hours: x}", "4:29: budget.hours must be a number, got 'x'"),
    (
        "budget",
        "budget: {run_cap: 5, gpu: 1}",
        "4:22: budget.gpu is not a known key; allowed are r",
    ),
    ("budget", "{run_cap: 5}", "5:1: not valid YAML"),
]


@pytest.mark.parametrize(("key", "line", "message"), TOP)
def test_bad_head_is_one_sentence_with_its_place(load, key, line, message):
    text = re.sub(f"^{key}:.*$", line, HEAD, flags=re.MULTILINE)
    text += "parameters: {vae.kl_weight: {min: 0.1, max: 1.0}}\n"
    assert message_of(load, text).startswith(f"s.yaml:{message}")


SECTIONS = [  # what follows HEAD, so line 5 is the first; line:column and message
    ("", "1:1: the study has neither parameters (constants of data.* and evaluation.* aside) nor"),
    ("parameters:", "6:1: parameters must be a mapping, got null"),
    ("parameters: [a]", "5:13: parameters must be a mapping, got ['a']"),
    ("run_cap: 3", "5:1: run_cap is given in budget too; keep one"),
    ("metric: {name: a, goal: maximize}", "5:1: metric is given beside metrics; keep one"),
    (
        "method: bayesian",
        "5:9: method must be one of tpe, gp, cmaes, nsga2, qmc, random, grid, got",
    ),
    ("paramters: {}", "5:1: paramters is not a known key (did you mean parameters?)"),
    ("fixed: {adapt: {lr: fast}}", "5:21: fixed.adapt.lr must be a number, got 'fast'"),
    ("fixed:\n  adapt.lr: 1\n  adapt: {lr: 1}", "7:11: fixed.adapt.lr is given twice, dotted"),
    (
        "fixed: {adapt: {lrr: 1}}",
        "5:17: fixed.adapt.lrr is not a field of a trial (did you mean adapt.lr?); "
        "fields of adapt are adapt.method, adapt.pretrain_epochs",
    ),
    (
        "fixed: {kl_weight: 1}",
        "5:9: fixed.kl_weight is not a field of a trial (did you mean vae.kl_weight?); "
        "fields are grouped in data, vae, bins,",
    ),
    ("fixed: {adapt: {}}", "5:9: fixed.adapt is not a field of a trial; fields of adapt are"),
    ("fixed: {adapt:  }", "5:9: fixed.adapt is not a field of a trial"),
    ("fixed: {adapt.lr: {x: 1}}", "5:20: fixed.adapt.lr.x is not a field of a trial"),
    ("fixed: {net.depth: 12}", "5:20: fixed.net.depth must be one of 10, 18, 34, 50, 101, got 12"),
    ("baselines: {a: 3}", "5:16: baselines.a must be a mapping, got 3"),
    ("baselines: {a b: {}}", "5:13: baselines.a b must be 1 to 64 of letters, digits, _ and -"),
    ("baselines: {a: {vae.kl: 3}}", "5:17: baselines.a.vae.kl is not a field of a trial (did"),
    ("baselines: {a: {vae: {epochs: x}}}", "5:31: baselines.a.vae.epochs must be a whole number"),
    (
        "baselines:\n  a: {evaluation.bin_count: 4}",
        "6:7: baselines.a.evaluation.bin_count cannot differ between trials",
    ),
    (
        "baselines:\n  a: {vae.epochs: 0}\nparameters: {seed: {values: [1, 2]}}",
        "6:19: baselines.a is not a valid trial: vae.epochs must be from 1 to 10000, got 0",
    ),
    (
        "parameters: {seed: {values: [1, 2]}}\nbaselines:\n  b: {sampling.strategy: bins}",
        "7:6: baselines.b is not a valid trial: bins.subset must list the bins to train on",
    ),
    ("baselines: {a: {}}", "4:19: budget.run_cap must be 1, the number of baselines, as there"),
    (
        f"baselines: {{{', '.join(f'b{i}: {{}}' for i in range(11))}}}",
        "4:19: budget.run_cap must be at least the 11 baselines, got 10",
    ),
    ("early_terminate: {type: asha}", "5:25: early_terminate.type must be one of hyperband, hype"),
    ("early_terminate: {min_iter: 0}", "5:29: early_terminate.min_iter must be >= 1, got 0"),
    ("early_terminate: {eta: 1}", "5:24: early_terminate.eta must be > 1, got 1"),
    (
        "early_terminate: {type: median, eta: 3}",
        "5:33: early_terminate.eta does not go with type median",
    ),
    (
        "early_terminate: {type: hyperband, startup_trials: 3}",
        "5:36: early_terminate.startup_trials does not go with type hyperband",
    ),
    (
        "early_terminate: {type: hyperband_brackets, min_iter: 4, max_iter: 3}",
        "5:68: early_terminate.max_iter must be >= min_iter, got min_iter 4 and max_iter 3",
    ),
    (
        "early_terminate: {type: wilcoxon, over: seeds, p_threshold: 1}",
        "5:61: early_terminate.p_threshold must be < 1, got 1",
    ),
    (
        "early_terminate: {type: hyperband, strict: 1}",
        "5:44: early_terminate.strict must be true or false, got 1",
    ),
    ("failures: {retries: -1}", "5:21: failures.retries must be >= 0, got -1"),
    ("failures: {max_rate: 1.5}", "5:22: failures.max_rate must be <= 1, got 1.5"),
    (
        "failures: {rate: 1}",
        "5:12: failures.rate is not a known key (did you mean max_rate?); all",
    ),
    ("resources: {cpus: 0.5}", "5:19: resources.cpus must be a whole number, got 0.5"),
    ("resources: {gpus: -1}", "5:19: resources.gpus must be >= 0, got -1"),
    ("resources: {gpus: 1.5}", "5:19: resources.gpus must be whole above 1, got 1.5"),
    ("resources: {parallel: 0}", "5:23: resources.parallel must be >= 1, got 0"),
]


@pytest.mark.parametrize(("section", "message"), SECTIONS)
def test_bad_section_is_one_sentence_with_its_place(load, section, message):
    assert message_of(load, f"{HEAD}{section}\n").startswith(f"s.yaml:{message}")


def test_a_fixed_value_that_spoils_a_baseline_is_blamed_itself(load):
    text = HEAD + "baselines: {all: {}}\nfixed: {sampling: {trim: 0.9}}\n"
    text = text.replace("run_cap: 10", "run_cap: 1")
    assert message_of(load, text) == (
        "s.yaml:6:26: fixed.sampling.trim must be in [0, 0.5], got 0.9"
    )


def test_gpus_that_cannot_share_a_batch_are_refused(load):
    text = HEAD + "parameters: {vae.epochs: {values: [1, 2]}}\nresources: {gpus: 3}\n"
    assert message_of(load, text) == (
        "s.yaml:6:19: resources.gpus must divide adapt.batch_size (32), as each GPU takes an "
        "equal part, got 3"
    )
    load(text.replace("gpus: 3", "gpus: 4"))
    searched = text.replace("{vae", "{adapt.batch_size: {values: [33, 36]}, vae")
    load(searched)
    for wrong, size in (("values: [33, 34]", 34), ("min: 33, max: 40, q: 7", 35)):
        message = message_of(load, searched.replace("values: [33, 36]", wrong))
        assert f"must divide adapt.batch_size ({size})" in message
    message = message_of(load, searched + "baselines: {small: {adapt.batch_size: 16}}\n")
    assert "must divide adapt.batch_size (16)" in message


def test_a_name_in_both_fixed_and_parameters_is_refused(load):
    text = HEAD + "parameters: {vae.epochs: {values: [1, 2]}}\nfixed:\n  vae: {epochs: 3}\n"
    assert message_of(load, text) == "s.yaml:7:9: fixed.vae.epochs is in parameters too; keep one"


def test_a_bad_fixed_value_is_blamed_on_fixed(load):
    text = HEAD + "parameters: {vae.epochs: {values: [1, 2]}}\nfixed: {data: {image_size: 33}}\n"
    assert message_of(load, text) == (
        "s.yaml:6:28: fixed.data.image_size must be a multiple of 32 from 32 to 512, got 33"
    )


def test_a_huge_count_in_a_baseline_is_refused_at_once(load):
    text = (
        HEAD + "parameters: {bins.subset: {choose: {from: bins.count, max: 3}}}\n"
        "baselines: {a: {bins.count: 1000000000000}}\n"
    )
    assert message_of(load, text).startswith(
        "s.yaml:6:29: baselines.a is not a valid trial: bins.count must be from 2 to 100, got 1000"
    )


def test_grid_needs_no_run_cap_but_separate_values(load):
    head = HEAD.replace("budget: {run_cap: 10}", "method: grid")
    spec = load(head + "parameters: {vae.epochs: {min: 1, max: 4}}\n")
    assert spec.budget.run_cap is None
    assert message_of(load, head + "parameters: {vae.kl_weight: {min: 0.1, max: 1}}\n") == (
        "s.yaml:5:14: parameters.vae.kl_weight is a continuous range, which a grid cannot "
        "enumerate; write values or a q"
    )
    assert message_of(load, head + "parameters: {seed: {min: 0, max: 2000000000}}\n") == (
        "s.yaml:5:13: parameters makes a grid of more than 10000 configurations"
    )


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("budget.run_cap=x", "budget.run_cap must be a whole number, got 'x'"),
        ("run_cap=0", "budget.run_cap must be >= 1, got 0"),
        ("metric.goal=up", "metric.goal must be one of maximize, minimize, got 'up'"),
        ("fixed.adapt.lr=fast", "fixed.adapt.lr must be a number, got 'fast'"),
        (
            "fixed.adapt.lrr=1",
            "fixed.adapt.lrr is not a field of a trial (did you mean adapt.lr?)",
        ),
        ("fixed.adapt.method=mine", "fixed.adapt.method must be one of source_only, oracle"),
        (
            "parameters.vae.kl_weight={min: 2, max: 1}",
            "parameters.vae.kl_weight.min must be below",
        ),
        ("baselines.all.vae.epochs=0", "baselines.all is not a valid trial: vae.epochs must be"),
        ("budget.run_cp=3", "budget.run_cp is not a known key (did you mean run_cap?); allowed"),
        ("budget.run_cap=1", "budget.run_cap must be at least the 2 baselines, got 1"),
        ("fixed.vae.kl_weight=0.1", "fixed.vae.kl_weight is in parameters too; keep one"),
    ],
)
def test_an_error_in_an_override_names_the_override(override, message):
    with pytest.raises(SpecError) as caught:
        load_spec(SMOKE, [override])
    assert str(caught.value).startswith(f"--set {override}: {message}")


def test_overrides_change_the_study():
    spec = load_spec(
        SMOKE,
        ["budget.run_cap=3", "run_cap=5", "metric.goal=minimize", "early_terminate.type=none"]
        + ["parameters.vae.kl_weight={value: 0.1}", "fixed.adapt.method=source_only"],
    )
    assert spec.budget.run_cap == 5
    assert spec.objective.goal == "minimize"
    assert spec.early_terminate.type == "none"
    assert spec.parameters["vae.kl_weight"].value == 0.1
    assert spec.fixed["adapt.method"] == "source_only"
