"""The seed tree: streams by name."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainables.seeding import derive_seed, torch_generator


@pytest.mark.parametrize(
    ("seed", "names", "expected"),
    [(0, (), 7896617691693857887), (7, ("adapt", "source", 3), 7389240430661332420)],
)
def test_seeds_are_the_same_on_every_machine(seed, names, expected):
    # Python's own hash of a text changes with the process.
    assert derive_seed(seed, *names) == expected


@given(seed=st.integers(0, 2**31 - 1), name=st.text(max_size=20))
def test_a_seed_fits_torch_and_numpy(seed, name):
    assert 0 <= derive_seed(seed, name) < 2**63


def test_streams_of_different_names_differ():
    names = [(), ("a",), ("b",), ("a", "b"), ("b", "a"), ("ab",), ("a", "a"), (1,), (2,), ("a", 1)]
    seeds = [derive_seed(seed, *name) for seed in range(20) for name in names]
    assert len(set(seeds)) == len(seeds)


def test_a_number_names_the_same_stream_as_its_text():
    assert derive_seed(0, "epoch", 3) == derive_seed(0, "epoch", "3")


@pytest.mark.parametrize(
    ("first", "second"), list(itertools.combinations([(0, "a"), (0, "b"), (1, "a")], 2))
)
def test_generators_of_different_streams_draw_different_numbers(first, second):
    draws = [torch.rand(200, generator=torch_generator(*stream)) for stream in (first, second)]
    assert abs(torch.corrcoef(torch.stack(draws))[0, 1]) < 0.3


def test_a_generator_starts_its_stream_anew():
    first, second = torch_generator(3, "a"), torch_generator(3, "a")
    assert first.device.type == "cpu"
    assert torch.equal(torch.rand(5, generator=first), torch.rand(5, generator=second))
    assert first.initial_seed() == derive_seed(3, "a")


def test_the_global_generator_is_left_alone():
    before = torch.random.get_rng_state()
    torch.rand(3, generator=torch_generator(3, "a"))
    assert torch.equal(torch.random.get_rng_state(), before)
