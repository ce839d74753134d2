"""What a whole training depends on: the key under which equal trials share it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainables.config import TrialConfig
from trainables.fingerprint import code_digest
from trainables.stages.digests import file_digest


def training_inputs(
    config: TrialConfig,
    stage_keys: Mapping[str, str],
    read_test: bool,
    arithmetic: Mapping[str, Any],
) -> dict[str, Any]:
    """Everything the reports of a training depend on.

    Unlike :func:`trainables.stages.pretrain_key.pretraining_inputs` these include all settings and
    the code: reports that are reused stand for a whole trial, so they must be those that this very
    code would make.

    Args:
        config: Settings.
        stage_keys: Stage to key, of all stages that the trial uses.
        read_test: Whether the target test split is judged on.
        arithmetic: What decides the last digits: device, number format, threads, processes.

    Raises:
        OSError: If the file of ``net.weights`` cannot be read.
    """
    return {
        "code": code_digest(),
        "fields": config.to_flat(),
        "stages": dict(stage_keys),
        "weights": None if config.net.weights is None else file_digest(Path(config.net.weights)),
        "read_test": read_test,
        "arithmetic": dict(arithmetic),
    }
