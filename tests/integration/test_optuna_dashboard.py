"""Optuna's own dashboard on the database of a study, in a real browser."""

import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from playwright.sync_api import expect

from harness.spec import load_spec
from tests.browser import needs_chromium, new_page, opened_browser
from tests.simulation import Simulation

PCK = "target_val/pck_05"
STUDY = f"""
name: shown
trainable: adaptation
metric: {{name: {PCK}, goal: maximize}}
method: random
parameters:
  vae.kl_weight: {{distribution: log_uniform_values, min: 1e-4, max: 1}}
early_terminate: {{type: successive_halving, min_iter: 1, eta: 2}}
budget: {{run_cap: 6}}
"""

pytestmark = [pytest.mark.slow, needs_chromium]


@pytest.fixture
def address(write_study, tmp_path):
    """The dashboard of a storage with a study of six trials, some of them pruned."""
    simulation = Simulation(load_spec(write_study(STUDY)), tmp_path)
    simulation.run(lambda fields, step: {PCK: 10 * fields["vae.kl_weight"] + step}, num_steps=4)
    simulation.close()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = Path(sys.executable).with_name("optuna-dashboard")
    process = subprocess.Popen(
        [command, f"sqlite:///{tmp_path / 'optuna.db'}", "--port", str(port), "--quiet"]
    )
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_for(address)
        yield address
    finally:
        process.terminate()
        process.wait(30)


def _wait_for(address, limit_s=60):
    started = time.monotonic()
    while True:
        try:
            urllib.request.urlopen(address, timeout=5).close()
        except OSError:
            assert time.monotonic() - started < limit_s
            time.sleep(0.2)
        else:
            return


def test_it_shows_the_trials_with_their_states_and_intermediate_values(address):
    with opened_browser() as browser:
        page = new_page(browser, 1400, 1000)
        page.goto(f"{address}/dashboard/")
        page.get_by_text("1. shown").click()
        expect(page.get_by_text("Hyperparameter Importance").first).to_be_visible()
        page.goto(f"{address}/dashboard/studies/1/trials")
        for text in ("6 Trials", "Intermediate Values", "Pruned", "Complete", "vae.kl_weight"):
            expect(page.get_by_text(text).first).to_be_visible()
