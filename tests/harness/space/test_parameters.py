import pytest

from tests.study_texts import HEAD, message_of

PARAMETERS = [  # inside "parameters:" on line 5, so line 6 is the first
    (
        "vae.klweight: {value: 1}",
        "6:3: parameters.vae.klweight is not a field of a trial (did you",
    ),
    ("vae: {epochs: {value: 1}}", "6:3: parameters.vae is not a field of a trial; fields of v"),
    ("vae.epochs: 3", "6:15: parameters.vae.epochs must be a mapping, got 3"),
    ("vae.epochs: {}", "6:3: parameters.vae.epochs needs one of value, values, min with max, and"),
    (
        "vae.epochs: {value: 1, min: 2}",
        "6:3: parameters.vae.epochs needs one of value, values, mi",
    ),
    ("vae.epochs: {min: 2}", "6:3: parameters.vae.epochs needs a max for its range"),
    ("vae.epochs: {max: 2}", "6:3: parameters.vae.epochs needs a min for its range"),
    (
        "vae.epochs: {mim: 2}",
        "6:16: parameters.vae.epochs.mim is not a known key (did you mean mi",
    ),
    ("vae.epochs: {min: a, max: 2}", "6:21: parameters.vae.epochs.min must be a number, got 'a'"),
    (
        "vae.epochs: {min: 5, max: 5}",
        "6:21: parameters.vae.epochs.min must be below max, got min 5 and max 5; write",
    ),
    (
        "vae.epochs: {min: 5, max: 4}",
        "6:21: parameters.vae.epochs.min must be below max, got min 5 and max 4",
    ),
    (
        "vae.epochs: {min: 1.5, max: 4}",
        "6:21: parameters.vae.epochs.min is written with a point, so real numbers are meant",
    ),
    (
        "vae.epochs: {min: 2, max: 4, distribution: uniform}",
        "6:46: parameters.vae.epochs.distribution is for real numbers, vae.epochs is w",
    ),
    (
        "vae.epochs: {min: 2, max: 4, distribution: normal}",
        "6:46: parameters.vae.epochs.distribution normal goes without min and max",
    ),
    (
        "vae.epochs: {min: 2, max: 4, distribution: loguniform}",
        "6:46: parameters.vae.epochs.distribution must be one of constant, categorical",
    ),
    (
        "vae.epochs: {value: 2, distribution: categorical}",
        "6:40: parameters.vae.epochs.distribution categorical needs values",
    ),
    (
        "vae.epochs: {values: [2], distribution: uniform}",
        "6:43: parameters.vae.epochs.distribution uniform needs min and max",
    ),
    (
        "vae.kl_weight: {min: 0, max: 1, distribution: log_uniform_values}",
        "6:24: parameters.vae.kl_weight.min must be > 0 for log_uniform_values, got 0",
    ),
    ("vae.kl_weight: {min: 0.1, max: 1, q: 0}", "6:40: parameters.vae.kl_weight.q must be > 0"),
    (
        "vae.kl_weight: {min: 0.8, max: 1, q: 0.7}",
        "6:40: parameters.vae.kl_weight.q leaves 0.7 alone from 0.8 to 1; write value",
    ),
    (
        "vae.kl_weight: {min: 0.6, max: 1.0, distribution: q_uniform}",
        "6:53: parameters.vae.kl_weight.distribution leaves 1.0 alone from 0.6 to 1; w",
    ),
    (
        "vae.kl_weight: {min: 0.1, max: 1, q: 0.1, distribution: uniform}",
        "6:40: parameters.vae.kl_weight.q goes only with the q_ distributions",
    ),
    (
        "adapt.regda.margin: {min: -1e308, max: 1e308}",
        "6:42: parameters.adapt.regda.margin.max is too far from min",
    ),
    (
        "vae.epochs: {min: 2, max: 9, q: 0.5}",
        "6:35: parameters.vae.epochs.q must be a whole number for vae.epochs, got 0.5",
    ),
    (
        "vae.norm: {min: 1, max: 2}",
        "6:13: parameters.vae.norm cannot be a range, because vae.norm",
    ),
    (
        "net.depth: {min: 10, max: 18}",
        "6:14: parameters.net.depth cannot be a range, because net.",
    ),
    (
        "vae.norm: {values: [raw, bbox], probabilities: [0.5, 0.6]}",
        "6:50: parameters.vae.norm.probabilities must add up to 1, got 1.1",
    ),
    (
        "vae.norm: {values: [raw, bbox], probabilities: [1]}",
        "6:50: parameters.vae.norm.probabilities must be one for each of the 2 values, got 1",
    ),
    (
        "vae.norm: {values: [raw, bbox], probabilities: [1.5, -0.5]}",
        "6:51: parameters.vae.norm.probabilities.0 must be from 0 to 1, got 1.5",
    ),
    (
        "vae.norm: {value: raw, probabilities: [1]}",
        "6:26: parameters.vae.norm.probabilities goes only with values",
    ),
    (
        "vae.norm: {values: [raw], distribution: categorical_w_probabilities}",
        "6:43: parameters.vae.norm.distribution categorical_w_probabilities needs probabilities",
    ),
    (
        "vae.kl_weight: {distribution: normal, mu: 1, sigma: 0}",
        "6:55: parameters.vae.kl_weight.sigma must be > 0, got 0",
    ),
    (
        "vae.kl_weight: {distribution: beta, mu: 1}",
        "6:39: parameters.vae.kl_weight.mu goes only with normal and log_normal",
    ),
    (
        "vae.kl_weight: {min: 0.1, max: 1, a: 2}",
        "6:37: parameters.vae.kl_weight.a goes only with beta",
    ),
    (
        "vae.kl_weight: {distribution: normal, q: 1}",
        "6:44: parameters.vae.kl_weight.q goes only with the q_ distributions",
    ),
    (
        "vae.kl_weight: {distribution: log_uniform, min: 1, max: 800}",
        "6:33: parameters.vae.kl_weight.distribution log_uniform takes exponents to the base e",
    ),
    (
        "vae.kl_weight: {distribution: log_normal, sigma: 1000}",
        "6:33: parameters.vae.kl_weight.distribution log-normal with mean 0 and deviation 1000 of",
    ),
    (
        "vae.kl_weight: {distribution: q_beta, q: 9}",
        "6:33: parameters.vae.kl_weight.distribution beta with shapes 1 and 1, multiples of 9.0 h",
    ),
    (
        "vae.epochs: {distribution: normal, mu: 50}",
        "6:30: parameters.vae.epochs.distribution is for real numbers, vae.epochs is whole; use q",
    ),
    (
        "vae.epochs: {distribution: q_normal, mu: 50, q: 0.5}",
        "6:51: parameters.vae.epochs.q must be a whole number for vae.epochs, got 0.5",
    ),
    (
        "vae.norm: {distribution: normal}",
        "6:13: parameters.vae.norm cannot be a distribution, because vae.norm is not a number",
    ),
    (
        "adapt.lr: {distribution: normal, mu: 0.01, sigma: 0.01}",
        "6:13: parameters.adapt.lr can make a trial that is not valid: adapt.lr must be in (0, 10",
    ),
    ("vae.norm: {values: []}", "6:22: parameters.vae.norm.values must not be empty"),
    ("vae.norm: {values: raw}", "6:22: parameters.vae.norm.values must be a list, got 'raw'"),
    ("vae.norm: {values: [raw, boxx]}", "6:28: parameters.vae.norm.values.1 must be one of bbox,"),
    (
        "vae.epochs: {min: 1.5, max: 4, distribution: int_uniform}",
        "6:21: parameters.vae.epochs.min must be a whole number for vae.epochs, got 1.5",
    ),
    (
        "vae.kl_weight: {min: 1.5, max: 4, distribution: int_uniform}",
        "6:24: parameters.vae.kl_weight.min must be a whole number for int_uniform, got 1.5",
    ),
    (
        "vae.epochs: {min: 2, max: 64, distribution: log_uniform_values}",
        "6:47: parameters.vae.epochs.distribution is for real numbers, vae.epochs is whole; use q",
    ),
    (
        "adapt.lr: {min: 1, max: 100, distribution: log_uniform}",
        "6:13: parameters.adapt.lr, whose log_uniform takes exponents to the base e, can make a ",
    ),
    ("vae.epochs: {value: true}", "6:23: parameters.vae.epochs.value must be a whole number, got"),
    (
        "evaluation.bin_count: {values: [4, 6]}",
        "6:3: parameters.evaluation.bin_count cannot be se",
    ),
    (
        "vae.epochs: {min: 1, max: 20000}",
        "6:15: parameters.vae.epochs can make a trial that is not valid: vae.epochs mu",
    ),
    (
        "sampling.strategy: {values: [all, bins]}",
        "5:1: parameters can make a trial that is not valid: bins.subset must list the bins",
    ),
    # choose
    (
        "vae.norm: {choose: {from: [1], max: 1}}",
        "6:22: parameters.vae.norm.choose needs a field th",
    ),
    ("bins.subset: {choose: {max: 3}}", "6:25: parameters.bins.subset.choose.from is required"),
    (
        "bins.subset: {choose: {from: bins.counts}}",
        "6:32: parameters.bins.subset.choose.from must be a list of items or a whole-number "
        "field such as bins.count, got 'bins.counts' (did you mean bins.count?)",
    ),
    (
        "bins.subset: {choose: {from: []}}",
        "6:32: parameters.bins.subset.choose.from must be a list",
    ),
    (
        "bins.subset: {choose: {from: [1, b]}}",
        "6:36: parameters.bins.subset.choose.from.1 must be",
    ),
    (
        "bins.subset: {choose: {from: [1, 1]}}",
        "6:36: parameters.bins.subset.choose.from.1 repeats",
    ),
    (
        "bins.subset: {choose: {from: bins.count, min: 0}}",
        "6:49: parameters.bins.subset.choose.min must be >= 1, got 0",
    ),
    (
        "bins.subset: {choose: {from: bins.count, min: 3, max: 2}}",
        "6:57: parameters.bins.subset.choose.max must be >= min, got min 3 and max 2",
    ),
    (
        "bins.subset: {choose: {from: [0, 1, 2], max: 4}}",
        "6:48: parameters.bins.subset.choose.max must be at most the 3 items of from,",
    ),
    (
        "bins.subset: {choose: {from: bins.count, max: 7}}",
        "6:49: parameters.bins.subset.choose.max must be at most 6, the smallest possi",
    ),
    (
        "bins.subset: {choose: {from: bins.count, max: 5}}\n  bins.count: {values: [8, 4]}",
        "6:49: parameters.bins.subset.choose.max must be at most 4, the smallest possi",
    ),
    (
        "bins.subset: {choose: {from: bins.count, min: 5}}\n  bins.count: {min: 3, max: 9}",
        "6:49: parameters.bins.subset.choose.min must be at most 3, the smallest possi",
    ),
    (
        "bins.count: {values: [8, 9], when: {sampling.strategy: bins}}\n"
        "  sampling.strategy: {values: [bins, all]}\n"
        "  bins.subset: {choose: {from: bins.count, max: 8}}",
        "8:49: parameters.bins.subset.choose.max must be at most 6, the smallest possi",
    ),
    (
        "bins.subset: {choose: {from: bins.count}}\n  bins.count: {min: 3, max: 101}",
        "6:32: parameters.bins.subset.choose.from counts up to 101 items of bins.count",
    ),
    # when
    (
        "vae.epochs: {values: [1, 2], when: {vae.norms: raw}}\n  vae.norm: {values: [raw, bbox]}",
        "6:39: parameters.vae.epochs.when.vae.norms is not one of the parameters of th",
    ),
    (
        "vae.epochs: {values: [1, 2], when: {vae.norm: root}}\n  vae.norm: {values: [raw, bbox]}",
        "6:49: parameters.vae.epochs.when.vae.norm is never 'root', it is one of raw,",
    ),
    (
        "vae.epochs: {values: [1, 2], when: {vae.norm: []}}\n  vae.norm: {values: [raw, bbox]}",
        "6:49: parameters.vae.epochs.when.vae.norm must not be empty",
    ),
    (
        "vae.epochs: {values: [1, 2], when: {vae.kl_weight: 1}}\n"
        "  vae.kl_weight: {min: 1, max: 1.5}",
        "6:39: parameters.vae.epochs.when.vae.kl_weight cannot be a condition, because",
    ),
    (
        "vae.epochs: {values: [1, 2], when: [a]}",
        "6:38: parameters.vae.epochs.when must be a mapping, got ['a']",
    ),
    (
        "vae.epochs: {values: [1, 2], when: {vae.epochs: 1}}",
        "6:3: parameters.vae.epochs depends on itself: vae.epochs -> vae.epochs",
    ),
    (
        "vae.epochs: {values: [1, 2], when: {vae.norm: raw}}\n"
        "  vae.norm: {values: [raw, bbox], when: {vae.epochs: 2}}",
        "6:3: parameters.vae.epochs depends on itself: vae.epochs -> vae.norm -> vae.e",
    ),
    (
        "vae.norm: {values: [raw, bbox]}\n"
        "  vae.epochs: {values: [1, 2], when: {vae.norm: raw}}\n"
        "  vae.latent_dim: {values: [4, 8], when: {vae.epochs: 2, vae.norm: bbox}}",
        "8:42: parameters.vae.latent_dim.when can never hold, because vae.norm would n",
    ),
    (
        "bins.count: {values: [4, 8], when: {vae.norm: raw}}\n"
        "  bins.subset: {choose: {from: bins.count, max: 2}}\n"
        "  vae.norm: {values: [raw, bbox], when: {bins.subset: [1]}}",
        "8:42: parameters.vae.norm.when.bins.subset cannot be a condition",
    ),
]


@pytest.mark.parametrize(("parameters", "message"), PARAMETERS)
def test_bad_parameter_is_one_sentence_with_its_place(load, parameters, message):
    text = f"{HEAD}parameters:\n  {parameters}\n"
    assert message_of(load, text).startswith(f"s.yaml:{message}")


def test_a_count_that_conditions_keep_large_allows_larger_subsets(load):
    load(
        HEAD + "parameters:\n"
        "  sampling.strategy: {values: [bins, all]}\n"
        "  bins.count: {values: [4, 8, 9], when: {sampling.strategy: bins}}\n"
        "  bins.subset: {choose: {from: bins.count, max: 8},\n"
        "    when: {sampling.strategy: bins, bins.count: [8, 9]}}\n"
        "fixed: {sampling.keep: 0.5}\nbaselines: {a: {sampling.strategy: all}}\n",
        [
            "parameters.sampling.strategy.values=[all, hardest, bins]",
            "parameters.bins.count.values=[8, 9]",
        ],
    )
