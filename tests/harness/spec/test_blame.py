"""An error that an override brings about names the override, wherever it shows."""

import pytest

from harness.spec import SpecError, load_spec
from tests.conftest import ROOT

SMOKE = ROOT / "search_spaces" / "smoke.yaml"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("fixed.data.num_source=10", "fixed.data.num_source must be from 50 to 1000000, got 10"),
        ("fixed.adapt.method=oracle", "baselines.vae_hm is not a valid trial: sampling.strategy"),
        # The line that the check comes upon is the file's own.
        ("fixed.data.image_size=128", "fixed.data.heatmap_size must be a half or a quarter of"),
        ("fixed.net.weights=/x", "fixed.net.width must be 64 to load net.weights (/x), got 8"),
        ("fixed.data.target=lspet", "baselines.all is not a valid trial: data.target_root must"),
        ("trainable=pose_vae", "metric.name must be a metric of pose_vae trials, got target_v"),
        ("early_terminate.type=median", "early_terminate.eta does not go with type median"),
        ("resources.gpus=3", "resources.gpus must divide adapt.batch_size (8), as each GPU"),
    ],
)
def test_a_value_that_is_wrong_with_a_line_of_the_file_is_blamed(override, message):
    with pytest.raises(SpecError) as caught:
        load_spec(SMOKE, [override])
    assert str(caught.value).startswith(f"--set {override}: {message}")


def test_of_several_overrides_the_one_at_fault_is_blamed():
    good = ["budget.run_cap=9", "fixed.adapt.epochs=3"]
    with pytest.raises(SpecError, match=r"^--set fixed\.data\.image_size=128: fixed\.data\.heat"):
        load_spec(SMOKE, [good[0], "fixed.data.image_size=128", good[1]])
    load_spec(SMOKE, [*good, "fixed.data.image_size=128", "fixed.data.heatmap_size=32"])


def test_an_error_of_the_file_stays_the_files(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(SMOKE.read_text().replace("net.width: 8", "net.width: 3"))
    line = path.read_text().splitlines().index("  net.width: 3") + 1
    with pytest.raises(SpecError) as caught:
        load_spec(path, ["budget.run_cap=9"])
    assert str(caught.value).startswith(f"{path}:{line}:14: fixed.net.width must be from 4")
