import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch

from harness.spec import SpecError, load_spec
from harness.spec.named_files import named_files
from harness.study.preflight import check_bins, check_data, check_weights
from tests.conftest import ROOT
from trainables.data.layouts.leeds import write_leeds
from trainables.data.render.rendered import render_domain
from trainables.data.splits import split
from trainables.network.efficientnet_lite import EfficientNetLite0
from trainables.network.pose_net import ResNet

HEAD = "metric: {name: target_val/pck_05, goal: maximize}\n"


@pytest.fixture
def load(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def load_text(text):
        Path("s.yaml").write_text(HEAD + text)
        return load_spec("s.yaml")

    return load_text


def test_files_are_found_in_every_section_with_the_network_that_reads_them(load):
    spec = load(
        "fixed: {net.width: 64, style.encoder: vgg.pt}\n"
        "parameters:\n"
        "  net.weights: {values: [null, a.pt, b.pt]}\n"
        "  net.depth: {value: 18, when: {net.weights: [a.pt]}}\n"
        "baselines: {own: {net.weights: c.pt, net.depth: 50}}\n"
    )
    found = {(f.place, f.path, f.fields["net.depth"]) for f in named_files(spec)}
    assert {item for item in found if "encoder" not in item[0]} == {
        ("parameters.net.weights.values.1", "a.pt", 18),
        ("parameters.net.weights.values.2", "b.pt", 10),
        ("baselines.own.net.weights", "c.pt", 50),
    }
    assert {item[:2] for item in found if "encoder" in item[0]} == {
        ("fixed.style.encoder", "vgg.pt")
    }


def test_a_file_is_listed_for_every_network_that_reads_it(load):
    spec = load(
        "fixed: {net.width: 64, net.weights: a.pt}\nparameters: {net.depth: {values: [18, 50]}}\n"
    )
    found = [(f.place, f.fields["net.depth"]) for f in named_files(spec)]
    assert sorted(found) == [("fixed.net.weights", 18), ("fixed.net.weights", 50)]


def test_weights_that_are_searched_are_looked_at(load, tmp_path):
    text = "fixed: {net.width: 64}\nparameters: {net.weights: {values: [null, weights.pt]}}\n"
    with pytest.raises(
        SpecError, match=r"^parameters\.net\.weights\.values\.1: weights\.pt is no"
    ):
        check_weights(load(text))
    torch.save({"x": torch.zeros(1)}, tmp_path / "weights.pt")
    with pytest.raises(SpecError, match=r"^parameters\.net\.weights\.values\.1: .*weights\.pt"):
        check_weights(load(text))
    check_weights(load(text.replace("[null, weights.pt]", "[null]")))


LITE = "fixed: {data.heatmap_size: 16}\nparameters: {net.backbone: {values: %s}%s}\n"
BOTH = "[resnet, efficientnet_lite0]"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (LITE % (BOTH, ""), r"parameters\.net\.backbone\.values\.1"),
        (
            "fixed: {net.backbone: efficientnet_lite0, data.heatmap_size: 16}\n"
            "parameters: {vae.epochs: {values: [1, 2]}}\n",
            r"fixed\.net\.backbone",
        ),
        (
            LITE % ("[resnet]", "") + "baselines: {own: {net.backbone: efficientnet_lite0}}\n",
            r"baselines\.own\.net\.backbone",
        ),
    ],
)
def test_a_package_of_weights_that_is_missing_is_told_before_a_trial_starts(
    load, text, place, monkeypatch
):
    spec = load(text)
    monkeypatch.setattr("trainables.network.weight_file._PACKAGE", "no_such_package")
    told = rf"^{place}: the ImageNet weights of efficientnet_lite0 are not installed: run pip"
    with pytest.raises(SpecError, match=told):
        check_weights(spec)


def test_a_named_file_replaces_the_package(load, tmp_path, monkeypatch):
    monkeypatch.setattr("trainables.network.weight_file._PACKAGE", "no_such_package")
    text = LITE % ("[efficientnet_lite0]", ", net.weights: {values: [lite0.pth]}")
    torch.save(EfficientNetLite0().state_dict(), tmp_path / "lite0.pth")
    check_weights(load(text))
    torch.save(ResNet(10, 64, use_max_pool=True).state_dict(), tmp_path / "lite0.pth")
    told = r"^parameters\.net\.weights\.values\.0: lite0\.pth does not hold weights of this Effi"
    with pytest.raises(SpecError, match=told):
        check_weights(load(text))


@pytest.mark.parametrize(
    ("fixed", "message"),
    [
        (
            "{evaluation.bin_count: 11}",
            "evaluation.bin_count must be at most 10, the target val poses among the samples of "
            "data.num_target that can be put into a bin, got 11",
        ),
        (
            "{bins.count: 46}",
            "bins.count must be at most 45, the source train poses among the samples of "
            "data.num_source that can be put into a bin, got 46",
        ),
        ("{evaluation.bin_count: 10, bins.count: 45}", None),
    ],
)
def test_more_bins_than_samples_are_refused(load, fixed, message):
    spec = load(f"parameters: {{vae.epochs: {{values: [1, 2]}}}}\nfixed: {fixed}\n")
    poses = {"source": {"train": 45, "val": 5}, "target": {"train": 30, "val": 10, "test": 10}}
    if message is None:
        check_bins(spec, poses)
        return
    with pytest.raises(SpecError) as caught:
        check_bins(spec, poses)
    assert str(caught.value) == message


def test_bins_are_not_checked_where_poses_are_counted_only_when_they_are_made(load):
    spec = load("parameters: {vae.epochs: {values: [1, 2]}}\nfixed: {bins.count: 100}\n")
    check_bins(spec, {"source": {}, "target": {"val": 600}})


def test_bins_of_a_baseline_and_of_a_search_count(load):
    for text in (
        "parameters: {bins.count: {min: 2, max: 46}}\n",
        "baselines: {a: {bins.count: 46}}\n",
    ):
        with pytest.raises(SpecError, match=r"^bins\.count must be at most 45"):
            check_bins(load(text), {"source": {"train": 45}, "target": {"val": 600}})


def people(root, num=30):
    """A sound LSPET folder of rendered people, and its joints (14, 3, N)."""
    chunk = next(render_domain("people_wild", num, 32, 0))
    write_leeds("lspet", root, chunk.images, chunk.keypoints_px, chunk.visible)
    return scipy.io.loadmat(root / "joints.mat")["joints"]


def check_target(root):
    return check_data({"data.target": "lspet", "data.target_root": str(root)})["target"]


def test_the_poses_of_a_sound_data_set_are_counted(tmp_path):
    joints = people(tmp_path / "people")
    assert check_target(tmp_path / "people") == {"train": 18, "val": 6, "test": 6}
    first = joints[:, :, 0]  # im00001 keeps seven joints: too few for a bin
    first[7:] = -1, -1, 0
    scipy.io.savemat(tmp_path / "people" / "joints.mat", {"joints": joints})
    assert sum(check_target(tmp_path / "people").values()) == 29


def test_problems_of_labels_and_images_of_both_domains_are_told_at_once(tmp_path):
    joints = people(tmp_path / "target")
    joints[4, 0, 11] = np.nan
    scipy.io.savemat(tmp_path / "target" / "joints.mat", {"joints": joints})
    (tmp_path / "target" / "images" / "im00013.jpg").write_bytes(b"")
    people(tmp_path / "source")
    (tmp_path / "source" / "images" / "im00007.jpg").unlink()
    with pytest.raises(SpecError) as caught:
        check_data(
            {
                "data.target": "lspet",
                "data.target_root": str(tmp_path / "target"),
                "data.source": "lspet",
                "data.source_root": str(tmp_path / "source"),
            }
        )
    source, target = tmp_path / "source", tmp_path / "target"
    assert str(caught.value).splitlines() == [
        f"fixed.data.source_root: {source}/images: 1 of 30 labelled images are missing; they must "
        "be named im00001.jpg to im00030.jpg",
        "    im00007.jpg",
        f"fixed.data.target_root: {target}/joints.mat: 1 of 420 joints are flagged visible and "
        "have no finite coordinates; only joints that are flagged otherwise may have none",
        f"    im00012.jpg, left knee: (nan, {joints[4, 1, 11]:g})",
        f"fixed.data.target_root: {target}/images: 1 of 30 images cannot be used; each must be a "
        "whole JPEG or PNG image of at most 100 megapixels",
        "    im00013.jpg: 0 bytes",
    ]


def test_a_data_set_without_a_validation_sample_is_refused(tmp_path):
    people(tmp_path / "people", num=2)
    with pytest.raises(SpecError, match=r"2 samples are used, which leaves none for (val|test)$"):
        check_target(tmp_path / "people")


def test_a_data_set_is_checked_without_importing_torch(tmp_path):
    people(tmp_path / "people")
    code = (
        "import sys\n"
        "from harness.study.preflight import check_data\n"
        f"check_data({{'data.target': 'lspet', 'data.target_root': '{tmp_path / 'people'}'}})\n"
        "sys.exit('torch' in sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)


def test_rendered_domains_have_the_samples_that_were_asked_for():
    counts = check_data({"data.num_source": 70})
    for role, domain, num in (("source", "people_clean", 70), ("target", "people_wild", 3000)):
        parts = split([f"{domain}/0/{row:06d}" for row in range(num)], role)
        assert counts[role] == {name: len(rows) for name, rows in parts.items()}
