"""Nested states compared bit for bit."""

from typing import Any

import torch


def assert_same(first: Any, second: Any, path: str = "") -> None:
    """Two states of dictionaries, lists, tensors and plain values are equal; says where not."""
    assert type(first) is type(second), path
    if isinstance(first, torch.Tensor):
        assert torch.equal(first, second), path
    elif isinstance(first, dict):
        assert first.keys() == second.keys(), path
        for name in first:
            assert_same(first[name], second[name], f"{path}/{name}")
    elif isinstance(first, list | tuple):
        assert len(first) == len(second), path
        for index, (a, b) in enumerate(zip(first, second, strict=True)):
            assert_same(a, b, f"{path}/{index}")
    else:
        assert first == second, path


def is_same(first: Any, second: Any) -> bool:
    """Whether :func:`assert_same` passes."""
    try:
        assert_same(first, second)
    except AssertionError:
        return False
    return True
