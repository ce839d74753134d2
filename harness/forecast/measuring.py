"""Measures configurations of a study in fresh processes, so that memory is that of a run.

As many processes work at once as the study has runs at once (at most :data:`MAX_AT_ONCE`):
runs share caches, memory bandwidth and the power budget of the cores, and each is slower than
alone. A process that has measured goes on training until the others have, so that all are
measured under the same load.

A process lives as long as the pipe to its standard input is open: when the parent dies, however
it does, the kernel closes the pipe and the process ends itself.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from harness.yaml.text import SpecError
from trainables.cost.measurement import Measurement

MAX_AT_ONCE = 8
_JOIN_S = 10.0


def measure_configurations(
    jobs: Sequence[Mapping[str, Any]],
    at_once: int,
    stages: Path,
    say: Callable[[str], None] = lambda text: None,
) -> list[list[Measurement]]:
    """Measure each job at least once, in fresh processes.

    Args:
        jobs: Fields of :class:`trainables.cost.measure.Job`.
        at_once: Runs of the study at once; spare processes repeat the first jobs.
        stages: Folder of the stage cache, which is read only.
        say: Shows a line to the person at the terminal.

    Returns:
        The measurements of each job.

    Raises:
        SpecError: If a configuration cannot be measured; one sentence.
    """
    at_once = max(1, min(at_once, MAX_AT_ONCE))
    found: list[list[Measurement]] = [[] for _ in jobs]
    for first in range(0, len(jobs), at_once):
        numbers = list(range(first, min(first + at_once, len(jobs))))
        numbers += [spare % len(jobs) for spare in range(at_once - len(numbers))]
        if first:
            say(f"measured {first} of {len(jobs)} configurations")
        batch = [{**jobs[number], "stages": str(stages)} for number in numbers]
        for number, measurement in zip(numbers, _measure_together(batch), strict=True):
            found[number].append(measurement)
    return found


def _measure_together(batch: Sequence[Mapping[str, Any]]) -> list[Measurement]:
    with tempfile.TemporaryDirectory(prefix="measure-") as folder, ExitStack() as stack:
        # The processes are ended before the folder is removed.
        places = [Path(folder) / str(index) for index in range(len(batch))]
        processes = [
            stack.enter_context(_Process({**job, "folder": str(place)}))
            for job, place in zip(batch, places, strict=True)
        ]
        return [process.result() for process in processes]


class _Process:
    """A process that measures a job until it is left."""

    def __init__(self, job: Mapping[str, Any]) -> None:
        self._errors = (Path(job["folder"]).parent / f"{Path(job['folder']).name}.err").open("w+")
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "harness.forecast.measuring"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(p or os.getcwd() for p in sys.path)},
        )  # fmt: skip
        pipe: IO[str] | None = self._process.stdin
        assert pipe is not None
        with suppress(BrokenPipeError):  # it has died; result() says why
            pipe.write(json.dumps(job) + "\n")
            pipe.flush()

    def __enter__(self) -> "_Process":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait(_JOIN_S)
        for pipe in (self._process.stdin, self._process.stdout, self._errors):
            assert pipe is not None
            with suppress(BrokenPipeError):  # what was never read by a process that had died
                pipe.close()

    def result(self) -> Measurement:
        """Wait for the measurement.

        Raises:
            SpecError: If the process failed.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.endswith("\n"):
            raise SpecError(f"a run cannot be measured: {self._last_words()}")
        answer = json.loads(line)
        if "error" in answer:
            raise SpecError(f"a run cannot be measured: {answer['error']}")
        return Measurement(**answer)

    def _last_words(self) -> str:
        code = self._process.wait(_JOIN_S)
        self._errors.seek(0)
        lines = self._errors.read().strip().splitlines()
        if code < 0:
            return f"its process died of {signal.Signals(-code).name}"
        return lines[-1] if lines else f"its process ended with code {code}"


def main() -> None:
    """Read a job from standard input, answer with one line, train on until it closes."""
    from harness.stage_cache.manifest import stage_key
    from trainables.cost.measure import Job, Workload

    job = json.loads(sys.stdin.readline())
    stages, folder = Path(job.pop("stages")), Path(job.pop("folder"))
    threading.Thread(target=_end_with_parent, args=(folder,), daemon=True).start()

    def look(stage: str, inputs: Mapping[str, Any]) -> tuple[str, bool]:
        key = stage_key(stage, inputs)
        return key, (stages / stage / key).is_dir()  # a folder of this name is a whole stage

    try:
        folder.mkdir(parents=True)
        workload = Workload(Job(**job), look, folder)
        answer = asdict(workload.measure())
    except (OSError, ValueError, ArithmeticError, RuntimeError, MemoryError) as error:
        # CUDA's OutOfMemoryError is a RuntimeError with a page of advice after its sentence.
        answer = {"error": (str(error) or repr(error)).strip().splitlines()[0]}
    sys.stdout.write(json.dumps(answer, allow_nan=False) + "\n")
    sys.stdout.flush()
    while "error" not in answer:
        workload.go_on()


def _end_with_parent(folder: Path) -> None:
    sys.stdin.read()  # returns when nobody holds the other end any more
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)


if __name__ == "__main__":
    main()
