from pathlib import Path

import pytest
import scipy.io
import torch

from harness.language.draws import named_files
from harness.preflight import check_bins, check_data, check_weights, split_sizes
from harness.spec import SpecError, load_study

HEAD = "metric: {name: target_val/pck_05, goal: maximize}\n"


@pytest.fixture
def load(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def load_text(text):
        Path("s.yaml").write_text(HEAD + text)
        return load_study("s.yaml")

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


def test_the_sizes_of_splits_add_up():
    assert split_sizes(50, "source") == {"train": 45, "val": 5}
    assert split_sizes(50, "target") == {"train": 30, "val": 10, "test": 10}


@pytest.mark.parametrize(
    ("fixed", "message"),
    [
        (
            "{evaluation.bin_count: 11}",
            "evaluation.bin_count must be at most 10, the target val samples that data.num_target "
            "= 50 leaves, got 11",
        ),
        (
            "{bins.count: 46}",
            "bins.count must be at most 45, the source train samples that data.num_source = 50 "
            "leaves, got 46",
        ),
        ("{evaluation.bin_count: 10, bins.count: 45}", None),
    ],
)
def test_more_bins_than_samples_are_refused(load, fixed, message):
    spec = load(f"parameters: {{vae.epochs: {{values: [1, 2]}}}}\nfixed: {fixed}\n")
    sizes = {"source": 50, "target": 50}
    if message is None:
        check_bins(spec, sizes)
        return
    with pytest.raises(SpecError) as caught:
        check_bins(spec, sizes)
    assert str(caught.value) == message


def test_bins_of_a_baseline_and_of_a_search_count(load):
    for text in (
        "parameters: {bins.count: {min: 2, max: 46}}\n",
        "baselines: {a: {bins.count: 46}}\n",
    ):
        with pytest.raises(SpecError, match=r"^bins\.count must be at most 45"):
            check_bins(load(text), {"source": 50, "target": 3000})


def test_a_data_set_without_a_validation_sample_is_refused(tmp_path):
    num_images = 2
    joints = [[[5.0] * num_images] * 14, [[6.0] * num_images] * 14, [[0.0] * num_images] * 14]
    scipy.io.savemat(tmp_path / "joints.mat", {"joints": joints})
    (tmp_path / "images").mkdir()
    for index in range(num_images):
        (tmp_path / "images" / f"im{index + 1:04d}.jpg").touch()
    values = {"data.target": "lsp", "data.target_root": str(tmp_path)}
    with pytest.raises(SpecError, match=r"has 2 samples, which leaves none for (val|test)$"):
        check_data(values)


def test_rendered_domains_have_the_samples_that_were_asked_for():
    assert check_data({"data.num_source": 70}) == {"source": 70, "target": 3000}
