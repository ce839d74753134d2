"""Splits by the hash of an id: what decides them, and what does not."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables.data.splits import SPLITS, expected_sizes, membership, split, spread_rows

ROLES = pytest.mark.parametrize("role", ["source", "target"])
IDS = st.lists(st.text(max_size=5), unique=True, max_size=40)
PARTS = ("train", "val", "test")


@ROLES
@given(ids=IDS, others=IDS)
def test_a_samples_split_depends_on_no_other_sample(role, ids, others):
    together = membership([*others, *ids], role)
    assert together[len(others) :].tolist() == membership(ids, role).tolist()
    assert membership(ids[::-1], role).tolist() == membership(ids, role)[::-1].tolist()
    published = [PARTS[len(id) % 3] for id in [*others, *ids]]
    of_ids = membership(ids, role, published[len(others) :])
    assert membership([*others, *ids], role, published)[len(others) :].tolist() == of_ids.tolist()


@ROLES
@given(group=st.text().filter(lambda text: "#" not in text), rest=st.text())
def test_samples_of_a_group_stay_together(role, group, rest):
    first, second = membership([f"{group}#{rest}", group], role)
    assert first == second


def test_the_first_bits_of_the_hash_decide():
    for i in range(40):
        number = int(hashlib.sha256(f"sample/{i}".encode()).hexdigest()[:16], 16) / 16**16
        expected = [name for name, end in (("train", 0.6), ("val", 0.8), ("test", 1.0))
                    if number < end][0]  # fmt: skip
        parts = split([f"sample/{i}"], "target")
        assert [name for name, rows in parts.items() if len(rows)] == [expected]


@ROLES
@given(num=st.integers(0, 80))
def test_splits_are_disjoint_and_cover_everything(role, num):
    parts = split([f"sample/{i}" for i in range(num)], role)
    assert list(parts) == list(SPLITS[role])
    together = np.concatenate(list(parts.values()))
    assert sorted(together.tolist()) == list(range(num))
    assert all((np.diff(rows) > 0).all() for rows in parts.values())


@ROLES
@pytest.mark.parametrize("num", [100, 400, 2000, 20000])
def test_sizes_are_within_four_standard_deviations_of_their_shares(role, num):
    ids = [f"people_clean/0/{i:06d}" for i in range(num)]
    for name, rows in split(ids, role).items():
        share = SPLITS[role][name]
        expected = expected_sizes(num, role)[name]
        assert expected == pytest.approx(share * num)
        assert abs(len(rows) - expected) < 4 * (share * (1 - share) * num) ** 0.5


def test_a_publishers_split_decides_ours():
    ids = [f"sample/{i}" for i in range(4000)]
    published = [PARTS[i % 3] for i in range(4000)]
    of_source = split(ids, "source", published)
    assert of_source["train"].tolist() == list(range(0, 4000, 3))
    of_target = split(ids, "target", published)
    assert of_target["test"].tolist() == list(range(2, 4000, 3))
    assert set(range(1, 4000, 3)) < set(of_target["val"].tolist())
    assert set(of_target["train"].tolist()) < set(range(0, 4000, 3))
    assert len(of_target["train"]) / (4000 / 3) == pytest.approx(0.75, abs=0.04)
    with pytest.raises(ValueError, match="must be train, val or test, got 'training'"):
        membership(["a", "b"], "source", ["train", "training"])


def test_spread_rows_are_some_of_more_spread_rows():
    few, more = spread_rows(1000, 50), spread_rows(1000, 200)
    assert len(few) == len(set(few)) == 50
    assert set(few) <= set(more)
    assert few.tolist() == sorted(few)
    assert np.histogram(few, bins=5, range=(0, 1000))[0].min() >= 3
    assert spread_rows(3, 50).tolist() == [0, 1, 2]
