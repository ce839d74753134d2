"""One trial on several devices of a machine: equal processes, each with a part of every batch.

The calling process is the first of them: it evaluates, reports and holds the state. It sends every
call over pipes to the other processes, which repeat it. All compute the same numbers as a single
process would, up to the order of sums (:mod:`trainables.distributed.collectives`).
"""

import contextlib
import io
import os
import signal
import sys
import tempfile
import traceback
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.distributed as dist
import torch.multiprocessing

from trainables.adapt.adaptation_run import AdaptationRun
from trainables.distributed.shard import Shard
from trainables.evaluation.predictions import Predictions

START_S = 300.0
"""Longest time for a process to start and import its modules."""
JOIN_S = 10.0
"""Time for a process to end by itself before it is killed."""
FAILURE_S = 2.0
"""Longest wait for a failed process to send its message and exit."""


class ReplicaError(RuntimeError):
    """Another process of the trial failed; contains its message."""


class RunBuilder(Protocol):
    """Builds the same run in every process; picklable."""

    def __call__(self, device: torch.device, shard: Shard) -> AdaptationRun:
        """The run, before its first epoch."""
        ...


class ReplicatedRun:
    """An :class:`AdaptationRun` over several processes, with the same methods.

    Args:
        build: Builds the run.
        world: Number of processes, which must divide the batch size.
        device_type: ``cuda`` (one GPU each, NCCL) or ``cpu`` (gloo).
        num_threads: Threads of each process.

    Raises:
        ReplicaError: If a process cannot start; contains its message.
    """

    def __init__(self, build: RunBuilder, world: int, device_type: str, num_threads: int) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="replicas-")
        rendezvous = Path(self._folder.name) / "rendezvous"
        context = torch.multiprocessing.get_context("spawn")
        self._pipes: list[Connection] = []
        self._processes: list[Any] = []
        try:
            for rank in range(1, world):
                ours, theirs = context.Pipe()
                process = context.Process(
                    target=_follow,
                    args=(build, Shard(rank, world), device_type, num_threads, rendezvous, theirs),
                    daemon=True,
                )
                process.start()
                theirs.close()
                self._pipes.append(ours)
                self._processes.append(process)
            # Wait here first: a rendezvous that waits for a dead process cannot be interrupted.
            self._receive_all(START_S)
            _join(Shard(0, world), device_type, rendezvous)
            self._run = build(_device(device_type, 0), Shard(0, world))
            self._receive_all()
        except BaseException as error:
            self._close_after(error)
            raise

    @property
    def epoch(self) -> int:
        """Number of epochs that have run."""
        return self._run.epoch

    @property
    def total_epochs(self) -> int:
        """Epochs of the whole training."""
        return self._run.total_epochs

    @property
    def best(self) -> dict[str, Any]:
        """See :class:`AdaptationRun`."""
        return self._run.best

    @best.setter
    def best(self, best: dict[str, Any]) -> None:
        self._run.best = best

    @property
    def predictions(self) -> Predictions | None:
        """See :class:`AdaptationRun`."""
        return self._run.predictions

    @predictions.setter
    def predictions(self, predictions: Predictions) -> None:
        self._run.predictions = predictions

    @property
    def is_done(self) -> bool:
        """Whether all epochs have run."""
        return self._run.is_done

    def run_epoch(self) -> dict[str, float]:
        """See :meth:`AdaptationRun.run_epoch`.

        Raises:
            ReplicaError: If another process failed; contains its message.
        """
        try:
            self._send_all("run_epoch")
            metrics = self._run.run_epoch()
            self._receive_all()
        except BaseException as error:
            self._close_after(error)
            raise
        return metrics

    def state_dict(self) -> dict[str, Any]:
        """See :meth:`AdaptationRun.state_dict`; all processes have the same state."""
        return self._run.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See :meth:`AdaptationRun.load_state_dict`."""
        # As bytes: pipes would share the tensors' memory, which this process continues to change.
        packed = io.BytesIO()
        torch.save(state, packed)
        self._send_all("load_state_dict", packed.getvalue())
        self._run.load_state_dict(state)
        self._receive_all()

    def close(self, wait_s: float = JOIN_S) -> None:
        """End the other processes and leave the process group.

        Args:
            wait_s: Time for them to end by themselves before they are killed.
        """
        for pipe in self._pipes:
            pipe.close()  # the follower's next read ends it
        for process in self._processes:
            process.join(wait_s)
            if process.is_alive():
                process.kill()
                process.join()
        self._pipes, self._processes = [], []
        if dist.is_initialized():
            dist.destroy_process_group()
        self._folder.cleanup()

    def _close_after(self, error: BaseException) -> None:
        """Close after an error; raise a ReplicaError if another process caused it.

        A failed process appears here as a broken connection. A live one may be waiting for this
        process in a collective, for up to half an hour: kill it instead of waiting.
        """
        if isinstance(error, ReplicaError):
            self.close(wait_s=0)
            return
        failures = [text for text in map(self._failure, range(len(self._pipes))) if text]
        self.close(wait_s=0)
        if failures and isinstance(error, RuntimeError | OSError):
            raise ReplicaError(failures[0]) from error

    def _failure(self, index: int) -> str | None:
        """Why another process failed; None if it seems alive."""
        rank, pipe = index + 1, self._pipes[index]
        try:
            message = pipe.recv() if pipe.poll(FAILURE_S) else None
        except (EOFError, OSError):
            return self._death(rank)
        return None if message is None else f"process {rank} of the trial failed: {message}"

    def _death(self, rank: int) -> str:
        """How another process that closed its pipe has ended."""
        process = self._processes[rank - 1]
        process.join(FAILURE_S)
        if process.exitcode is not None and process.exitcode < 0:
            return f"process {rank} of the trial died of {signal.Signals(-process.exitcode).name}"
        return f"process {rank} of the trial ended without an error message"

    def _send_all(self, *message: Any) -> None:
        for pipe in self._pipes:
            pipe.send(message)

    def _receive_all(self, timeout_s: float | None = None) -> None:
        """Wait until every other process has answered.

        Raises:
            ReplicaError: If one failed, died or did not answer in time.
        """
        for rank, pipe in enumerate(self._pipes, start=1):
            if not pipe.poll(timeout_s):
                raise ReplicaError(f"process {rank} of the trial did not start in {timeout_s:g} s")
            try:
                answer = pipe.recv()
            except (EOFError, OSError) as error:
                raise ReplicaError(self._death(rank)) from error
            if answer is not None:
                raise ReplicaError(f"process {rank} of the trial failed: {answer}")


def _device(device_type: str, rank: int) -> torch.device:
    return torch.device("cuda", rank) if device_type == "cuda" else torch.device("cpu")


def _join(shard: Shard, device_type: str, rendezvous: Path) -> None:
    # All processes run on this machine, so the loopback interface suffices.
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo" if sys.platform == "linux" else "lo0")
    backend = "nccl" if device_type == "cuda" else "gloo"
    if device_type == "cuda":
        torch.cuda.set_device(shard.rank)
    dist.init_process_group(
        backend, init_method=rendezvous.as_uri(), rank=shard.rank, world_size=shard.world
    )


def _follow(
    build: RunBuilder,
    shard: Shard,
    device_type: str,
    num_threads: int,
    rendezvous: Path,
    pipe: Connection,
) -> None:
    """Repeat the calls that the first process sends, until it closes the pipe."""
    torch.set_num_threads(num_threads)
    try:
        device = _device(device_type, shard.rank)
        torch.zeros(1, device=device)  # a missing device fails here, not in the process group
        pipe.send(None)
        _join(shard, device_type, rendezvous)
        run = build(device, shard)
        pipe.send(None)
        while True:
            method, *arguments = pipe.recv()
            if method == "load_state_dict":
                arguments = [torch.load(io.BytesIO(arguments[0]), weights_only=True)]
            getattr(run, method)(*arguments)
            pipe.send(None)
    except (EOFError, ConnectionError):
        pass  # the first process has closed the pipe or died
    except BaseException as error:
        traceback.print_exc()
        with contextlib.suppress(OSError):  # the first process may have died
            pipe.send(f"{type(error).__name__}: {error}")
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
