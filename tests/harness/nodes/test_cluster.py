"""A local Ray of our own: who it listens to, what it prints, and how it ends."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing

import psutil
import pytest

from harness.nodes.cluster import start_ray
from harness.yaml.text import SpecError
from tests.conftest import ROOT

EXPERIMENT = """
import os, signal, sys, time
from pathlib import Path

from harness.nodes.cluster import parallel_runs, shut_down_ray, start_ray
from harness.spec.sections import Resources

folder, caught = Path(sys.argv[1]), []
start_ray(None, print)
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, lambda number, frame: caught.append(number))
from ray import tune


class Endless(tune.Trainable):
    def step(self):
        time.sleep(0.1)
        (folder / f"started-{self.trial_id}").touch()
        return {"x": 1}


class Stop(tune.Stopper):
    def __call__(self, trial_id, result):
        return False

    def stop_all(self):
        return bool(caught)


parallel = parallel_runs(Resources(), lambda text: None)
tune.Tuner(
    tune.with_resources(Endless, {"cpu": 1}),
    tune_config=tune.TuneConfig(num_samples=parallel),
    run_config=tune.RunConfig(storage_path=str(folder), stop=Stop(), verbose=0),
).fit()
shut_down_ray()
print("ended after", *caught, flush=True)
sys.exit(7)
"""

KILLED_WORKER = """
import os, signal, threading
from harness.nodes.cluster import shut_down_ray, start_ray

start_ray(None, print)
import ray
from ray._private import worker

show, reported = worker.print_to_stdstream, threading.Event()


def watched(*arguments, **options):
    show(*arguments, **options)
    reported.set()


worker.print_to_stdstream = watched


@ray.remote
class Mortal:
    def pid(self):
        return os.getpid()

    def work(self):
        threading.Event().wait()


mortal = Mortal.remote()
pid = ray.get(mortal.pid.remote())
mortal.work.remote()
os.kill(pid, signal.SIGKILL)
print("Ray reported it:", reported.wait(30), flush=True)
shut_down_ray()
"""


WITHOUT_GPU = """
from harness.nodes.cluster import shut_down_ray, start_ray

start_ray(None, print)
import ray


@ray.remote(num_gpus=0)
def visible():
    import os
    return os.environ.get("CUDA_VISIBLE_DEVICES")


print("visible:", repr(ray.get(visible.remote())), flush=True)
shut_down_ray()
"""


@pytest.fixture
def launch(tmp_path):
    """Start a script as the leader of a process group; nothing of it outlives the test."""
    started = []

    def start(script):
        path = tmp_path / "script.py"
        path.write_text(script)
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", path, tmp_path],
            cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": str(ROOT)}, process_group=0,
        )  # fmt: skip
        started.append(process)
        return process

    families = []
    yield start, families
    for process in [*started, *families]:
        if isinstance(process, psutil.Process) and not process.is_running():
            continue
        process.kill()
    for process in started:
        process.communicate()


def running(launch, tmp_path):
    """A script whose runs have all reported, and its processes."""
    start, families = launch
    process = start(EXPERIMENT)
    num_trials = len(os.sched_getaffinity(0))
    while len(list(tmp_path.glob("started-*"))) < num_trials:
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.05)
    families.extend(psutil.Process(process.pid).children(recursive=True))
    assert len(families) >= num_trials + 4
    return process, families


@pytest.mark.faults
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_the_whole_process_group_ends_the_study_in_order(launch, tmp_path, number):
    process, family = running(launch, tmp_path)
    os.killpg(process.pid, number)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 7
    assert output == f"ended after {int(number)}\n"
    _, alive = psutil.wait_procs(family, timeout=10)
    assert not alive


@pytest.mark.faults
@pytest.mark.slow
def test_nothing_outlives_a_killed_driver(launch, tmp_path):
    process, family = running(launch, tmp_path)
    agents = [p for p in family if "Agent" in p.name()]
    process.kill()
    process.wait(10)
    _, alive = psutil.wait_procs([p for p in family if p not in agents], timeout=20)
    assert not alive
    # Ray's two agents report their raylet's death to its dead store first, for a minute.
    _, alive = psutil.wait_procs(agents, timeout=120)
    assert not alive


def test_everything_listens_on_this_machine_alone(launch, tmp_path):
    process, family = running(launch, tmp_path)
    found = [
        (member.name(), connection.laddr.ip)
        for member in [psutil.Process(process.pid), *family]
        for connection in member.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert {"raylet", "gcs_server"} <= {name for name, _ in found}
    assert {ip for _, ip in found} <= {"127.0.0.1", "::ffff:127.0.0.1"}, json.dumps(found)
    process.terminate()
    assert process.communicate(timeout=30)[0] == f"ended after {int(signal.SIGTERM)}\n"


def test_a_run_without_gpus_sees_none(launch):
    start, _ = launch
    assert "visible: ''" in start(WITHOUT_GPU).communicate(timeout=120)[0]


@pytest.mark.faults
def test_a_killed_worker_prints_nothing_and_our_lines_stay(launch):
    start, _ = launch
    output, _ = start(KILLED_WORKER).communicate(timeout=60)
    assert output == "Ray reported it: True\n"


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("ray://head:10001", "must run on a node of the cluster"),
        ("http://head:8265", "must run on a node of the cluster"),
        ("head", "must be auto or host:port"),
        ("head:", "must be auto or host:port"),
        (":6379", "must be auto or host:port"),
        ("head:ray", "must be auto or host:port"),
        ("head:80", "a port from 1024 to 65535"),
        ("head:65536", "a port from 1024 to 65535"),
        ("", "must be auto or host:port"),
    ],
)
def test_an_address_that_cannot_work_is_refused_at_once(address, words):
    with pytest.raises(SpecError) as caught:
        start_ray(address, print)
    assert str(caught.value).startswith(f"--address {address}: ")
    assert words in str(caught.value)


def test_an_address_where_nobody_listens_is_refused_at_once():
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    with pytest.raises(SpecError, match="no Ray cluster answers there .Connection refused."):
        start_ray(address, print)
