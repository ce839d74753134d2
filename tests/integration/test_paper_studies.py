"""The studies of the paper's benchmarks, small, on rendered samples in the publishers' layouts."""

import json
import shlex

import pytest

from harness import run
from tests.conftest import ROOT
from trainables.data.export import export

SMALLER = (
    "fixed.data.image_size=32", "fixed.data.heatmap_size=8", "fixed.net={depth: 10, width: 4}",
    "fixed.vae.epochs=2", "fixed.bins.count=2",
    "fixed.adapt.steps_per_epoch=2", "fixed.adapt.batch_size=4",
    "fixed.style={width: 4, encoder_steps: 2, steps: 2, batch_size: 2}",
    "parameters.seed.values=[0]", "parameters.adapt.method.values=[source_only, udape]",
    "parameters.sampling.strategy.values=[all, hardest]",
    "parameters.sampling.strategy.when={adapt.method: [udape]}",
    "resources={cpus: 1, parallel: 1}",
)  # fmt: skip
"""What makes the small recipe of a study's file smaller still."""


def small_recipe(path):
    """The changes that the comment of a study's file proposes for a first try."""
    comment = path.read_text().partition("First try it small")[2].partition("name:")[0]
    words = shlex.split(comment.partition("\n")[2].replace("#", ""))
    assert set(words[::2]) == {"--set"}
    return words[1::2]


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
    study = ROOT / "search_spaces" / "paper" / f"{name}.yaml"
    changes = (
        *small_recipe(study),
        *SMALLER,
        f"fixed.data.source_root={tmp_path / source}",
        f"fixed.data.target_root={tmp_path / target}",
    )
    words = [word for change in changes for word in ("--set", change)]
    words += ["--storage", str(tmp_path / "runs"), "--address", cluster]
    assert run.main([str(study), "--json", "--no-report", *words]) == 0
    result = json.loads(capsys.readouterr().out)
    assert [trial["state"] for trial in result["trials"]] == ["complete"] * 3
