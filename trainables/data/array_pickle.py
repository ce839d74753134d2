"""Pickle files of arrays, read without running what a file may ask for.

A pickle can name any function of any module and have it called. The reader here knows only what
arrays need and refuses every other name.
"""

import pickle
from pathlib import Path
from typing import Any

import numpy as np


def _latin1(text: str, encoding: str) -> bytes:
    """Bytes of an array in a pickle of Python 3 that Python 2 could read."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"encoding {encoding!r}")
    return text.encode("latin1")


_RECONSTRUCT: Any = np.zeros(0).__reduce__()[0]
_FROM_BUFFER: Any = np.zeros(0).__reduce_ex__(5)[0]
_ALLOWED = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _latin1,
} | {
    # NumPy 2 renamed its inner package; the names in a file depend on the version that wrote it.
    (f"numpy.{core}.{module}", function.__name__): function
    for core in ("core", "_core")
    for module, function in (("multiarray", _RECONSTRUCT), ("numeric", _FROM_BUFFER))
}


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """The few functions and classes that arrays need."""
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no array needs")
        return _ALLOWED[module, name]


def read_array_pickle(path: Path) -> Any:
    """Read a pickle of arrays, numbers, texts, lists and dictionaries.

    Raises:
        FileNotFoundError: If it is missing.
        ValueError: If it is damaged or asks for anything else, which is not run.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing")
    try:
        with path.open("rb") as file:
            return _ArrayUnpickler(file).load()
    except Exception as error:  # a damaged pickle raises almost any type
        raise ValueError(f"{path} is not a readable pickle of arrays: {error}") from error
