"""Threads of processes that the harness starts sleep soon, unless the user has chosen."""

import os

import pytest

from harness.nodes.thread_waits import limit_spinning


@pytest.mark.parametrize(
    ("chosen", "spins"),
    [
        ({}, "10000"),
        ({"GOMP_SPINCOUNT": "7"}, "7"),
        ({"OMP_WAIT_POLICY": "PASSIVE"}, None),  # a count would take its place
    ],
)
def test_a_users_choice_is_left_alone(monkeypatch, chosen, spins):
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.setenv(name, "to restore")
        monkeypatch.delenv(name)
    for name, value in chosen.items():
        monkeypatch.setenv(name, value)
    limit_spinning()
    assert os.environ.get("GOMP_SPINCOUNT") == spins
