"""Numbers of a data set's files as arrays."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables.data.label_files import array_of


@pytest.mark.parametrize(
    ("value", "got"),
    [
        ([[1, 2]], "1 x 2"),
        (3.5, "one number"),
        ([[1, 2], [3]], "lists of different lengths"),
        ([[1, 2], [3, float("nan")]], "nan"),
        ([[1, 2], [3, 1e39]], "1e+39"),  # more than float32 can hold
        ([[1, 2], [3, 10**400]], "1" + 39 * "0"),
        ([[1, 2], [3, None]], "None"),
        ([[1, 2], [3, "4"]], "'4'"),
        ([[True, True], [True, True]], "True"),
        ({"x": 1}, "{'x': 1}"),
        (None, "None"),
        ([], "0"),
    ],
)
def test_what_is_wrong_is_told(value, got):
    with pytest.raises(ValueError, match="^must be 2 x 2 finite numbers, got ") as caught:
        array_of(value, 2, 2)
    assert str(caught.value).partition("got ")[2] == got


numbers = st.integers(-(10**6), 10**6) | st.floats(-1e30, 1e30)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.lists(st.tuples(numbers, numbers), min_size=3, max_size=3))
def test_numbers_are_read(rows):
    found = array_of(json.loads(json.dumps(rows)), 3, 2)
    np.testing.assert_array_equal(found, np.array(rows, np.float64))


@given(anything)
def test_anything_else_is_one_sentence(value):
    try:
        found = array_of(value, 2)
    except ValueError as error:
        assert "\n" not in str(error)
    else:
        assert found.tolist() == [float(item) for item in value]
