"""A study of animals: a COCO file and a skeleton in YAML, without a line of code."""

import json

import cv2
import pytest

from harness import run, stages
from harness.optuna_study.continuation import check_identity, identity
from harness.record.ledger import read_runs
from harness.spec import SpecError, load_spec
from tests.animal_data_set import QUADRUPED, write_animals, write_skeleton
from trainables.config import absolute_paths
from trainables.data.image_store import open_image_store

STUDY = """\
name: animals
metrics:
  - {name: target_val/pck_05_front_leg, goal: maximize}
fixed:
  data: {source: coco, target: coco, source_root: drawn, target_root: photographed,
         coco.skeleton: quadruped.yaml, image_size: 32, heatmap_size: 16}
  vae.epochs: 2
  net.width: 4
  bins.count: 3
  evaluation.bin_count: 3
  adapt: {method: source_only, pretrain_epochs: 1, epochs: 1, steps_per_epoch: 2, batch_size: 4}
baselines:
  all: {}
  hard: {sampling.strategy: bins, bins.subset: [2]}
resources: {cpus: 1}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder in which the study is started."""
    write_animals(tmp_path / "drawn", 80)
    write_animals(tmp_path / "photographed", 60, seed=1)
    write_skeleton(tmp_path)
    (tmp_path / "animals.yaml").write_text(STUDY)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_a_study_runs_on_animals(folder, capsys):
    assert run.main(["animals.yaml", "--json", "--no-report"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert [trial["state"] for trial in result["trials"]] == ["complete"] * 2
    _, runs = read_runs(folder / "runs" / "studies" / "animals" / "events.jsonl")
    for record in runs.values():
        assert record.fields["data.coco.skeleton"] == str(folder / "quadruped.yaml")
        groups = {name for name in record.metrics if name.startswith("target_val/pck_05_")}
        assert {
            f"target_val/pck_05_{group}" for group in ("ear", "front_leg", "back_leg")
        } < groups
        assert {f"final/pck_bin/{index:02d}" for index in range(3)} < set(record.metrics)
        assert "target_val/evalpose" in record.metrics
    stores = sorted((folder / "runs" / "stages" / "images").glob("*/store.json"))
    assert len(stores) == 2
    for path in stores:
        store = open_image_store(path.parent)
        assert store.skeleton.joint_names[:3] == ("nose", "withers", "tail")
        assert store.keypoints_px.shape[1:] == (11, 2)

    picture = folder / "bins.png"
    words = ["bins", "animals", "--out", str(picture), "--columns", "4", "--zoom", "64"]
    assert stages.main(words) == 0
    assert capsys.readouterr().out == f"{picture}: the bins of run 0 all\n"
    assert cv2.imread(str(picture)).shape == (2 * 3 * (64 + 16), 4 * 64, 3)
    assert stages.main([*words, "--run", "9"]) == 2
    assert "study animals has no scores of its run 9" in capsys.readouterr().err
    assert stages.main([*words[:-5], "bins.jpeg2", *words[-4:]]) == 2
    assert "bins.jpeg2 cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("field", "value", "is_path"),
    [
        ("data.coco.skeleton", "quadruped.yaml", True),
        ("data.lsp.skeleton", "quadruped.yaml", True),  # as if its options had such a field
        ("data.coco.skeleton", "hand21", False),
        ("data.source_root", "hand21", True),
        ("net.weights", "imagenet.pth", True),
        ("data.people_sport.poses", "poses.npy", True),
        ("data.coco.joints", "left_elbow=l_elb", False),
    ],
)
def test_fields_that_hold_paths_become_absolute(folder, field, value, is_path):
    assert absolute_paths({field: value}) == {field: str(folder / value) if is_path else value}


def test_a_study_is_not_resumed_with_other_joints(folder):
    spec = load_spec("animals.yaml")
    recorded = {"study": "animals", **json.loads(json.dumps(identity(spec)))}
    check_identity(recorded, spec)
    write_skeleton(folder, QUADRUPED.replace("[nose, withers, tail]", "[tail, withers, nose]"))
    with pytest.raises(SpecError, match=r"from another file \(skeleton\.triplets was .*--new"):
        check_identity(recorded, spec)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("fixed.data.coco.skeleton=cat.yaml",),
         "cannot be used: cat.yaml is neither a file nor a registered skeleton (body16, hand21)"),
        (("fixed.data.coco.skeleton=broken.yaml",),
         "cannot be used: broken.yaml:14: left_right[0] must name joints, which are nose, "),
        (("metrics.0.name=target_val/pck_05_elbow",),
         "must be a metric that adaptation trials report, got target_val/pck_05_elbow"),
        (("fixed.data.source=people_clean", "fixed.data.source_root=null",
          "metrics.0.name=target_val/pck_05"),
         "people_clean has the skeleton body16, got coco with quadruped.yaml"),
        (("fixed.data.coco.skeleton=null", "metrics.0.name=target_val/pck_05"),
         "names 8 joints of body16 in its keypoints"),
    ],
)  # fmt: skip
def test_mistakes_are_told_before_anything_starts(folder, change, sentence, capsys):
    broken = QUADRUPED.replace("[left_ear, right_ear]\n  - [", "[left_ear, ear]\n  - [")
    write_skeleton(folder, broken, "broken.yaml")
    words = [word for text in change for word in ("--set", text)]
    assert run.main(["animals.yaml", *words]) == 2
    refused = capsys.readouterr().err
    assert sentence in refused
    assert "Traceback" not in refused
    assert not (folder / "runs" / "studies" / "animals").exists()
