"""Starts of Ray that fail or take long: tried twice, told in a sentence, nothing left behind."""

import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

from harness import run
from harness.nodes import local_ray
from tests.conftest import ROOT

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own, of its threads and sockets

START = """
import sys, tempfile
from pathlib import Path
import psutil
from harness.nodes import local_ray
from harness.nodes.cluster import shut_down_ray, start_ray
local_ray.START_LIMITS_S = tuple(map(int, sys.argv[1:]))
start_ray(None, print)
import ray
folder = Path(ray._private.worker.global_worker.node.get_temp_dir_path())
print("in", folder, "of mode", oct(folder.parent.stat().st_mode)[-3:])
family = [p.name() for p in psutil.Process().children()]
print("with", family.count("raylet"), "raylet and", family.count("gcs_server"), "store")
print(ray.get(ray.remote(lambda: "works").remote()))
shut_down_ray()
print("left" if folder.parent.exists() else "removed")
"""


def start(temporary: Path, *limits: int) -> list[str]:
    """What a process says that starts Ray and ends it, with its temporary files in a folder."""
    found = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", START, *map(str, limits)],
        env={**local_ray.os.environ, "TMPDIR": str(temporary), "PYTHONPATH": str(ROOT)},
        cwd=ROOT, capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    return found.stdout.splitlines()


@pytest.mark.slow
def test_a_start_that_takes_too_long_is_tried_again_in_a_private_short_folder_that_is_removed(
    tmp_path,
):
    long = tmp_path / ("slurm_job_" * 10)
    long.mkdir()
    said = start(long, 0, 180)
    assert said[0] == (
        "Ray did not start (its processes were not up after 0 s); trying once more, for up to "
        "180 s"
    )
    assert said[1].startswith("in /tmp/ray-")
    assert said[1].endswith("of mode 700")
    assert said[2:] == ["with 1 raylet and 1 store", "works", "removed"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("START_LIMITS_S", (0, 0), "its processes were not up after 0 s"),
        ("OBJECT_STORE_BYTES", 2**55, ""),
    ],
)
def test_a_ray_that_does_not_start_is_one_sentence_and_exit_code_4(
    tmp_path, monkeypatch, capfd, name, value, reason
):
    monkeypatch.setattr(local_ray, name, value)
    study = ROOT / "search_spaces" / "smoke.yaml"
    temporary = Path(tempfile.mkdtemp(dir="/tmp"))
    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(temporary))
        assert run.main([str(study), "--storage", str(tmp_path)]) == 4
    errors = capfd.readouterr().err.splitlines()
    assert len(errors) == 1, errors
    assert errors[0].startswith(f"error: Ray did not start: {reason}")
    assert "run the same command again" in errors[0]
    names = {process.name() for process in psutil.Process().children(recursive=True)}
    assert not names & {"raylet", "gcs_server"}
    temporary.rmdir()  # raises if Ray's folder is still in it
