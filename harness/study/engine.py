"""One study from spec to end state: Optuna, Ray, Tuner, interruption, clean-up."""

import signal
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from harness.record.full_disk import FullDisk
from harness.record.ledger import Ledger
from harness.record.outage import OutageError
from harness.record.storage import StudyFolder
from harness.record.study_result import StudyResult
from harness.spec import StudySpec
from harness.spec.database import database_url
from harness.study.best_model import keep_best_model
from harness.study.launch import Launch
from harness.study.limits import Limits
from harness.study.study_report import write_report
from trainables.registry import TRAINABLES

if TYPE_CHECKING:
    from harness.optuna_study.bridge import StudyBridge


def run_study(
    spec: StudySpec,
    launch: Launch,
    folder: StudyFolder,
    ledger: Ledger,
    say: Callable[[str], None],
) -> StudyResult:
    """Start a study or resume it, run it to its end, and leave nothing running.

    Args:
        spec: The study.
        launch: How it is started or resumed.
        folder: Folder of the study; this process owns it.
        ledger: Receives every event; its subscribers see the study.
        say: Shows a line to the user.

    Raises:
        SpecError: If it can be neither started nor resumed; nothing has changed then.
        KeyboardInterrupt: On a second SIGINT; the runs have been ended even so.
    """
    started = time.monotonic()
    gpus = float(spec.resources.gpus)
    limits = Limits(
        spec.budget,
        ledger.earlier_wall_s,
        lambda: gpus * sum(record.busy_s for record in list(ledger.runs.values())),
    )
    disk = FullDisk(launch.storage.root, say, limits.is_interrupted)
    ledger.wait_for(disk)
    state = "stopped"
    reason: str | None = "the study broke off"
    notes: list[str] = []
    has_ended = False
    with limits.listening():
        from harness.study.open import open_bridge  # late: the user has seen a first line by now

        bridge, optuna_name = open_bridge(spec, launch, ledger, say, limits.is_interrupted)
        was_over = ledger.is_complete and bridge.is_over
        if was_over:
            say("it is complete; a larger budget adds trials, --new starts another study")
        try:
            if not bridge.is_over and limits.used_up is None:
                _fit(spec, launch, folder, bridge, limits, disk, say)
            if bridge.is_over:
                state, reason = "complete", None
            else:
                reason = limits.interruption or limits.used_up or "Ray Tune ended early"
            # The best of a confirmation would be chosen by the test split.
            if launch.trainable is None and launch.kind == "trial":
                missing = keep_best_model(spec, folder, list(ledger.runs.values()))
                notes += [] if missing is None else [missing]
            has_ended = True
        finally:
            wall_s = time.monotonic() - started
            try:
                bridge.stop_all(reason or "the study broke off")
                if launch.report and has_ended and not was_over and not limits.is_interrupted():
                    say("writing the report")
                    missing = write_report(folder)
                    notes += [] if missing is None else [missing]
            finally:  # the database may be away for good
                if not was_over:
                    ledger.append("end", state=state, reason=reason, wall_s=wall_s)
                from harness.nodes.cluster import shut_down_ray

                shut_down_ray()
    if bridge.is_exhausted and spec.parameters and spec.method != "grid":
        notes.append("the space holds no further configuration")
    return StudyResult(
        study_name=folder.name,
        state=state,
        reason=reason,
        was_interrupted=limits.is_interrupted(),
        wall_s=wall_s,
        runs=list(ledger.runs.values()),
        optuna_url=database_url(spec.database, launch.storage.optuna_url),
        optuna_name=optuna_name,
        notes=tuple(notes),
    )


def _fit(
    spec: StudySpec,
    launch: Launch,
    folder: StudyFolder,
    bridge: "StudyBridge",
    limits: Limits,
    disk: FullDisk,
    say: Callable[[str], None],
) -> None:
    from harness.nodes.cluster import parallel_runs, ray_nodes, start_ray
    from harness.nodes.run_slots import image_cores

    try:
        start_ray(launch.address, say, limits.is_interrupted)
    except SystemExit as error:  # of Ray's own handler, which is there until the next line but one
        if error.code != signal.SIGTERM:
            raise
        limits.interrupt(signal.SIGTERM)
        return
    except OutageError:
        if not limits.is_interrupted():
            raise
        return
    limits.listen()
    import ray
    from ray import tune

    from harness.stage_cache.cache import DiskStageCache
    from harness.study.image_progress import ImageProgress
    from harness.study.tune_adapters import (
        BridgeScheduler,
        BridgeSearcher,
        HangingWorkers,
        StudyStopper,
        Watch,
    )

    if launch.address is not None:
        from harness.nodes.shared_storage import check_shared

        check_shared(launch.storage.root, spec.plugins)
    parallel = parallel_runs(spec.resources, say)
    say(f"{spec.amount}, {parallel} at a time")
    shared_config = {
        "plugins": spec.plugins,
        "cache": DiskStageCache(launch.storage.stages, waits_for_space=True),
        "num_threads": spec.resources.cpus,
        "image_threads": image_cores(spec.resources, parallel, ray_nodes()),
        # A run with several GPUs has one process on each; a share of one is one process.
        "num_replicas": max(1, int(spec.resources.gpus)),
        "read_test": launch.read_test,
        "heartbeat_s": spec.failures.heartbeat_s,
    }
    resources = {"cpu": spec.resources.cpus, "gpu": float(spec.resources.gpus)}
    trainable = launch.trainable or TRAINABLES[spec.trainable].load()

    images = ImageProgress(launch.storage.stages, say)

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
                callbacks=[
                    HangingWorkers(bridge, spec.failures),
                    Watch(disk.look),
                    Watch(images.look),
                ],
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
