"""Which network a study leaves as its model."""

import json

import pytest
import torch

from harness.record.ledger import RunRecord
from harness.record.storage import StudyFolder
from harness.spec import load_spec
from harness.study.best_model import keep_best_model
from tests.trainables.adapt.tiny_run import make_config
from trainables.adapt.methods import build_net
from trainables.checkpoint import CheckpointFolder
from trainables.predict.pose_model import load_pose_model

SPEC = """
name: s
trainable: adaptation
metric: {name: target_val/pck_05, goal: maximize}
method: random
seeds: 2
parameters: {vae.kl_weight: {min: 0.1, max: 0.2}}
fixed: {adapt: {pretrain_epochs: 1, epochs: 1}}
budget: {run_cap: 4}
"""


@pytest.fixture
def spec(tmp_path):
    (tmp_path / "s.yaml").write_text(SPEC)
    return load_spec(tmp_path / "s.yaml", [])


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "studies" / "s").mkdir(parents=True)
    return StudyFolder(tmp_path / "studies" / "s")


def run(folder, number, pck, state="complete", has_checkpoint=True, **fields):
    """A run of two seeds a trial, and the network that its checkpoint has."""
    config = make_config(seed=number, **fields)
    net = build_net(config, 16).state_dict()
    if has_checkpoint:
        states = {"best": {"epoch": number + 1, "net": net}, "last": {}, "result": {}}
        assert CheckpointFolder(folder.run(number)).save(4, states)
    record = RunRecord(
        number, number // 2, f"t{number // 2}", number % 2, f"t{number // 2}-seed{number % 2}",
        False, {}, config.to_flat(), state=state, metrics={"target_val/pck_05": pck},
    )  # fmt: skip
    return record, net


def test_it_is_the_first_seed_s_label_free_choice_of_the_best_trial(spec, folder):
    found = [run(folder, number, pck) for number, pck in enumerate((30, 31, 40, 44, 90))]
    records = [record for record, _ in found]  # the last trial lacks a seed
    assert keep_best_model(spec, folder, records) is None
    model = load_pose_model(folder.model)
    assert all(map(torch.equal, model.net.state_dict().values(), found[2][1].values()))
    assert model.description["origin"] == {
        "study": "s", "run": 2, "name": "t1-seed0", "epoch": 3,
        "chosen_by": "label-free validators",
    }  # fmt: skip
    written = (folder.model / "net.pt").stat().st_mtime_ns
    assert keep_best_model(spec, folder, records) is None
    assert (folder.model / "net.pt").stat().st_mtime_ns == written, "it was there already"
    better = [run(folder, number, 50)[0] for number in (6, 7)]
    assert keep_best_model(spec, folder, [*records, *better]) is None
    assert json.loads((folder.model / "model.json").read_text())["origin"]["run"] == 6


def test_a_network_that_saw_target_labels_is_no_model_of_a_study(spec, folder):
    oracle = {"adapt.method": "oracle"}
    records = [run(folder, n, 30)[0] for n in (0, 1)] + [
        run(folder, n, 90, **oracle)[0] for n in (2, 3)
    ]
    assert keep_best_model(spec, folder, records) is None
    assert json.loads((folder.model / "model.json").read_text())["origin"]["run"] == 0


def test_without_a_checkpoint_there_is_no_model_and_a_sentence_says_so(spec, folder):
    records = [run(folder, number, 30, has_checkpoint=False)[0] for number in (0, 1)]
    said = keep_best_model(spec, folder, records)
    assert said.startswith("the network of run 0 t0-seed0 is not kept as a model: ")
    assert said.endswith("runs/0 has no checkpoint")
    assert not folder.model.exists()


def test_without_a_complete_trial_there_is_nothing_to_say(spec, folder):
    records = [run(folder, number, 30, state="pruned")[0] for number in (0, 1)]
    assert keep_best_model(spec, folder, records) is None
    assert not folder.model.exists()
