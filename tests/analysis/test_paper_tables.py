import pandas as pd
import pytest

from analysis.paper_tables import (
    anchor_gaps,
    beside_paper,
    control_scores,
    sampling_differences,
    seed_scores,
    table1,
    table2,
    table2_text,
    task_name,
    verdict,
)
from analysis.published import published_table1, published_table2
from analysis.table_text import to_markdown

T_2 = 4.302653
"""Student's t, 97.5 %, two degrees of freedom."""


def _epoch(pck, split="target_val", **more):
    groups = dict.fromkeys(("shoulder", "elbow", "wrist", "hip", "knee", "ankle"), pck)
    return {
        f"{split}/pck_05": pck,
        f"{split}/evalpose": 95.0,
        f"{split}/evalpose_unit_signed": 70.0,
        **{f"{split}/pck_05_{name}": value for name, value in groups.items()},
        **more,
    }


def _trial(name, pck, seed=0, **fields):
    return (f"{name}-seed{seed}", {**fields, "seed": seed}, [_epoch(pck / 2), _epoch(pck)])


SOURCE = {"adapt.method": "source_only"}
ORACLE = {"adapt.method": "oracle"}
HM = {"sampling.strategy": "hardest"}
RANDOM = {"sampling.strategy": "random"}


def test_the_table_is_the_mean_over_seeds_of_the_last_epoch_in_the_papers_columns(study_of):
    trials = [_trial("all", pck, seed) for seed, pck in enumerate((50.0, 51.0, 52.0))]
    table = table1(seed_scores(study_of([*trials, _trial("so", 30.0, **SOURCE)])))
    assert list(table.columns) == [
        "trial", "Sld", "Elb", "Wrist", "Hip", "Knee", "Ankle", "All", "low", "high",
        "AdaBN", "Source", "num_seeds",
    ]  # fmt: skip
    source, regda = table.to_dict("records")
    assert source["trial"] == "Source only"
    assert pd.isna(source["low"])
    assert (regda["Sld"], regda["All"], regda["num_seeds"]) == (51.0, 51.0, 3)
    assert regda["low"] == pytest.approx(51 - T_2 / 3**0.5, abs=1e-4)
    assert pd.isna(regda["AdaBN"])


def test_another_split_is_read_by_its_name(study_of):
    study = study_of([("all", {}, [_epoch(50.0) | _epoch(40.0, "target_test")])])
    assert table1(seed_scores(study, "target_test")).loc[0, "All"] == 40.0
    with pytest.raises(ValueError, match="no complete run reported source_val/pck_05"):
        seed_scores(study, "source_val")


def test_only_complete_runs_count(study_of):
    trials = [_trial("all", 50.0), (*_trial("all", 90.0, seed=1), "pruned")]
    assert table1(seed_scores(study_of(trials))).loc[0, "num_seeds"] == 1


def test_a_hand_has_its_own_joint_groups(study_of):
    metrics = {"target_val/pck_05": 50.0, "target_val/pck_05_mcp": 60.0}
    scores = seed_scores(study_of([("all", {}, [metrics])]))
    assert scores.loc[0, "MCP"] == 60.0
    assert "Sld" not in scores


def test_a_skeleton_of_the_users_own_has_all_its_groups(study_of):
    prefix = "target_val/pck_05"
    metrics = {prefix: 50.0, f"{prefix}_paw": 60.0, f"{prefix}_ear": 70.0, f"{prefix}_adabn": 1.0}
    metrics[f"{prefix}_head"] = 80.0  # a body has such a group, too, but not behind All
    scores = seed_scores(study_of([("all", {}, [metrics])]))
    assert scores.loc[0, ["Paw", "Ear", "Head"]].tolist() == [60.0, 70.0, 80.0]
    assert "Adabn" not in scores


def test_arms_are_compared_seed_by_seed_with_all_and_with_random(study_of):
    # hardest - all: -1, -2, -3; random - all: -2, -3, -4; both sd 1, half width 2.484.
    # hardest - random: +1 in every seed.
    pck = {"all": (50.0, 60.0, 70.0), "hm": (49.0, 58.0, 67.0), "random": (48.0, 57.0, 66.0)}
    fields = {"all": {}, "hm": HM, "random": RANDOM}
    trials = [_trial(n, pck[n][seed], seed, **fields[n]) for n in pck for seed in range(3)]
    table = sampling_differences(seed_scores(study_of(trials)))
    assert table[["trial", "against"]].to_numpy().tolist() == [
        ["RegDA VAE-HM", "RegDA"],
        ["RegDA VAE-HM", "RegDA random third"],
        ["RegDA random third", "RegDA"],
    ]
    hm = table.iloc[0]
    assert (hm["mean"], hm["num_positive"], hm["num_seeds"]) == (-2.0, 0, 3)
    assert hm["high"] == pytest.approx(-2 + T_2 / 3**0.5, abs=1e-4)
    assert table["verdict"].tolist() == ["no difference shown", "higher", "lower"]


def test_a_seed_that_only_one_side_has_is_no_pair(study_of):
    trials = [_trial("all", 50.0, 0), _trial("all", 10.0, 1), _trial("hm", 53.0, 0, **HM)]
    (row,) = sampling_differences(seed_scores(study_of(trials))).to_dict("records")
    assert (row["mean"], row["num_seeds"], row["verdict"]) == (3.0, 1, "one seed")


def test_trials_are_paired_with_those_that_differ_in_sampling_alone(study_of):
    trials = [
        _trial(f"{name}-{margin}", pck + margin, **fields, **{"adapt.regda.margin": margin})
        for margin in (1.0, 4.0)
        for name, pck, fields in (("all", 50.0, {}), ("hm", 40.0 + margin, HM))
    ]
    table = sampling_differences(seed_scores(study_of(trials)))
    assert table["against"].tolist() == ["RegDA (all-1.0)", "RegDA (all-4.0)"]
    assert table["mean"].tolist() == [-9.0, -6.0]


def test_another_method_is_no_reference(study_of):
    trials = [_trial("all", 50.0), _trial("u", 60.0, **HM, **{"adapt.method": "udape"})]
    assert sampling_differences(seed_scores(study_of(trials))).empty


def test_anchor_gaps_say_whether_the_order_holds(study_of):
    source = ("so", SOURCE, [_epoch(30.0, **{"target_val/pck_05_adabn": 55.0})])
    trials = [source, _trial("all", 50.0), _trial("oracle", 45.0, **ORACLE)]
    table = anchor_gaps(seed_scores(study_of(trials))).set_index("gap")
    assert table["mean"].to_dict() == {
        "over source only": 20.0,
        "over source only with AdaBN": -5.0,
        "below the oracle": -5.0,
    }
    assert table["num_positive"].tolist() == [1, 0, 0]


def test_several_anchors_do_not_count_as_several_seeds(study_of):
    trials = [
        _trial("all", 50.0), _trial("so", 30.0, **SOURCE), _trial("so_again", 20.0, **SOURCE),
        _trial("so_parity", 10.0, parity=True, **SOURCE),
        _trial("all_parity", 15.0, parity=True),
    ]  # fmt: skip
    table = anchor_gaps(seed_scores(study_of(trials)))
    assert table["num_seeds"].tolist() == [1, 1]
    assert table["mean"].tolist() == [20.0, 5.0]  # each to source only of its own recipe
    assert table["verdict"].tolist() == ["one seed", "one seed"]


def test_gaps_to_an_anchor_that_is_not_there_are_left_out(study_of):
    trials = [_trial("all", 50.0), _trial("so", 30.0, **SOURCE)]
    assert anchor_gaps(seed_scores(study_of(trials)))["gap"].tolist() == ["over source only"]


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.1, 2.0, "higher"),
        (-2.0, -0.1, "lower"),
        (-0.1, 2.0, "no difference shown"),
        (0.0, 2.0, "no difference shown"),
        (float("nan"), float("nan"), "one seed"),
    ],
)
def test_an_interval_in_words(low, high, words):
    assert verdict(low, high) == words


def test_controls_are_what_no_network_scores(study_of):
    metrics = {
        "target_val/control/pck_05/mean_pose": 6.7,
        "target_val/control/evalpose/mean_pose": 93.8,
        "target_val/control/evalpose_unit_signed/mean_pose": 52.7,
    }
    study = study_of([("all", {}, [_epoch(50.0) | metrics])])
    (row,) = control_scores(study).to_dict("records")
    known = {name: value for name, value in row.items() if not pd.isna(value)}
    assert known == {
        "trial": "Mean source pose", "All": 6.7, "EvalPose": 93.8, "unit_signed": 52.7
    }  # fmt: skip
    assert control_scores(study, "target_test").empty


def test_the_share_of_the_source_is_the_largest_of_any_epoch(study_of):
    def epochs(*shares):
        return [_epoch(50.0, **{"sampling/active_fraction": share}) for share in shares]

    trials = [
        ("hm", HM, epochs(1.0, 0.25)),  # pre-trained on all
        ("cl", {"sampling.strategy": "curriculum"}, epochs(0.25, 0.5)),
        ("oracle", ORACLE, epochs(1.0, 1.0)),
    ]
    shares = table1(seed_scores(study_of(trials))).set_index("trial")["Source"]
    assert shares["RegDA VAE-HM"] == 100.0
    assert shares["RegDA VAE-CL"] == 50.0
    assert pd.isna(shares["Oracle"])


def test_table_2_has_a_row_per_trial_and_two_columns_per_task(study_of):
    bodies = study_of([_trial("all", pck, seed) for seed, pck in enumerate((50.0, 52.0))])
    hands = study_of([_trial("all", 60.0), _trial("hm", 61.0, **HM)])
    table = table2({"bodies": seed_scores(bodies), "hands": seed_scores(hands)})
    table = table[table["score"].isin(["All", "EvalPose"])]
    means = table.set_index(["trial", "task", "score"])["mean"]
    assert means["RegDA", "bodies", "All"] == 51.0
    assert means["RegDA VAE-HM", "hands", "EvalPose"] == 95.0
    texts = table2_text(table)
    assert list(texts.columns) == [
        "trial", "bodies, PCK", "bodies, EvalPose", "hands, PCK", "hands, EvalPose",
    ]  # fmt: skip
    # The half width is t(0.975, 1) = 12.7062 times the standard error, 1.
    assert texts.iloc[0].tolist()[1] == "51.0 [38.3, 63.7]"
    assert texts.iloc[1].tolist() == ["RegDA VAE-HM", "-", "-", "61.0", "95.0"]


def test_the_papers_row_stands_below_ours_and_counts_stay_counts(study_of):
    ours = table1(seed_scores(study_of([_trial("all", 50.0), _trial("hm", 49.0, **HM)])))
    both = beside_paper(ours, published_table1())
    assert both.iloc[:4][["trial", "from", "All"]].to_numpy().tolist() == [
        ["RegDA", "ours", 50.0], ["RegDA", "paper", 74.6],
        ["RegDA VAE-HM", "ours", 49.0], ["RegDA VAE-HM", "paper", 76.1],
    ]  # fmt: skip
    assert len(both) == 2 + 9
    assert to_markdown(both).splitlines()[2].endswith("| 1 |")
    assert to_markdown(both).splitlines()[3].endswith("| - |")


def test_a_published_all_is_the_mean_of_its_groups():
    table = published_table1().set_index("trial")
    groups = table.drop(columns="All").mean(axis=1)
    assert ((table["All"] - groups).abs() < 0.11).all()


def test_the_papers_two_tables_agree():
    first = published_table1().set_index("trial")["All"].to_dict()
    second = published_table2()
    is_lsp = (second["task"] == "SURREAL to LSP") & (second["score"] == "All")
    lsp = second[is_lsp].set_index("trial")["mean"].to_dict()
    assert lsp.pop("UDAPE") == first["UDAPE (rerun)"]
    assert lsp == {trial: first[trial] for trial in lsp}


def test_a_task_is_called_as_in_the_paper(study_of):
    fields = {"data.source": "surreal", "data.target": "people_wild"}
    study = study_of([("all", fields, [_epoch(50.0)])])
    assert task_name(study) == "SURREAL to people_wild"
