"""The recipes of CONTRIBUTING.md, followed word by word from a folder outside the project."""

import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from harness.record.ledger import read_runs
from tests.conftest import ROOT
from trainables.data.image_store import open_image_store
from trainables.data.render.rendered import render_domain
from trainables.data.skeleton_file import find_skeleton

SMALL = {
    "fixed.data.image_size": "32", "fixed.data.heatmap_size": "16", "fixed.data.num_source": "80",
    "fixed.data.num_target": "60", "fixed.vae.epochs": "2", "fixed.net.width": "4",
    "fixed.adapt.steps_per_epoch": "2", "fixed.adapt.batch_size": "4",
    "fixed.evaluation.bin_count": "2", "fixed.bins.count": "2", "resources.parallel": "1",
}  # fmt: skip
TRY = """
import sys
from harness.run import main
for change in sys.argv[1:]:
    assert main(["my_study.yaml", "--dry-run", "--set", change]) == 2, change
"""
"""What a command line says to one change after another."""


@pytest.fixture
def lab(tmp_path):
    """A folder with the files that the recipes show, and photographs for the data set."""
    blocks = re.findall("```(?:python|yaml)\n# (\\S+)\n(.*?)```", _recipes(), re.DOTALL)
    assert len(blocks) == 8
    for name, text in blocks:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    people = next(render_domain("people_wild", 60, 48, 0))
    photographs = tmp_path / "studio_photographs"
    photographs.mkdir()
    names = [f"{row:03d}.png" for row in range(60)]
    for name, image in zip(names, people.images, strict=True):
        Image.fromarray(image).save(photographs / name)
    visible = people.visible.copy()
    visible[:10, 8:] = False  # eight visible joints: fewer than the ten that the study asks for
    np.savez(
        photographs / "labels.npz", names=names, keypoints_px=people.keypoints_px, visible=visible
    )
    return tmp_path


def _recipes():
    return (ROOT / "CONTRIBUTING.md").read_text()


def start(lab, *arguments, how="-m"):
    """Run a command in the lab's folder, as its owner would."""
    return subprocess.run(
        [sys.executable, how, *arguments],
        cwd=lab,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def study(lab, name, *more, small=SMALL):
    changes = [word for path, value in small.items() for word in ("--set", f"{path}={value}")]
    return start(lab, "harness.run", name, "--json", "--no-report", *changes, *more)


@pytest.mark.slow
def test_a_study_runs_a_data_set_a_method_and_a_strategy_of_the_users_own(lab):
    done = study(lab, "my_study.yaml")
    assert done.returncode == 0, done.stderr
    folder = lab / "runs" / "studies" / "my_study"
    description, runs = read_runs(folder / "events.jsonl")
    assert description["plugins"] == ["my_lab.poses", "my_lab.methods", "my_lab.strategies"]
    assert [record.state for record in runs.values()] == ["complete"] * 3
    plain, entropy, medium = runs.values()
    assert entropy.fields["adapt.entropy.weight"] == 0.2
    assert entropy.metrics["train/entropy"] > 0
    assert plain.fields["data.target"] == "studio"
    assert plain.fields["data.studio.min_visible"] == 10
    assert medium.fields["sampling.around.centre"] == 0.5
    # 50 of the 60 photographs show ten joints; a fifth of them validates.
    stores = [path.parent for path in lab.glob("runs/stages/images/*/store.json")]
    (folder,) = (s for s in stores if '"studio"' in (s / "store.json").read_text())
    studio = open_image_store(folder)
    assert len(studio.ids) == 50
    assert studio.ids[0] == "010.png"
    assert studio.notes == ("10 left out: fewer visible joints than min_visible",)

    confirmed = start(
        lab, "harness.confirm", "my_study", "--top", "0", "--seeds", "1",
        "--set", "resources.parallel=1", "--json",
    )  # fmt: skip
    assert confirmed.returncode == 0, confirmed.stderr
    assert json.loads(confirmed.stdout)["verdict"]

    (lab / "my_lab" / "methods.py").write_text(
        (lab / "my_lab" / "methods.py").read_text() + "# another version\n"
    )
    again = study(lab, "my_study.yaml")
    assert again.returncode == 2
    assert "by another version of the code" in again.stderr


@pytest.mark.slow
def test_a_study_trains_a_trainable_of_the_users_own(lab):
    small = {"fixed.data.num_source": "80", "resources.parallel": "1"}
    done = study(lab, "spread_study.yaml", small=small)
    assert done.returncode == 0, done.stderr
    _, runs = read_runs(lab / "runs" / "studies" / "spread_study" / "events.jsonl")
    spread = {r.fields["pose_spread.quantile"]: r.metrics["poses/spread"] for r in runs.values()}
    assert set(spread) == {0.5, 0.9}
    assert 0 < spread[0.5] < spread[0.9]
    forecast = start(lab, "harness.run", "spread_study.yaml", "--dry-run")
    assert forecast.returncode == 2
    assert "--dry-run cannot forecast pose_spread" in forecast.stderr


def test_a_data_set_of_the_users_own_is_read_from_an_archive(lab):
    shutil.make_archive(str(lab / "photographs"), "zip", lab / "studio_photographs")
    words = ("studio", "--plugin", "my_lab.poses", "--root", "photographs.zip", "--size", "32")
    words = (*words, "--option", "min_visible=1", "--out", "store")
    made = start(lab, "trainables.data.prepare", *words)
    assert made.returncode == 0, made.stderr
    assert len(open_image_store(lab / "store").images) == 60


def test_a_skeleton_of_the_users_own_is_read_from_its_file_or_by_its_name(lab):
    names = find_skeleton(str(lab / "my_lab" / "dog.yaml")).joint_names
    rows = range(60)
    triples = [[[8 + 3 * j, 10 + (7 * j + row) % 30, 2] for j in range(9)] for row in rows]
    annotations = [
        {"id": row, "image_id": row, "category_id": 1, "keypoints": sum(triples[row], [])}
        for row in rows
    ]
    (lab / "studio_photographs" / "dogs.json").write_text(json.dumps({
        "images": [{"id": row, "file_name": f"{row:03d}.png"} for row in rows],
        "annotations": annotations, "categories": [{"id": 1, "keypoints": names}],
    }))  # fmt: skip
    common = ("coco", "--root", "studio_photographs", "--size", "32")
    for option, more in (("my_lab/dog.yaml", ()), ("dog", ("--plugin", "my_lab.skeletons"))):
        out = lab / option.replace("/", "_")
        words = (*common, *more, "--option", f"skeleton={option}", "--out", str(out))
        made = start(lab, "trainables.data.prepare", *words)
        assert made.returncode == 0, made.stderr
        store = open_image_store(out)
        assert store.skeleton.joint_names == names
        assert store.visible.shape == (60, 9)


def test_mistakes_in_a_plugins_fields_are_reported_like_all_others(lab):
    sentences = {
        "fixed.data.studio.min_visible=20": "must be from 1 to 16, got 20",
        "fixed.data.studio.min_visble=9": "did you mean data.studio.min_visible?",
        "fixed.adapt.entropy.weight=heavy": "must be a number, got 'heavy'",
        "fixed.adapt.method=entropie": "must be one of source_only, oracle, regda, udape, entropy",
        "fixed.parity=true": "must be false",
        "metric.name=train/entropi": "did you mean train/entropy?",
    }
    tried = start(lab, TRY, *sentences, how="-c")
    assert tried.returncode == 0, tried.stderr
    errors = tried.stderr.splitlines()
    for sentence, error in zip(sentences.values(), errors, strict=True):
        assert sentence in error


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (None, "No module named 'my_lab.absent'"),
        ("1 / 0", "division by zero"),
        (
            'from trainables.registry import register_method\n'
            'register_method("regda", "my_lab.absent:build", losses={})',
            "regda is already the name of trainables.adapt.methods:build_regda",
        ),
        (
            'from trainables.registry import register_strategy\n'
            'register_strategy("mine", "my_lab.absent:nowhere")',
            "registers mine as my_lab.absent:nowhere",
        ),
    ],
)  # fmt: skip
def test_a_plugin_that_cannot_be_used_ends_in_one_sentence(lab, code, sentence):
    if code is not None:
        (lab / "my_lab" / "absent.py").write_text(code)
    refused = study(lab, "my_study.yaml", "--set", "plugins=[my_lab.absent]", small={
        "fixed.data": "{target: people_wild}",
        "baselines": "{all: {}}",
    })  # fmt: skip
    assert refused.returncode == 2
    assert sentence in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not (lab / "runs" / "studies" / "my_study").exists()


def test_the_schema_knows_the_fields_of_plugins(lab):
    made = start(lab, "harness.spec", "my_lab.poses", "my_lab.methods")
    schema = json.loads(made.stdout)
    studio = schema["$defs"]["data.studio.fields"]["properties"]["min_visible"]
    assert studio == {
        "description": "Photographs with fewer visible joints are left out.", "type": "integer"
    }  # fmt: skip
    assert "entropy" in schema["$defs"]["fields"]["properties"]["adapt.method"]["enum"]
    without = json.loads((ROOT / "search_spaces" / "schema.json").read_text())
    assert "data.studio.fields" not in without["$defs"]
