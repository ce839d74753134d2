"""The files for clusters: read by Ray's own checks, and the Slurm script run with a stub Slurm."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import psutil
import pytest
from ruamel.yaml import YAML

from harness import run
from tests.conftest import ROOT

DEPLOY = ROOT / "harness" / "nodes" / "deploy"
SLURM = DEPLOY / "slurm.sh"


def documents(name):
    return list(YAML(typ="safe").load_all(DEPLOY / name))


def options_of(command):
    """The study's options in a shell command that holds our command line."""
    words = shlex.split(command)
    return run._parser().parse_args(words[words.index("harness.run") + 1 :])


@pytest.mark.filterwarnings("ignore")
def test_rays_launcher_takes_the_cluster_file():
    from ray.autoscaler._private.util import prepare_config, validate_config

    (config,) = documents("cluster.yaml")
    prepared = prepare_config(config)
    validate_config(prepared)
    (kind,) = prepared["available_node_types"].values()
    assert kind["max_workers"] == len(config["provider"]["worker_ips"])


@pytest.mark.filterwarnings("ignore")
def test_rays_launcher_takes_the_cloud_part_of_the_cluster_file():
    from ray.autoscaler._private.util import fillout_defaults, validate_config

    text = (DEPLOY / "cluster.yaml").read_text()
    commented = text[text.index("# provider: {type: aws") : text.index("auth:\n")]
    cloud = YAML(typ="safe").load(re.sub("^# ?", "", commented, flags=re.MULTILINE))
    (config,) = documents("cluster.yaml")
    config = {**config, **cloud}
    validate_config({**fillout_defaults(config), "cluster_synced_files": []})
    assert config["head_node_type"] in config["available_node_types"]


def test_the_commands_in_the_heads_of_the_files_are_our_command_line():
    text = (DEPLOY / "cluster.yaml").read_text().replace("#", "").replace("\\\n", " ")
    command = re.search(r"ray exec cluster.yaml '(.*?)'", text, re.DOTALL)[1]
    assert options_of(command).address == "auto"


def test_the_ray_job_names_things_that_fit_each_other():
    claim, job = documents("rayjob.yaml")
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    cluster = job["spec"]["rayClusterSpec"]
    assert cluster["rayVersion"] == version("ray")
    (workers,) = cluster["workerGroupSpecs"]
    assert workers["minReplicas"] <= workers["replicas"] <= workers["maxReplicas"]
    storage = Path(options_of(job["spec"]["entrypoint"]).storage)
    for group in (cluster["headGroupSpec"], workers):
        pod = group["template"]["spec"]
        (container,), (volume,) = pod["containers"], pod["volumes"]
        assert container["image"].endswith(f"ray-{version('ray')}")
        (mount,) = container["volumeMounts"]
        assert mount["name"] == volume["name"]
        assert storage.is_relative_to(mount["mountPath"])
        assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    assert "nvidia.com/gpu" in workers["template"]["spec"]["containers"][0]["resources"]["limits"]


def test_the_ray_job_starts_a_study_of_this_project_with_its_secrets_on_the_head_alone():
    _, job = documents("rayjob.yaml")
    options = options_of(job["spec"]["entrypoint"])
    assert (ROOT / options.study).is_file()
    assert options.address == "auto"
    groups = job["spec"]["rayClusterSpec"]
    head = groups["headGroupSpec"]["template"]["spec"]["containers"][0]
    assert [variable["name"] for variable in head["env"]] == [
        "POSEBINS_DATABASE",
        "MLFLOW_TRACKING_URI",
    ]
    assert all("secretKeyRef" in variable["valueFrom"] for variable in head["env"])
    assert "env" not in groups["workerGroupSpecs"][0]["template"]["spec"]["containers"][0]


def test_the_readme_names_every_file_and_our_version_of_ray():
    text = (DEPLOY / "README.md").read_text()
    files = {path.name for path in DEPLOY.iterdir()} - {"README.md"}
    assert all(f"`{name}`" in text for name in files)
    assert f"rayproject/ray:{version('ray')}-" in text


def test_the_files_are_shipped_with_the_package():
    pyproject = (ROOT / "pyproject.toml").read_text()
    assert '"harness.nodes" = ["deploy/*"]' in pyproject


def test_the_slurm_script_is_valid_shell():
    subprocess.run(["bash", "-n", SLURM], check=True)


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_shellcheck_finds_nothing_in_the_slurm_script():
    subprocess.run(["shellcheck", SLURM], check=True)


def test_slurm_reads_every_option_before_the_first_command():
    lines = SLURM.read_text().splitlines()
    commands = [i for i, line in enumerate(lines) if line and not line.startswith("#")]
    options = {}
    for i, line in enumerate(lines):
        if line.startswith("#SBATCH"):
            assert i < commands[0], line
            word = line.split()[1]
            name, _, value = word.removeprefix("--").partition("=")
            options[name] = value
    assert options["signal"] == "B:TERM@120"  # B: the script alone, not Ray's processes
    assert {"requeue", "nodes", "time", "cpus-per-task", "gpus-per-node"} <= set(options)
    assert options["open-mode"] == "append"
    assert options["ntasks-per-node"] == "1"


STUBS = {
    "scontrol": """
        echo "scontrol $*" >> "$LOG"
        if [[ $1 == show ]]; then printf 'node-a\\nnode-b\\n'; fi
    """,
    # Runs the step here, as Slurm would on the node.
    "srun": """
        echo "srun $1 $2 $3" >> "$LOG"
        while [[ $1 == --* ]]; do shift; done
        exec "$@"
    """,
    "python": """
        if [[ $* != *harness.run* ]]; then exec "$REAL_PYTHON" "$@"; fi
        echo "python $*" >> "$LOG"
        trap 'echo "driver ended in order" >> "$LOG"; exit 130' TERM
        echo "running" >> "$LOG"
        for _ in {1..600}; do
            [[ -e $LOG.finish ]] && exit 0
            sleep 0.1
        done
    """,
}
STUB_RAY = """
    echo "ray $*" >> "$LOG"
    if [[ $1 == get-auth-token ]]; then exit 0; fi
    trap 'echo "ray ended" >> "$LOG"; exit 0' TERM
    for _ in {1..600}; do sleep 0.1; done
"""


@pytest.fixture
def job(tmp_path):
    """Start the Slurm script with stubs on its path; everything it started ends with the test."""
    log, stubs, started = tmp_path / "log", tmp_path / "stubs", []
    stubs.mkdir()

    def start(more_stubs, seconds_left, arguments=("study.yaml", "--set", "seeds=3")):
        for name, text in {**STUBS, **more_stubs}.items():
            path = stubs / name
            lines = [line.strip() for line in text.strip().splitlines()]
            path.write_text("\n".join(["#!/usr/bin/env bash", *lines, ""]))
            path.chmod(0o755)
        real = Path(sys.executable).parent
        process = subprocess.Popen(
            ["bash", SLURM, *arguments], cwd=tmp_path, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
            env={
                **os.environ, "PATH": f"{stubs}:{real}:{os.environ['PATH']}", "LOG": str(log),
                "REAL_PYTHON": sys.executable, "HOME": str(tmp_path), "SLURM_JOB_ID": "4711",
                "SLURM_JOB_NODELIST": "node-[a-b]", "SLURM_CPUS_PER_TASK": "1",
                "SLURM_GPUS_ON_NODE": "0",
                "SLURM_JOB_END_TIME": str(int(time.time()) + seconds_left),
            },
        )  # fmt: skip
        started.append(process)
        return process

    def lines():
        return log.read_text().splitlines() if log.exists() else []

    yield start, lines
    for process in started:
        if process.poll() is None:
            for member in psutil.Process(process.pid).children(recursive=True):
                member.kill()
            process.kill()
        process.communicate()


def wait_for(process, lines, text):
    while text not in lines():
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.05)


PYTHON_WITHOUT_WAITING = STUBS["python"].replace('exec "$REAL_PYTHON" "$@"', "exit 0")
STUBBED = {"ray": STUB_RAY, "python": PYTHON_WITHOUT_WAITING}


def test_a_study_under_slurm_starts_ray_on_every_node_and_then_the_driver(job, tmp_path):
    start, lines = job
    process = start(STUBBED, seconds_left=3600)
    wait_for(process, lines, "running")
    (tmp_path / "log.finish").touch()
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 0, output
    seen = lines()
    assert seen[0] == "ray get-auth-token --generate"
    assert "srun --nodes=1 --ntasks=1 --nodelist=node-a" in seen
    assert "srun --nodes=1 --ntasks=1 --nodelist=node-b" in seen
    (head,) = [line for line in seen if line.startswith("ray start --head")]
    assert "--port=24711 " in head  # 20000 + 4711
    assert "--num-cpus=1 --num-gpus=0 --block" in head
    (command,) = [line for line in seen if line.startswith("python -m harness.run")]
    options = options_of(command)
    assert options.study == Path("study.yaml")
    assert options.set == ["seeds=3"]
    assert options.storage == tmp_path / "runs"
    assert options.address.endswith(":24711")
    assert not [line for line in seen if "requeue" in line]
    assert "ray ended" in seen


@pytest.mark.parametrize(("seconds_left", "is_requeued"), [(120, True), (3600, False)])
def test_the_driver_ends_in_order_and_the_job_is_queued_again_at_its_time_limit_only(
    job, seconds_left, is_requeued
):
    start, lines = job
    process = start(STUBBED, seconds_left)
    wait_for(process, lines, "running")
    os.kill(process.pid, signal.SIGTERM)  # to the script alone, as --signal=B:TERM does
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 130, output
    seen = lines()
    assert seen.index("driver ended in order") < seen.index("ray ended")
    assert ("scontrol requeue 4711" in seen) is is_requeued


def test_a_job_without_a_study_is_refused(job):
    start, lines = job
    process = start(STUBBED, 3600, arguments=())
    output, _ = process.communicate(timeout=20)
    assert (process.returncode, lines()) == (2, [])
    assert output.startswith("usage: sbatch slurm.sh STUDY.yaml")


@pytest.mark.slow
def test_ray_really_starts_under_the_script_and_nothing_is_left(job):
    start, lines = job
    process = start({}, seconds_left=3600)
    wait_for(process, lines, "running")  # two nodes were counted
    family = psutil.Process(process.pid).children(recursive=True)
    assert sum(member.name() == "raylet" for member in family) == 2
    os.kill(process.pid, signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    _, alive = psutil.wait_procs(family, timeout=30)
    assert not alive
