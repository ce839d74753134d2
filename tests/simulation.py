"""A study driven by hand, without Ray: what Tune does with a bridge, on made-up runs."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.optuna_study.bridge import StudyBridge
from harness.record.ledger import Ledger
from harness.record.storage import Storage
from harness.spec import StudySpec
from harness.study.launch import Launch
from harness.study.open import open_bridge

Curve = Callable[[dict[str, Any], int], dict[str, float]]
"""A run's fields and an epoch to its metrics."""
PCK = "target_val/pck_05"
STUDY = f"""
name: t
trainable: adaptation
metric: {{name: {PCK}, goal: maximize}}
method: tpe
parameters:
  vae.kl_weight: {{distribution: log_uniform_values, min: 1e-4, max: 1}}
  sampling.strategy: {{values: [all, hardest, random]}}
  sampling.keep: {{values: [0.2, 0.4], when: {{sampling.strategy: random}}}}
baselines:
  all: {{sampling.strategy: all}}
early_terminate: {{type: successive_halving, min_iter: 1, eta: 2}}
budget: {{run_cap: 7}}
"""
"""A search with a parameter under a condition, a baseline and a pruner."""


def curve(fields: dict[str, Any], step: int) -> dict[str, float]:
    """A run of :data:`STUDY`, best at a KL weight of 0.01; their order changes with epochs."""
    distance = abs(math.log10(fields["vae.kl_weight"]) + 2)
    bonus = {"all": 0.0, "hardest": 1.0, "random": 5 * fields["sampling.keep"]}
    return {PCK: 10 * step / (1 + distance) + bonus[fields["sampling.strategy"]] * step**2}


class Simulation:
    """One driver of a study.

    Args:
        spec: The study.
        root: Storage; a study that is there is resumed.
        say: Receives lines for the user.
        options: Further arguments of :class:`Launch`.
    """

    def __init__(
        self,
        spec: StudySpec,
        root: Path,
        say: Callable[[str], None] = lambda text: None,
        **options: Any,
    ) -> None:
        self.spec = spec
        self.storage = Storage(root)
        folder = self.storage.study(spec.name)
        folder.path.mkdir(parents=True, exist_ok=True)
        self.ledger = Ledger(folder.ledger)
        launch = Launch(self.storage, **options)
        self.bridge: StudyBridge
        self.bridge, self.optuna_name = open_bridge(
            spec, launch, self.ledger, say=say, gives_up=lambda: False
        )
        self._running: dict[str, tuple[dict[str, Any], int]] = {}
        self._num_started = 0

    def run(self, curve: Curve, num_steps: int, parallel: int = 1) -> None:
        """Run to the end; runs take turns, an epoch each.

        Args:
            curve: Makes the metrics.
            num_steps: Epochs of a run.
            parallel: Runs at once.
        """
        while self.step(curve, num_steps, parallel):
            pass
        self.bridge.stop_all("the end")
        self.ledger.append("end", state="complete", reason=None, wall_s=0.0)

    def step(self, curve: Curve, num_steps: int, parallel: int = 1) -> bool:
        """Start what may start, then an epoch of every open run; False at the end."""
        while len(self._running) < parallel:
            name = f"ray-{self._num_started}"
            asked = self.bridge.ask(name)
            if asked is None:
                break
            self._num_started += 1
            record = self.bridge.record_of(name)
            self._running[name] = (asked[1], record.step if record else 0)
        for name, (fields, done) in list(self._running.items()):
            step = min(done + 1, num_steps)  # one that goes on reports its last epoch again
            self._running[name] = (fields, step)
            metrics = {f"metrics/{key}": value for key, value in curve(fields, step).items()}
            result = {**metrics, "step": step, "num_steps": num_steps}
            stop = self.bridge.report(name, result)
            if stop or step == num_steps:
                del self._running[name]
                self.bridge.complete(name)
        return not self.bridge.is_over

    def close(self) -> None:
        """Let go of the ledger, as a driver's death does."""
        self.ledger.close()
