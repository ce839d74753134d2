"""One trial on several devices of a machine: equal processes, each with a part of every batch.

The process that asks is the first of them; it evaluates, reports and holds the state. The others
repeat what it does in step, told over pipes. All compute the same numbers as one process would,
up to the order of sums (:mod:`trainables.adapt.collectives`).
"""

import io
import os
import tempfile
import traceback
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.distributed as dist
import torch.multiprocessing

from trainables.adapt.fit import AdaptationRun
from trainables.adapt.shard import Shard

JOIN_S = 10.0


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
        RuntimeError: If a process cannot start; carries its message.
    """

    def __init__(self, build: RunBuilder, world: int, device_type: str, num_threads: int) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="replicas-")
        meeting = Path(self._folder.name) / "meeting"
        context = torch.multiprocessing.get_context("spawn")
        self._pipes: list[Connection] = []
        self._processes = []
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
        try:
            _join(Shard(0, world), device_type, meeting)
            self._run = build(_device(device_type, 0), Shard(0, world))
            self._hear_all()
        except BaseException:
            self.close()
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
            RuntimeError: If another process failed; carries its message.
        """
        self._tell_all("run_epoch")
        try:
            metrics = self._run.run_epoch()
        except RuntimeError:
            self._hear_all()  # the loss of a process shows here as a broken connection
            raise
        self._hear_all()
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

    def close(self) -> None:
        """End the other processes and leave the group."""
        for pipe in self._pipes:
            pipe.close()  # the follower's next read ends it
        for process in self._processes:
            process.join(JOIN_S)
            if process.is_alive():
                process.kill()
                process.join()
        self._pipes, self._processes = [], []
        if dist.is_initialized():
            dist.destroy_process_group()
        self._folder.cleanup()

    def _tell_all(self, *message: Any) -> None:
        for pipe in self._pipes:
            pipe.send(message)

    def _hear_all(self) -> None:
        for rank, pipe in enumerate(self._pipes, start=1):
            try:
                answer = pipe.recv()
            except EOFError as error:
                raise RuntimeError(f"process {rank} of the trial ended without a word") from error
            if answer is not None:
                raise RuntimeError(f"process {rank} of the trial failed: {answer}")


def _device(device_type: str, rank: int) -> torch.device:
    return torch.device("cuda", rank) if device_type == "cuda" else torch.device("cpu")


def _join(shard: Shard, device_type: str, meeting: Path) -> None:
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # all processes are on this machine
    backend = "nccl" if device_type == "cuda" else "gloo"
    if device_type == "cuda":
        torch.cuda.set_device(shard.rank)
    dist.init_process_group(
        backend, init_method=meeting.as_uri(), rank=shard.rank, world_size=shard.world
    )


def _follow(  # noqa: PLR0913, PLR0917 - what a process needs to know
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
        _join(shard, device_type, meeting)
        run = build(_device(device_type, shard.rank), shard)
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
        pipe.send(f"{type(error).__name__}: {error}")
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
