"""Pickles of arrays: what is read, and that nothing else is run."""

import _codecs
import os
import pickle

import numpy as np
import pytest

from trainables.data.array_pickle import read_array_pickle


def save(path, value, protocol=2):
    path.write_bytes(pickle.dumps(value, protocol))
    return path


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_of_every_protocol_are_read(protocol, tmp_path):
    value = {
        7: {"K": np.eye(3), "uv": np.arange(6, dtype=np.float32).reshape(2, 3), "a": [1, "b"]}
    }
    found = read_array_pickle(save(tmp_path / "a.pickle", value, protocol))
    assert found[7]["a"] == [1, "b"]
    for key in ("K", "uv"):
        np.testing.assert_array_equal(found[7][key], value[7][key])
        assert found[7][key].dtype == value[7][key].dtype


@pytest.mark.parametrize("module", ["numpy.core.multiarray", "numpy._core.multiarray"])
def test_the_names_of_both_versions_of_numpy_are_known(module, tmp_path):
    data = pickle.dumps(np.arange(3), 2)
    path = tmp_path / "a.pickle"
    path.write_bytes(data.replace(b"numpy._core.multiarray", module.encode()))
    assert read_array_pickle(path).tolist() == [0, 1, 2]


class _Call:
    def __init__(self, function, *arguments):
        self.what = function, arguments

    def __reduce__(self):
        return self.what


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (os.mkdir, f"{os.mkdir.__module__}.mkdir"),
        (os.system, f"{os.system.__module__}.system"),
        (eval, "builtins.eval"),
        (np.load, "numpy.load"),
        (getattr, "builtins.getattr"),
    ],
)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_code_is_refused_and_not_run(function, name, protocol, tmp_path):
    trace = tmp_path / "trace"
    argument = {eval: f"__import__('os').mkdir({str(trace)!r})", os.system: f"mkdir {trace}"}
    call = _Call(function, argument.get(function, str(trace)))
    path = save(tmp_path / "a.pickle", {1: np.zeros(2), 2: call}, protocol)
    with pytest.raises(ValueError, match=r"a\.pickle is not a readable pickle") as caught:
        read_array_pickle(path)
    assert not trace.exists()
    name = name if protocol > 2 else name.replace("builtins.", "__builtin__.")
    assert str(caught.value).endswith(f": it asks for {name}, which no array needs")


def test_text_is_encoded_as_latin1_alone(tmp_path):
    path = save(tmp_path / "a.pickle", _Call(_codecs.encode, "\xe9", "latin1"))
    assert read_array_pickle(path) == b"\xe9"
    with pytest.raises(ValueError, match="encoding 'rot13'"):
        read_array_pickle(save(tmp_path / "a.pickle", _Call(_codecs.encode, "a", "rot13")))


def test_every_truncation_is_one_sentence(tmp_path):
    path = save(tmp_path / "a.pickle", {3: np.arange(4.0)})
    data = path.read_bytes()
    for end in range(len(data)):
        path.write_bytes(data[:end])
        with pytest.raises(ValueError, match="is not a readable pickle of arrays: .") as caught:
            read_array_pickle(path)
        assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"a\.pickle is missing"):
        read_array_pickle(tmp_path / "a.pickle")
