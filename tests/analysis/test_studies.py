"""What the analysis reads of a study beyond its frames: trials, stages, poses, predictions."""

import numpy as np
import pytest

from analysis.paper_tables import seed_scores, table1, table2
from harness.results import load_study
from tests.analysis.conftest import TRIALS
from trainables.data.skeleton import BODY16


@pytest.fixture(scope="module")
def study(stored_study):
    return load_study(stored_study)


def test_trials_are_means_over_seeds_and_the_best_stands_out(study):
    trials = study.trials()
    assert trials["trial"].tolist() == list(TRIALS)
    assert set(trials["num_seeds"]) == {2}
    finals = study.final(study.objective)
    assert trials.loc[2, study.objective] == pytest.approx((finals[4] + finals[5]) / 2)
    assert trials.loc[trials["is_pareto"], "trial"].tolist() == [
        trials.loc[trials[study.objective].idxmax(), "trial"]
    ]
    assert (trials["low"] < trials[study.objective]).all()


def test_effects_are_of_the_ranges_that_the_study_divides_the_source_into(study):
    effects = study.effects()
    assert effects["start"].tolist() == pytest.approx([0, 1 / 3, 2 / 3])
    assert set(effects["runs"]) == {2 * (len(TRIALS) - 1)}, "the oracle is left out"


def test_stages_say_what_was_shared(study):
    stages = study.stages()
    images = stages[stages["stage"] == "images/source"]
    assert len(images) == len(study.runs)
    assert set(images["outcome"]) == {"miss", "hit"}
    assert images["key"].nunique() == 1
    assert stages.loc[stages["stage"] == "pose_vae", "key"].nunique() == 2, "one for each seed"


def test_poses_are_those_of_the_bins_that_were_evaluated(study):
    poses, predictions = study.poses("target"), study.predictions(0)
    assert poses.num_bins == 3
    assert poses.bins.tolist() == predictions.bins.tolist()
    np.testing.assert_allclose(poses.keypoints_px, predictions.truth_px)
    members = poses.members(0)
    assert (np.diff(poses.scores[members]) >= 0).all()
    assert poses.store.skeleton == BODY16


def test_poses_of_a_run_that_is_not_there_are_refused(study):
    with pytest.raises(
        ValueError, match="study small has no scores of source poses of its run 99"
    ):
        study.poses("source", 99)


def test_both_seeds_have_a_pose_vae_of_their_own(study):
    first, second = study.poses("source", 0), study.poses("source", 1)
    assert not np.array_equal(first.scores, second.scores)
    assert study.poses("source").scores.tolist() == first.scores.tolist()


def test_tables_come_out_of_the_predictions_alone(study):
    again = study.recomputed()
    logged, computed = seed_scores(study), seed_scores(again)
    shared = [name for name in table1(logged) if name not in ("AdaBN", "Source")]
    assert len(shared) == 11
    first = table1(logged)[shared].set_index("trial")
    np.testing.assert_allclose(table1(computed)[shared].set_index("trial"), first, atol=1e-9)
    names = ["trial", "score", "mean", "low", "high"]
    one, two = (table2({"task": scores})[names] for scores in (logged, computed))
    assert one.round(9).equals(two.round(9))
    assert again.bins()["pck"].tolist() == pytest.approx(study.bins()["pck"].tolist())
