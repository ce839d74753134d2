"""The file of a run's predictions: what is reported can be computed from it alone."""

import dataclasses
import resource

import numpy as np
import pyarrow as pa
import pytest
import torch

from tests.trainables.adapt.tiny_run import make_config, make_run
from tests.trainables.conftest import in_bins
from trainables.data.skeleton import BODY16
from trainables.evaluation.predictions import (
    PREDICTIONS,
    Predictions,
    joined,
    metrics_of,
    read_predictions,
    write_predictions,
)
from trainables.metrics.validators import joint_confidence

ARRAYS = (
    "split", "ids", "keypoints_px", "confidence", "truth_px", "visible", "scores", "bins",
)  # fmt: skip
WITHOUT_PREDICTIONS = ("adabn", "control/")
"""Reported of the target splits too, but of other predictions."""


def make_predictions(num=5, split="target_val"):
    rng = np.random.default_rng(num)
    scores = rng.random(num, dtype=np.float32)
    scores[0] = np.nan
    return Predictions(
        split=np.full(num, split),
        ids=np.array([f"image {i} ü" for i in range(num)]),
        keypoints_px=rng.random((num, 16, 2), dtype=np.float32) * 64,
        confidence=rng.random((num, 16), dtype=np.float32),
        truth_px=rng.random((num, 16, 2), dtype=np.float32) * 64,
        visible=rng.random((num, 16)) < 0.8,
        scores=scores,
        bins=np.array([-1, *range(num - 1)], np.int16),
        skeleton=BODY16,
        image_size=64,
        heatmap_size=32,
    )


def assert_equal(found, expected):
    for name in ARRAYS:
        one, other = getattr(found, name), getattr(expected, name)
        np.testing.assert_array_equal(one, other)
        assert one.dtype.kind == other.dtype.kind
    assert found.skeleton == expected.skeleton
    assert (found.image_size, found.heatmap_size) == (expected.image_size, expected.heatmap_size)


@pytest.mark.parametrize("reads_test", [False, True])
@pytest.mark.parametrize("fields", [{}, {"adapt__method": "source_only", "adapt__loss": "mse"}])
def test_the_reported_metrics_follow_from_the_file_alone(fields, reads_test, domains, tmp_path):
    bins = np.where(np.arange(len(domains.target.splits["val"])) == 2, -1, 1)  # bin 0 is empty
    domains = dataclasses.replace(domains, target_val=in_bins(bins))
    splits = ["val"]
    if reads_test:
        test_bins = np.arange(len(domains.target.splits["test"])) % 3
        domains = dataclasses.replace(domains, target_test=in_bins(test_bins))
        splits.append("test")
    run = make_run(make_config(**fields), domains)
    while not run.is_done:
        assert run.predictions is None
        reported = run.run_epoch()
    write_predictions(tmp_path / PREDICTIONS, run.predictions)
    found = read_predictions(tmp_path / PREDICTIONS)
    expected = {
        name: value
        for name, value in reported.items()
        if name.startswith(("target_val/", "target_test/", "final/"))
        and not any(word in name for word in WITHOUT_PREDICTIONS)
    }
    assert "final/pck_bin/01" in expected
    assert metrics_of(found) == pytest.approx(expected, abs=1e-4)
    for split in splits:
        rows, part = domains.target.splits[split], found.of(f"target_{split}")
        assert part.ids.tolist() == [domains.target.ids[row] for row in rows]
        np.testing.assert_array_equal(part.truth_px, domains.target.keypoints_px[rows])
    assert len(found.ids) == sum(len(domains.target.splits[split]) for split in splits)
    val = found.of("target_val")
    np.testing.assert_array_equal(val.bins, bins)
    np.testing.assert_array_equal(np.isnan(val.scores), bins < 0)


def test_what_is_written_is_read(tmp_path):
    both = joined([make_predictions(5), make_predictions(3, "target_test")])
    write_predictions(tmp_path / PREDICTIONS, both)
    found = read_predictions(tmp_path / PREDICTIONS)
    assert_equal(found, both)
    assert_equal(found.of("target_val"), make_predictions(5))
    assert_equal(found.of("target_test"), make_predictions(3, "target_test"))
    assert len(found.of("source_val").ids) == 0
    write_predictions(tmp_path / PREDICTIONS, make_predictions(4))
    assert_equal(read_predictions(tmp_path / PREDICTIONS), make_predictions(4))
    assert [path.name for path in tmp_path.iterdir()] == [PREDICTIONS]


def test_a_file_can_be_written_anew_while_its_arrays_are_in_use(tmp_path):
    write_predictions(tmp_path / PREDICTIONS, make_predictions(5))
    found = read_predictions(tmp_path / PREDICTIONS)
    (tmp_path / PREDICTIONS).write_bytes(b"")
    assert_equal(found, make_predictions(5))


def test_confidence_is_the_peak_of_the_map():
    maps = torch.zeros(1, 2, 2, 2)
    maps[0, 0, 1, 0] = np.log(5.0)  # e^0 = 1 in three cells, 5 in one
    torch.testing.assert_close(joint_confidence(maps, "kl"), torch.tensor([[5 / 8, 1 / 4]]))
    maps[0, 1] = -0.5
    torch.testing.assert_close(joint_confidence(maps, "mse"), torch.tensor([[1.0, 0.0]]))
    with pytest.raises(ValueError, match="loss must be kl or mse, got 'l1'"):
        joint_confidence(maps, "l1")


def damaged(path):
    content = bytearray(path.read_bytes())
    at = content.find(make_predictions().keypoints_px.tobytes()[:64])
    content[at] ^= 1
    path.write_bytes(content)


def cut(path):
    path.write_bytes(path.read_bytes()[:-400])


def replaced_by_text(path):
    path.write_text("image,joint,x,y\n")


def replaced_by_another_table(path):
    table = pa.table({"x": [1, 2]})
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


def without_a_column(path):
    with pa.OSFile(str(path)) as file:
        table = pa.ipc.open_file(file).read_all()
    table = table.drop_columns(["scores"])
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


@pytest.mark.parametrize(
    "harm", [damaged, cut, replaced_by_text, replaced_by_another_table, without_a_column]
)
def test_a_file_that_is_none_of_predictions_is_named(harm, tmp_path):
    path = tmp_path / PREDICTIONS
    write_predictions(path, make_predictions())
    harm(path)
    with pytest.raises(ValueError, match=f"{path} is no readable file of predictions: .") as error:
        read_predictions(path)
    assert "\n" not in str(error.value)


def test_a_file_that_does_not_exist_is_another_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=PREDICTIONS):
        read_predictions(tmp_path / PREDICTIONS)


def test_nothing_half_written_remains_where_there_is_no_space(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_predictions(tmp_path / PREDICTIONS, make_predictions(50))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []
