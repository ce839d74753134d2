"""The studies of the paper's benchmarks, small, on rendered samples in the publishers' layouts."""

import json

import pytest

from harness import run
from tests.conftest import ROOT
from trainables.data.export import export

SMALL = (
    "fixed.data.image_size=32", "fixed.data.heatmap_size=8", "fixed.net={depth: 10, width: 4}",
    "fixed.vae.epochs=2", "fixed.evaluation.bin_count=2", "fixed.bins.count=2",
    "fixed.adapt.pretrain_epochs=1", "fixed.adapt.steps_per_epoch=2", "fixed.adapt.batch_size=4",
    "fixed.style={width: 4, encoder_steps: 2, steps: 2, batch_size: 2}",
    "parameters.seed.values=[0]", "parameters.adapt.method.values=[source_only, udape]",
    "parameters.sampling.strategy.values=[all, hardest]",
    "parameters.sampling.strategy.when={adapt.method: [udape]}",
    "resources={cpus: 1, parallel: 1}",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "source", "target"),
    [
        ("surreal_lsp", "surreal", "lsp"),
        ("surreal_h36m", "surreal", "human36m"),
        ("rhd_h3d", "rhd", "h3d"),
    ],
)
def test_a_study_of_the_paper_runs_on_data_in_the_published_layouts(
    name, source, target, cluster, tmp_path, capsys
):
    looks = ("hands_clean", "hands_wild") if source == "rhd" else ("people_clean", "people_wild")
    for layout, look in zip((source, target), looks, strict=True):
        export(layout, tmp_path / layout, 60, look, 100)
    changes = (
        *SMALL,
        f"fixed.data.source_root={tmp_path / source}",
        f"fixed.data.target_root={tmp_path / target}",
    )
    words = [word for change in changes for word in ("--set", change)]
    study = str(ROOT / "search_spaces" / "paper" / f"{name}.yaml")
    words += ["--storage", str(tmp_path / "runs"), "--address", cluster]
    assert run.main([study, "--json", "--no-report", *words]) == 0
    result = json.loads(capsys.readouterr().out)
    assert [trial["state"] for trial in result["trials"]] == ["complete"] * 3
