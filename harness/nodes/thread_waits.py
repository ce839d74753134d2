"""How the threads of a run wait for each other."""

import os

SPIN_COUNT = "GOMP_SPINCOUNT"
SPINS = "10000"
"""Turns of waiting after which a thread of GNU OpenMP sleeps. Its own 300,000 let the threads of a
run take a busy machine's cores from each other (tests/benchmarks/test_busy_threads.py)."""


def limit_spinning() -> None:
    """Set :data:`SPINS` for processes that are started from now on, unless the user has chosen.

    GNU OpenMP reads the variable when it is loaded, so it must be set before a process starts.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault(SPIN_COUNT, SPINS)
