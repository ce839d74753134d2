"""One trial on several devices of a machine: equal processes, each with a part of every batch.

The process that asks is the first of them; it evaluates, reports and holds the state. The others
repeat what it does in step, told over pipes. All compute the same numbers as one process would,
up to the order of sums (:mod:`trainables.distributed.collectives`).
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

START_S = 300.0
"""Time for a process to import what it needs."""
JOIN_S = 10.0
LAST_WORDS_S = 2.0


class ReplicaError(RuntimeError):
    """Another process of the trial failed; carries its message."""


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
        ReplicaError: If a process cannot start; carries its message.
    """

    def __init__(self, build: RunBuilder, world: int, device_type: str, num_threads: int) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="replicas-")
        meeting = Path(self._folder.name) / "meeting"
        context = torch.multiprocessing.get_context("spawn")
        self._pipes: list[Connection] = []
        self._processes: list[Any] = []
        try:
            for rank in range(1, world):
                ours, theirs = context.Pipe()
                process = context.Process(
                    target=_follow,
                    args=(build, Shard(rank, world), device_type, num_threads, meeting, theirs),
                    daemon=True,
                )
                process.start()
                theirs.close()
                self._pipes.append(ours)
                self._processes.append(process)
            # Who waits in a rendezvous for a process that has died cannot be interrupted.
            self._hear_all(START_S)
            _join(Shard(0, world), device_type, meeting)
            self._run = build(_device(device_type, 0), Shard(0, world))
            self._hear_all()
        except BaseException as error:
            self._end_badly(error)
            raise

    @property
    def epoch(self) -> int:
        """Epochs that have run."""
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
    def is_done(self) -> bool:
        """Whether all epochs have run."""
        return self._run.is_done

    def run_epoch(self) -> dict[str, float]:
        """See :meth:`AdaptationRun.run_epoch`.

        Raises:
            ReplicaError: If another process failed; carries its message.
        """
        try:
            self._tell_all("run_epoch")
            metrics = self._run.run_epoch()
            self._hear_all()
        except BaseException as error:
            self._end_badly(error)
            raise
        return metrics

    def state_dict(self) -> dict[str, Any]:
        """See :meth:`AdaptationRun.state_dict`; all processes have the same state."""
        return self._run.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See :meth:`AdaptationRun.load_state_dict`."""
        # As bytes: pipes would send tensors as shared memory, which the sender goes on writing.
        packed = io.BytesIO()
        torch.save(state, packed)
        self._tell_all("load_state_dict", packed.getvalue())
        self._run.load_state_dict(state)
        self._hear_all()

    def close(self, wait_s: float = JOIN_S) -> None:
        """End the other processes and leave the group.

        Args:
            wait_s: Time for them to end by themselves.
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

    def _end_badly(self, error: BaseException) -> None:
        """Close after an error, and raise what another process says was its cause.

        A process that fails shows here as a broken connection. One that is alive may wait for
        this one in a sum, and would for half an hour: it is not waited for.
        """
        if isinstance(error, ReplicaError):
            self.close(wait_s=0)
            return
        said = [words for words in map(self._last_words, range(len(self._pipes))) if words]
        self.close(wait_s=0)
        if said and isinstance(error, RuntimeError | OSError):
            raise ReplicaError(said[0]) from error

    def _last_words(self, index: int) -> str | None:
        rank, pipe = index + 1, self._pipes[index]
        try:
            words = pipe.recv() if pipe.poll(LAST_WORDS_S) else None
        except (EOFError, OSError):
            return self._death(rank)
        return None if words is None else f"process {rank} of the trial failed: {words}"

    def _death(self, rank: int) -> str:
        """How another process ended that closed its pipe."""
        process = self._processes[rank - 1]
        process.join(LAST_WORDS_S)
        if process.exitcode is not None and process.exitcode < 0:
            return f"process {rank} of the trial died of {signal.Signals(-process.exitcode).name}"
        return f"process {rank} of the trial ended without a word"

    def _tell_all(self, *message: Any) -> None:
        for pipe in self._pipes:
            pipe.send(message)

    def _hear_all(self, timeout_s: float | None = None) -> None:
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


def _join(shard: Shard, device_type: str, meeting: Path) -> None:
    # All processes are on this machine, and nobody else has to reach them.
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo" if sys.platform == "linux" else "lo0")
    backend = "nccl" if device_type == "cuda" else "gloo"
    if device_type == "cuda":
        torch.cuda.set_device(shard.rank)
    dist.init_process_group(
        backend, init_method=meeting.as_uri(), rank=shard.rank, world_size=shard.world
    )


def _follow(
    build: RunBuilder,
    shard: Shard,
    device_type: str,
    num_threads: int,
    meeting: Path,
    pipe: Connection,
) -> None:
    """Do what the first process says until it closes the pipe."""
    torch.set_num_threads(num_threads)
    try:
        device = _device(device_type, shard.rank)
        torch.zeros(1, device=device)  # a device that is not there fails here, not in the group
        pipe.send(None)
        _join(shard, device_type, meeting)
        run = build(device, shard)
        pipe.send(None)
        while True:
            method, *arguments = pipe.recv()
            if method == "load_state_dict":
                arguments = [torch.load(io.BytesIO(arguments[0]), weights_only=True)]
            getattr(run, method)(*arguments)
            pipe.send(None)
    except (EOFError, ConnectionError):
        pass  # the first process is done, or gone
    except BaseException as error:
        traceback.print_exc()
        with contextlib.suppress(OSError):  # the first process may be gone
            pipe.send(f"{type(error).__name__}: {error}")
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
