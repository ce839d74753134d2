"""One study from spec to end state: Optuna, Ray, Tuner, interruption, clean-up."""

import importlib
import signal
import time
from typing import TYPE_CHECKING, Any

from harness.record.full_disk import FullDisk
from harness.record.outage import OutageError
from harness.record.study_result import StudyResult
from harness.spec import StudySpec
from harness.study.launch import Launch
from harness.study.limits import Limits

if TYPE_CHECKING:
    from harness.optuna_study.bridge import StudyBridge

TRAINABLES = {
    "adaptation": "trainables.adaptation_trainable:AdaptationTrainable",
    "pose_vae": "trainables.pose_vae_trainable:PoseVAETrainable",
}


def run_study(spec: StudySpec, launch: Launch) -> StudyResult:
    """Start a study or go on with it, to its end, and leave nothing running.

    Raises:
        SpecError: If it cannot be started or gone on with; nothing has changed then.
        KeyboardInterrupt: On a second SIGINT; the trials have been ended even so.
    """
    started = time.monotonic()
    ledger, gpus = launch.ledger, float(spec.resources.gpus)
    limits = Limits(
        spec.budget,
        ledger.earlier_wall_s,
        lambda: gpus * sum(record.busy_s for record in list(ledger.trials.values())),
    )
    ledger.disk = FullDisk(launch.storage.root, launch.say, lambda: limits.signal is not None)
    state = "stopped"
    reason: str | None = "the study broke off"
    with limits.listening():
        from harness.study.open import (
            open_bridge,  # late: by now a person has seen a first line
        )

        bridge, optuna_name = open_bridge(spec, launch, lambda: limits.signal is not None)
        was_over = ledger.is_complete and bridge.is_over
        if was_over:
            launch.say("it is complete; a larger budget, or --new, would run more")
        try:
            if not bridge.is_over and limits.used_up is None:
                _fit(spec, launch, bridge, limits)
            if bridge.is_over:
                state, reason = "complete", None
            else:
                reason = limits.interruption or limits.used_up or "Ray Tune ended early"
        finally:
            wall_s = time.monotonic() - started
            try:
                bridge.stop_all(reason or "the study broke off")
            finally:  # the database may be away for good
                if not was_over:
                    ledger.append("end", state=state, reason=reason, wall_s=wall_s)
                from harness.nodes.cluster import shut_down_ray

                shut_down_ray()
    notes = []
    if bridge.is_exhausted and spec.method != "grid":
        notes.append("the space holds no further configuration")
    return StudyResult(
        launch.study_name,
        spec.objective.goal,
        state,
        reason,
        limits.interruption is not None,
        wall_s,
        list(ledger.trials.values()),
        launch.optuna_url,
        optuna_name,
        tuple(notes),
    )


def _fit(spec: StudySpec, launch: Launch, bridge: "StudyBridge", limits: Limits) -> None:
    from harness.nodes.cluster import parallel_trials, start_ray

    try:
        start_ray(launch.address, launch.say, lambda: limits.signal is not None)
    except SystemExit as error:  # of Ray's own handler, which is there until the next line but one
        if error.code != signal.SIGTERM:
            raise
        limits.signal = signal.SIGTERM
        return
    except OutageError:
        if limits.signal is None:
            raise
        return
    limits.listen()
    import ray
    from ray import tune

    from harness.stage_cache.cache import DiskStageCache
    from harness.study.tune_adapters import (
        BridgeScheduler,
        BridgeSearcher,
        DiskWatch,
        HangingWorkers,
        StudyStopper,
    )

    if launch.address is not None:
        from harness.nodes.shared_storage import check_shared

        check_shared(launch.storage.root)
    parallel = parallel_trials(spec.resources, launch.say)
    launch.say(f"{_amount(spec.max_settings, spec.seeds)}, {parallel} at a time")
    folder = launch.storage.study(launch.study_name)
    shared_config = {
        "cache": DiskStageCache(launch.storage.stages, waits_for_space=True),
        "num_threads": spec.resources.cpus,
        # A trial with several GPUs trains one process on each; a share of one is one process.
        "num_replicas": max(1, int(spec.resources.gpus)),
        "read_test": launch.read_test,
        "heartbeat_s": spec.failures.heartbeat_s,
    }
    resources = {"cpu": spec.resources.cpus, "gpu": float(spec.resources.gpus)}
    trainable = launch.trainable or _load(TRAINABLES[spec.trainable])
    disk = launch.ledger.disk

    def tuner() -> Any:
        return tune.Tuner(
            tune.with_resources(trainable, resources),
            tune_config=tune.TuneConfig(
                search_alg=BridgeSearcher(bridge, folder, shared_config),
                scheduler=BridgeScheduler(bridge, folder, disk),
                num_samples=-1,  # the searcher says when there are no more
                max_concurrent_trials=parallel,
                reuse_actors=True,
                trial_dirname_creator=lambda trial: f"trial_{trial.trial_id}",
            ),
            run_config=tune.RunConfig(
                name="tune",
                storage_path=str(folder.path),
                failure_config=tune.FailureConfig(max_failures=spec.failures.retries),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                callbacks=[HangingWorkers(bridge, spec.failures), DiskWatch(disk)],
                stop=StudyStopper(bridge, limits),
                verbose=0,
            ),
        )

    try:
        disk.insist(tuner).fit()  # it writes a file at once
    except (tune.TuneError, ray.exceptions.RayError) as error:
        raise OutageError(
            f"Ray broke off ({str(error).strip().splitlines()[0]}); run it again to continue"
        ) from error


def _amount(settings: int | None, seeds: int) -> str:
    if settings is None:
        return "trials until it is stopped (Ctrl-C; the same command goes on)"
    return (
        f"{settings} trial{'s' * (settings != 1)}"
        if seeds == 1
        else f"{settings} settings x {seeds} seeds"
    )


def _load(place: str) -> type:
    module, name = place.split(":")
    loaded: type = getattr(importlib.import_module(module), name)
    return loaded
