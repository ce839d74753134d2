"""Trainables that compute nothing, to test and time the harness around them."""

import ctypes
import math
import os
import resource
import signal
import time
from typing import Any

from ray import tune


class NoopTrainable(tune.Trainable):
    """Reports a number that follows from the config and the step."""

    def setup(self, config: dict[str, Any]) -> None:
        self._fields = config["fields"]
        self._steps = self._fields["adapt.epochs"]
        self._step_s = 0.0
        self._step = 0

    def step(self) -> dict[str, Any]:
        self._step += 1
        time.sleep(self._step_s)
        value = -math.log10(self._fields["vae.kl_weight"]) + self._step
        return {
            "metrics": {"target_val/pck_05": value, "final/pck_bin/00": value},
            "step": self._step,
            "num_steps": self._steps,
            "stages": {"images/source": ["hit", "0" * 16, 0.5]},
            "digests": {"source": "0123456789abcdef"},
            "done": self._step == self._steps,
        }

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.setup(new_config)
        return True


class SlowTrainable(NoopTrainable):
    """Takes a while, so that a driver can have its say between two steps."""

    def setup(self, config: dict[str, Any]) -> None:
        super().setup(config)
        self._step_s = 0.2


class MortalTrainable(NoopTrainable):
    """Dies in its second step in the way that ``vae.epochs`` numbers, from 1 on."""

    WAYS = ("SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGTERM", "SIGKILL", "exit", "free")

    def step(self) -> dict[str, Any]:
        if self._step == 1:
            way = self.WAYS[self._fields["vae.epochs"] - 1]
            if way == "exit":
                os._exit(1)
            if way == "free":  # twice, which the C library notices
                library = ctypes.CDLL(None)
                library.malloc.restype = ctypes.c_void_p
                library.free.argtypes = [ctypes.c_void_p]
                block = library.malloc(64)
                library.free(block)
                library.free(block)
            os.kill(os.getpid(), signal.Signals[way])
            time.sleep(60)
        return super().step()


class FailingTrainable(NoopTrainable):
    """Fails in its second step in the way that ``vae.epochs`` numbers, from 1 on.

    Its objective is NaN, it raises, it wants more memory than it is allowed, or its process is
    killed, as a machine without memory does.
    """

    WAYS = ("nan", "raise", "want", "die")

    def step(self) -> dict[str, Any]:
        result = super().step()
        if self._step == 2:
            way = self.WAYS[self._fields["vae.epochs"] - 1]
            if way == "nan":
                result["metrics"]["target_val/pck_05"] = math.nan
            elif way == "raise":
                raise RuntimeError("the disk is made of cheese")
            elif way == "want":
                self._want()
            else:
                os.kill(os.getpid(), signal.SIGKILL)
        return result

    def _want(self) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        with open("/proc/self/statm") as file:
            used = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 2**26, hard))
        try:
            bytearray(2**30)
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
