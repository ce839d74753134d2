"""One study from spec to end state: storage, Ray, Tuner, interruption, clean-up."""

import gc
import importlib
import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.ledger import Ledger, TrialRecord
from harness.spec import SpecError, StudySpec
from harness.storage import Storage, absolute_paths
from trainables.config import TrialConfig
from trainables.reference_recipe import reference_fields

if TYPE_CHECKING:
    from harness.search import StudyBridge

TRAINABLES = {
    "adaptation": "trainables.adaptation_trainable:AdaptationTrainable",
    "pose_vae": "trainables.pose_vae_trainable:PoseVAETrainable",
}
OBJECT_STORE_BYTES = 200 * 2**20
"""Ray's shared memory: trials exchange small dictionaries, so the default third of the machine
would be reserved for nothing."""


@dataclass(frozen=True)
class StudyResult:
    """How a study ended.

    Attributes:
        study_name: Name in the storage.
        goal: ``maximize`` or ``minimize``.
        state: ``complete`` or ``stopped``.
        was_interrupted: Whether a person or a signal stopped it.
        wall_s: Seconds from start to end.
        trials: Every trial in a terminal state.
    """

    study_name: str
    goal: str
    state: str
    was_interrupted: bool
    wall_s: float
    trials: list[TrialRecord]


class Interruption:
    """Tells Tune to stop: after SIGINT, SIGTERM or SIGHUP, or when the hours are used up."""

    def __init__(self, hours: float | None) -> None:
        self.signal: int | None = None
        self._previous: dict[signal.Signals, Any] = {}
        self._hours = hours or 0.0
        self._deadline = None if hours is None else time.monotonic() + hours * 3600

    @property
    def is_due(self) -> bool:
        """Whether to stop now."""
        return self.reason is not None

    @property
    def reason(self) -> str | None:
        """Why to stop now, None to go on."""
        if self.signal is not None:
            return f"interrupted by {signal.Signals(self.signal).name}"
        if self._deadline is not None and time.monotonic() > self._deadline:
            return f"budget.hours {self._hours:g} used up"
        return None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Catch the first signal; a second one ends the process as usual."""
        self._previous = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # else nohup said to go on
            self._previous[signal.SIGHUP] = signal.getsignal(signal.SIGHUP)
        self.listen()
        try:
            yield
        finally:
            self._restore()

    def listen(self) -> None:
        """Catch signals (again): Ray, when it starts, puts its own handler for SIGTERM."""
        for caught in self._previous:
            signal.signal(caught, self._catch)

    def _catch(self, number: int, _frame: object) -> None:
        self.signal = number
        self._restore()

    def _restore(self) -> None:
        for caught, handler in self._previous.items():
            signal.signal(caught, handler)


@dataclass(frozen=True)
class Launch:
    """What a study needs beside its spec.

    Attributes:
        storage: Where to keep it.
        study_name: From :meth:`Storage.reserve`.
        ledger: Receives every event; its subscribers see the study.
        trainable: Ray Tune class to run instead of the spec's; for tests and benchmarks.
        read_test: Whether trials may read the target test split; only ``confirm`` says so.
        say: Shows a line to the person at the terminal.
    """

    storage: Storage
    study_name: str
    ledger: Ledger
    trainable: type | None = None
    read_test: bool = False
    say: Callable[[str], None] = lambda text: None


def run_study(spec: StudySpec, launch: Launch) -> StudyResult:
    """Run a study to its end and leave nothing running.

    Raises:
        KeyboardInterrupt: On a second SIGINT; the trials have been ended even so.
    """
    started = time.monotonic()
    stop = Interruption(spec.budget.hours)
    has_ended = False
    with stop.listening():
        # Ray and Optuna are imported here, late: by now the person has seen a first line.
        from harness.optuna_study import create_study, num_trials
        from harness.search import StudyBridge

        study = create_study(spec, launch.study_name, launch.storage.optuna_url, seed=0)
        launch.ledger.append("study", **_description(spec, launch))
        bridge = StudyBridge(
            study, spec.space(), spec.objective.name, num_trials(spec), launch.ledger
        )
        try:
            if not stop.is_due:
                _fit(spec, launch, bridge, stop)
            has_ended = True
        finally:
            bridge.stop_all(stop.reason or "the study broke off")
            was_interrupted = stop.signal is not None
            state = "complete" if has_ended and not was_interrupted else "stopped"
            wall_s = time.monotonic() - started
            launch.ledger.append("end", state=state, wall_s=wall_s)
            _shut_down_ray()
    trials = list(launch.ledger.trials.values())
    return StudyResult(
        launch.study_name, spec.objective.goal, state, was_interrupted, wall_s, trials
    )


def _description(spec: StudySpec, launch: Launch) -> dict[str, Any]:
    varied = set(spec.parameters).union(*spec.baselines.values())
    fields = TrialConfig().to_flat()
    if spec.fixed.get("parity"):
        fields |= reference_fields(spec.fixed.get("adapt.method", fields["adapt.method"]))
    fields |= {n: list(v) if isinstance(v, tuple) else v for n, v in spec.fixed.items()}
    return {
        "study": launch.study_name,
        "yaml": spec.model_dump_json(indent=1, exclude_defaults=True),
        "objective": spec.objective.name,
        "goal": spec.objective.goal,
        "trainable": spec.trainable,
        "resources": spec.resources.model_dump(),
        "read_test": launch.read_test,
        "varied": sorted(varied),
        "fixed": {n: v for n, v in absolute_paths(fields).items() if n not in varied},
    }


def _fit(spec: StudySpec, launch: Launch, bridge: "StudyBridge", stop: "Interruption") -> None:
    _start_ray()
    stop.listen()
    from ray import tune

    from harness.optuna_study import num_trials
    from harness.search import BridgeScheduler, BridgeSearcher
    from harness.stages import StageCache

    parallel = _parallel(spec)
    launch.say(f"{num_trials(spec)} trials, {parallel} at a time")
    shared_config = {
        "cache": StageCache(launch.storage.stages),
        "num_threads": spec.resources.cpus,
        # A trial with several GPUs trains one process on each; a share of one is one process.
        "num_replicas": max(1, int(spec.resources.gpus)),
        "read_test": launch.read_test,
    }
    resources = {"cpu": spec.resources.cpus, "gpu": float(spec.resources.gpus)}
    trainable = launch.trainable or _load(TRAINABLES[spec.trainable])

    class Stop(tune.Stopper):
        def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
            return False

        def stop_all(self) -> bool:
            return stop.is_due

    tune.Tuner(
        tune.with_resources(trainable, resources),
        tune_config=tune.TuneConfig(
            search_alg=BridgeSearcher(bridge, shared_config),
            scheduler=BridgeScheduler(bridge),
            num_samples=num_trials(spec),
            max_concurrent_trials=parallel,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: f"trial_{trial.trial_id}",
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(launch.storage.study(launch.study_name)),
            failure_config=tune.FailureConfig(max_failures=spec.failures.retries),
            checkpoint_config=tune.CheckpointConfig(
                num_to_keep=1,
                checkpoint_frequency=int(_writes_checkpoints(trainable)),
                checkpoint_at_end=False,
            ),
            stop=Stop(),
            verbose=0,
        ),
    ).fit()


def _load(place: str) -> type:
    module, name = place.split(":")
    loaded: type = getattr(importlib.import_module(module), name)
    return loaded


def _writes_checkpoints(trainable: type) -> bool:
    from ray import tune

    return getattr(trainable, "save_checkpoint", None) is not tune.Trainable.save_checkpoint


def _start_ray() -> None:
    """Start Ray on this machine, quiet and bound to it, unless it is already running."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # The harness keeps its own records and catches signals itself.
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
    os.environ.setdefault("TUNE_FORCE_TRIAL_CLEANUP_S", "1")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    # Trials' errors reach the person as one sentence; the traceback is in the trial's folder.
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    if ray.is_initialized():
        return
    ray.init(
        address="local",
        num_cpus=len(os.sched_getaffinity(0)),
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        object_store_memory=OBJECT_STORE_BYTES,
        _node_ip_address="127.0.0.1",
    )


def _shut_down_ray() -> None:
    """Stop Ray after nothing refers to its objects any more.

    Ray ends the whole process, without a word, when one of its references is destroyed after the
    shutdown. Tune leaves such references in cycles, and the collector may run in any thread.
    """
    import ray

    gc.collect()
    ray.shutdown()


def _parallel(spec: StudySpec) -> int:
    """Trials at once: what the file says, or as many as the machine holds.

    Raises:
        SpecError: If not even one trial fits.
    """
    import ray

    available = ray.cluster_resources()
    fits = int(available.get("CPU", 0) // spec.resources.cpus)
    if spec.resources.gpus:
        fits = min(fits, int(available.get("GPU", 0) / spec.resources.gpus))
    if fits == 0:
        raise SpecError(
            f"resources: a trial needs {spec.resources.cpus} CPUs and {spec.resources.gpus:g} "
            f"GPUs, the machine has {available.get('CPU', 0):g} and {available.get('GPU', 0):g}"
        )
    return min(fits, spec.resources.parallel or fits)
