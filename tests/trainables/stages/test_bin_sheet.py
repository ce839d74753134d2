"""The picture of bins shows each bin's poses in the order of their scores."""

import numpy as np
import pytest

from harness.stage_cache.cache import DiskStageCache
from trainables.config import TrialConfig
from trainables.data import view
from trainables.sampling.bins import assign_bins
from trainables.stages import bin_sheet
from trainables.stages.data_stages import read_scores
from trainables.stages.trial_stages import TrialStages

TINY = {
    "data.num_source": 80, "data.num_target": 60, "data.image_size": 32, "data.heatmap_size": 16,
    "vae.epochs": 2, "vae.hidden_dim": 8, "bins.count": 3, "evaluation.bin_count": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def stages(tmp_path_factory):
    cache = DiskStageCache(tmp_path_factory.mktemp("stages"))
    return TrialStages(TrialConfig.from_flat(TINY), cache, 1, False)


def keys(stages):
    return {name: stage[1] for name, stage in stages.lineage.items()}


def drawn(stages, monkeypatch, columns):
    """The strips of a sheet: rows of the store and captions."""
    strips = []

    def strip(store, members, caption, columns, rows, zoom_px):
        strips.append((members, caption))
        return view.strip(store, members, caption, columns, rows, zoom_px)

    monkeypatch.setattr(bin_sheet, "strip", strip)
    sheet = bin_sheet.bin_sheet(stages.cache.root, stages.trial, keys(stages), columns, 48)
    return sheet, strips


def test_a_row_of_images_for_each_bin_of_both_domains(stages, monkeypatch):
    sheet, strips = drawn(stages, monkeypatch, 4)
    assert sheet.shape == (5 * (48 + 16), 4 * 48, 3)
    captions = [caption.partition(":")[0] for _, caption in strips]
    assert captions == [
        "source train, bin 00 (easiest)", "source train, bin 01",
        "source train, bin 02 (hardest)", "target val, bin 00 (easiest)",
        "target val, bin 01 (hardest)",
    ]  # fmt: skip


def test_poses_are_in_the_bins_that_training_uses_and_ordered_by_score(stages, monkeypatch):
    _, strips = drawn(stages, monkeypatch, 2)
    store = stages._source.store
    rows = store.splits["train"]
    folder = stages.cache.root / "pose_vae" / keys(stages)["pose_vae"]
    scores = read_scores(folder, "source/train")
    bins = assign_bins(scores, [store.ids[row] for row in rows], 3)
    for index, (members, caption) in enumerate(strips[:3]):
        assert set(members) == set(rows[bins == index])
        places = [int(np.flatnonzero(rows == member)[0]) for member in members]
        ordered = scores[places]
        assert (np.diff(ordered) >= 0).all()
        count = f"{len(members)} poses, score {ordered[0]:.3g} to {ordered[-1]:.3g}"
        assert caption.endswith(count)


def test_a_stage_that_is_gone_is_named(stages, tmp_path):
    with pytest.raises(FileNotFoundError, match="is not in the cache any more; run the study"):
        bin_sheet.bin_sheet(tmp_path, stages.trial, keys(stages), 2, 48)
