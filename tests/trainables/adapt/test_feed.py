"""The feed: the batches of a plain loop, errors as they are, and a thread that ends."""

import dataclasses
import threading
import time

import numpy as np
import pytest
import torch

from tests.reference.serial_batches import SerialBatches
from tests.trainables.adapt.tiny_run import CPU, make_config, make_run
from trainables.adapt.batches import BatchSettings
from trainables.adapt.feed import Feed
from trainables.adapt.methods import augment_ranges
from trainables.adapt.source_only import SourceOnly
from trainables.adapt.udape import UDAPE
from trainables.data.augment import AugmentRanges
from trainables.distributed.shard import WHOLE, Shard

NUM_STEPS = 3


@pytest.fixture(autouse=True)
def no_thread_is_left():
    before = threading.enumerate()
    yield
    assert threading.enumerate() == before


class Wrapped:
    """A store whose images are read through a function."""

    def __init__(self, store, read):
        self._store = store
        self.images = Images(store.images, read)

    def __getattr__(self, name):
        return getattr(self._store, name)


class Images:
    def __init__(self, images, read):
        self._images, self._read = images, read
        self.shape = images.shape

    def __len__(self):
        return len(self._images)

    def __array__(self, dtype=None, copy=None):
        self._read()
        return np.asarray(self._images)

    def __getitem__(self, rows):
        return self._images[rows]


def with_reader(domains, read, which="source"):
    return dataclasses.replace(domains, **{which: Wrapped(getattr(domains, which), read)})


def test_items_come_in_order_and_the_end_is_the_end():
    with Feed(iter(range(7)), CPU) as feed:
        assert list(feed) == list(range(7))


def test_no_more_items_are_made_ahead_than_allowed():
    made, is_waiting = [], threading.Event()

    def items():
        for item in range(10):
            made.append(item)
            if item == 2:
                is_waiting.set()
            yield item

    with Feed(items(), CPU, ahead=2) as feed:
        source = iter(feed)
        assert next(source) == 0  # which makes room for the third
        assert is_waiting.wait(10)
        time.sleep(0.05)
        assert made == [0, 1, 2]


def test_an_error_comes_after_the_items_before_it_and_is_the_same_object():
    error = OSError(5, "Input/output error", "images.npy")

    def items():
        yield 1
        raise error

    found = []
    with pytest.raises(OSError, match=r"images\.npy") as raised, Feed(items(), CPU) as feed:
        found.extend(feed)
    assert raised.value is error
    assert found == [1]


@pytest.mark.parametrize("error", [FloatingPointError, KeyboardInterrupt, SystemExit])
def test_the_thread_ends_when_the_block_is_left_by_an_error(error):
    def fail(item):
        raise error

    with pytest.raises(error), Feed(iter(range(1000)), CPU) as feed:
        list(map(fail, feed))


def test_the_share_of_waiting_grows_with_the_time_that_items_take():
    shares = []
    for making_s in (0.0, 0.02):

        def items(making_s=making_s):
            for item in range(8):
                time.sleep(making_s)
                yield item

        with Feed(items(), CPU) as feed:
            for _ in feed:
                time.sleep(0.005)
            shares.append(feed.wait_share)
    assert 0 <= shares[0] < shares[1] <= 1


@pytest.mark.parametrize("shard", [WHOLE, Shard(1, 2)])
@pytest.mark.parametrize("recipe", ["plain", "parity"])
def test_a_run_trains_on_the_batches_of_a_plain_loop_bit_for_bit(
    recipe, shard, domains, monkeypatch
):
    seen = []
    step = UDAPE.step

    def recorded(self, source, target):
        seen.append((source, target))
        return step(self, source, target)

    monkeypatch.setattr(UDAPE, "step", recorded)
    fields = {"adapt.method": "udape", "adapt.pretrain_epochs": 0, "adapt.epochs": 2}
    if recipe == "parity":
        fields["parity"] = True
    config = make_config(**fields)
    run = make_run(config, domains, shard=shard)
    for _ in range(2):
        run.train(NUM_STEPS)
    ranges = augment_ranges(config, domains.source.skeleton)
    assert (ranges == AugmentRanges()) == (recipe == "plain")
    settings = BatchSettings(16, CPU, config.seed, ranges, config.parity, shard)
    serial = SerialBatches(domains.source, domains.target, settings)
    weights = np.ones(len(domains.source.splits["train"]))
    expected = [
        pair
        for _ in range(2)
        for pair in serial.epoch(weights, NUM_STEPS, 4, with_teacher_view=True)
    ]
    assert len(seen) == len(expected) == 2 * NUM_STEPS
    for found, pair in zip(seen, expected, strict=True):
        for batch, other in zip(found, pair, strict=True):
            for name, value in vars(other).items():
                assert torch.equal(getattr(batch, name), value), name
    for domain, streams in (("source", run._source), ("target", run._target)):
        state = streams.state_dict()
        assert torch.equal(state["draws"], serial.streams[domain, "samples"].get_state())
        assert torch.equal(state["augment"], serial.streams[domain, "augment"].get_state())


@pytest.mark.parametrize("which", ["source", "target"])
def test_an_unreadable_store_fails_the_epoch_with_its_own_error(which, domains):
    reads = []

    def broken():
        reads.append(1)
        if len(reads) == 2:
            raise OSError(5, "Input/output error", "images.npy")

    config = make_config(adapt__method="regda", adapt__pretrain_epochs=0)
    with pytest.raises(OSError, match="Input/output error"):
        make_run(config, with_reader(domains, broken, which)).run_epoch()


def test_a_step_that_raises_ends_the_thread(domains, monkeypatch):
    def full(self, source, target=None):
        raise torch.OutOfMemoryError("the GPU is full")

    monkeypatch.setattr(SourceOnly, "step", full)
    with pytest.raises(torch.OutOfMemoryError, match="the GPU is full"):
        make_run(make_config(), domains).run_epoch()


def test_between_epochs_no_thread_runs(domains):
    before = threading.enumerate()
    run = make_run(make_config(), domains)
    run.run_epoch()
    assert threading.enumerate() == before
    run.train(2)
    assert threading.enumerate() == before


def test_a_slow_store_shows_in_the_waiting_of_a_run(domains):
    config = make_config(adapt__method="source_only")
    quick = make_run(config, domains).run_epoch()["train/wait_share"]
    slow_domains = with_reader(domains, lambda: time.sleep(0.2))
    slow = make_run(config, slow_domains).run_epoch()["train/wait_share"]
    assert 0 <= quick < slow <= 1
