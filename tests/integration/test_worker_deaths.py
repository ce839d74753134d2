"""What a person reads of a worker that died: its signal, and memory with evidence only."""

import io
import re
from pathlib import Path

import pytest

from harness.record.storage import Storage
from harness.spec import load_spec
from harness.study.follow import follow_study
from harness.study.launch import Launch
from tests.noop_trainable import MortalTrainable, SlowTrainable

STUDY = """
name: deaths
trainable: adaptation
metric: {name: target_val/pck_05, goal: maximize}
fixed: {adapt.epochs: 6, vae.kl_weight: 0.1}
early_terminate: {type: none}
failures: {retries: 0, max_rate: 1}
resources: {parallel: 1}
baselines:
"""
pytestmark = [
    pytest.mark.slow,
    pytest.mark.faults,
    pytest.mark.filterwarnings("ignore"),  # Ray's own, of its threads and sockets
]


def reasons(write_study, storage, trainable, names):
    """Name of a baseline to why it failed."""
    text = STUDY + "".join(
        f"  {name}: {{vae.epochs: {index}}}\n" for index, name in enumerate(names, start=1)
    )
    spec = load_spec(write_study(text))
    result, _ = follow_study(spec, Launch(Storage(storage), trainable=trainable), io.StringIO())
    assert [record.state for record in result.runs] == ["failed"] * len(names)
    return {record.name: record.reason for record in result.runs}


def test_a_crash_is_named_by_its_signal_and_its_log_is_kept(write_study, tmp_path):
    found = reasons(write_study, tmp_path, MortalTrainable, MortalTrainable.WAYS)
    for way in ("SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "free"):
        reason = found[way]
        assert "memory" not in reason
        name = "SIGABRT (free(): double free" if way == "free" else way
        assert f"the worker's process died of {name}" in reason
        log = Path(re.search(r"its log is in (.*)", reason)[1])
        assert "line" in log.read_text(), "the stack"
        assert log.is_relative_to(tmp_path)
    assert found["SIGTERM"].startswith("the worker's process died of SIGTERM")
    for way in ("SIGKILL", "exit"):
        assert "died without a trace" in found[way]
        assert "memory is one possible cause" in found[way]


def test_memory_is_named_when_ray_says_so(write_study, tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_memory_usage_threshold", "0.001")
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "100")
    found = reasons(write_study, tmp_path, SlowTrainable, ["slow"])
    assert found["slow"].startswith("Ray ended the worker's process, as its machine ran short of")
