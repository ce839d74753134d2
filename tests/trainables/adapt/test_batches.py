"""Batches: which samples they hold, labels that follow the pixels, streams that continue."""

import numpy as np
import pytest
import torch

from trainables.adapt.batches import BatchSettings, SourceBatches, TargetBatches
from trainables.data.augment import AugmentRanges
from trainables.data.image_store import ImageStore
from trainables.data.skeleton import BODY16
from trainables.distributed.shard import Shard

NUM_SAMPLES = 12
TRAIN_ROWS = np.array([1, 2, 4, 5, 7, 8, 10, 11])


@pytest.fixture
def store():
    """Sample i has the binary digits of i as visible joints and colour channel i % 3.

    All joints lie at the centre, which no warp moves out of the image, so that the weights of a
    batch give away its samples. Training rows are green or blue.
    """
    images = np.zeros((NUM_SAMPLES, 8, 8, 3), dtype=np.uint8)
    for i in range(NUM_SAMPLES):
        images[i, ..., i % 3] = 200
    digits = (np.arange(NUM_SAMPLES)[:, None] >> np.arange(16)) & 1
    return ImageStore(
        images=images,
        keypoints_px=np.full((NUM_SAMPLES, 16, 2), 3.5, dtype=np.float32),
        visible=digits.astype(bool),
        encoded_ids=np.arange(NUM_SAMPLES).astype(np.bytes_),
        splits={"train": TRAIN_ROWS, "val": np.array([0, 3, 6, 9])},
        skeleton=BODY16,
        digest="",
    )


def settings(heatmap_size=4, seed=0, **other):
    return BatchSettings(heatmap_size, torch.device("cpu"), seed, **other)


def source_batches(batches, weights, steps, batch_size):
    return [batches.augment(read) for read in batches.read(weights, steps, batch_size)]


def target_batch(batches, *size_and_views):
    return batches.augment(batches.read(*size_and_views))


def samples(batch):
    """Which samples a source batch holds, by its weights."""
    return (batch.weights @ 2.0 ** torch.arange(16)).long().tolist()


def channels(images):
    return images.mean((2, 3)).argmax(1).tolist()


def assert_same_batches(first, second):
    for a, b in zip(first, second, strict=True):
        for name, value in vars(a).items():
            other = getattr(b, name)
            assert (value is None and other is None) or torch.equal(value, other), name


def test_source_batches_have_the_asked_number_and_shapes(store):
    batches = source_batches(SourceBatches(store, settings()), np.ones(8), 3, 5)
    assert len(batches) == 3
    for batch in batches:
        assert batch.images.shape == (5, 3, 8, 8)
        assert batch.maps.shape == (5, 16, 4, 4)
        assert batch.weights.shape == (5, 16)
        assert batch.view.shape == (5, 2, 3)
        assert batch.rows.tolist() == samples(batch)


def test_only_active_samples_of_the_split_are_drawn(store):
    weights = np.array([0.0, 1, 0, 0, 1, 0, 1, 0])  # samples 2, 7 and 10
    (batch,) = source_batches(SourceBatches(store, settings()), weights, 1, 200)
    assert set(samples(batch)) == {2, 7, 10}


def test_samples_are_drawn_in_proportion_to_their_weights(store):
    weights = np.array([1.0, 3, 0, 0, 0, 0, 0, 0])  # samples 1 and 2
    (batch,) = source_batches(SourceBatches(store, settings()), weights, 1, 400)
    drawn = samples(batch)
    assert set(drawn) == {1, 2}
    assert drawn.count(2) == pytest.approx(300, abs=45)  # five standard deviations


def test_all_samples_of_the_split_and_no_others_are_drawn_with_equal_weights(store):
    (batch,) = source_batches(SourceBatches(store, settings()), np.ones(8), 1, 200)
    assert set(samples(batch)) == set(TRAIN_ROWS.tolist())


def test_images_and_labels_of_a_batch_belong_together(store):
    (batch,) = source_batches(SourceBatches(store, settings()), np.ones(8), 1, 50)
    assert channels(batch.images) == [i % 3 for i in samples(batch)]


def test_label_maps_follow_the_warped_pixels(store):
    # One bright spot of 3 x 3 px per image, all joints on it.
    rng = np.random.default_rng(0)
    spots = rng.integers(10, 22, (NUM_SAMPLES, 2))
    images = np.zeros((NUM_SAMPLES, 32, 32, 3), dtype=np.uint8)
    for image, (x, y) in zip(images, spots, strict=True):
        image[y - 1 : y + 2, x - 1 : x + 2] = 255
    marked = ImageStore(
        images=images,
        keypoints_px=np.repeat(spots[:, None].astype(np.float32), 16, axis=1),
        visible=np.ones((NUM_SAMPLES, 16), dtype=bool),
        encoded_ids=store.encoded_ids,
        splits=store.splits,
        skeleton=BODY16,
        digest="",
    )
    (batch,) = source_batches(SourceBatches(marked, settings(heatmap_size=32)), np.ones(8), 1, 40)
    brightness = batch.images.mean(1)
    spot = (brightness - brightness.amin((1, 2), keepdim=True)).clamp_min(0)
    assert batch.weights.min() == 1
    for seen, labelled in ((spot, batch.maps[:, 0]),):
        torch.testing.assert_close(centroid(seen), centroid(labelled), atol=0.5, rtol=0)


def test_joints_of_mirrored_images_change_sides(store):
    # Of each image the left half is bright, and the left joints lie on it, the right ones not.
    images = np.zeros((NUM_SAMPLES, 32, 32, 3), dtype=np.uint8)
    images[:, :, :16] = 255
    sides = np.array([name.startswith("right") for name in BODY16.joint_names])
    keypoints = np.where(sides[:, None], (22.0, 15.5), (9.0, 15.5)).astype(np.float32)
    visible = np.ones((NUM_SAMPLES, 16), dtype=bool)
    visible[:, BODY16.joint_names.index("left_wrist")] = False
    marked = ImageStore(
        images=images,
        keypoints_px=np.repeat(keypoints[None], NUM_SAMPLES, axis=0),
        visible=visible,
        encoded_ids=store.encoded_ids,
        splits=store.splits,
        skeleton=BODY16,
        digest="",
    )
    ranges = AugmentRanges(rotation_deg=0.0, min_area=1.0, colour=0.0, flip=0.5)
    batches = SourceBatches(marked, settings(heatmap_size=32, ranges=ranges))
    (batch,) = source_batches(batches, np.ones(8), 1, 40)
    bright_left = batch.images[:, 0, :, :16].mean((1, 2)) > batch.images[:, 0, :, 16:].mean((1, 2))
    assert 10 < bright_left.sum() < 30  # half of 40, in three standard deviations
    middle = (centroid(batch.maps[:, joint]) for joint in range(16))
    for joint, (name, place) in enumerate(zip(BODY16.joint_names, middle, strict=True)):
        if not name.startswith(("left", "right")):
            continue
        # What the network learns as a left joint lies to the left of the picture either way.
        x = 9.0 if name.startswith("left") else 22.0
        seen = batch.weights[:, joint] > 0
        assert seen.tolist() == {
            "left_wrist": ~bright_left, "right_wrist": bright_left,
        }.get(name, torch.ones(40, dtype=torch.bool)).tolist()  # fmt: skip
        torch.testing.assert_close(
            place[seen, 0], torch.full((int(seen.sum()),), x), atol=0.01, rtol=0
        )


def centroid(maps):
    grid = torch.arange(maps.shape[-1], dtype=maps.dtype)
    total = maps.sum((1, 2))
    x, y = (maps.sum(1) * grid).sum(1) / total, (maps.sum(2) * grid).sum(1) / total
    return torch.stack([x, y], 1)


def test_a_sample_is_augmented_anew_each_time(store):
    weights = np.eye(8)[0]
    (batch,) = source_batches(SourceBatches(store, settings()), weights, 1, 2)
    assert not torch.equal(batch.images[0], batch.images[1])


def test_target_batches_hold_the_rows_they_were_given(store):
    batches = TargetBatches(store.images, TRAIN_ROWS, settings())
    drawn = target_batch(batches, 200)
    assert drawn.images.shape == (200, 3, 8, 8)
    assert set(channels(drawn.images)) == {1, 2}  # red samples are in no training row
    few = target_batch(TargetBatches(store.images, np.array([3, 4]), settings()), 100)
    assert set(channels(few.images)) == {0, 1}
    assert channels(few.images).count(0) == pytest.approx(50, abs=25)


def make_source_stream(store, seed):
    stream = SourceBatches(store, settings(seed=seed))
    return stream, lambda: source_batches(stream, np.ones(8), 2, 3)


def make_target_stream(store, seed):
    stream = TargetBatches(store.images, TRAIN_ROWS, settings(seed=seed))
    return stream, lambda: [target_batch(stream, 3), target_batch(stream, 3)]


@pytest.mark.parametrize("make", [make_source_stream, make_target_stream])
def test_the_same_seed_gives_the_same_batches(make, store):
    (_, first), (_, second), (_, other) = (make(store, seed) for seed in (0, 0, 1))
    batches = first()
    assert_same_batches(batches, second())
    assert not torch.equal(batches[0].images, other()[0].images)
    assert not torch.equal(batches[0].images, first()[0].images)  # the stream goes on


@pytest.mark.parametrize("make", [make_source_stream, make_target_stream])
def test_a_stream_continues_from_its_saved_state(make, store, tmp_path):
    stream, draw = make(store, 0)
    draw()
    torch.save(stream.state_dict(), tmp_path / "state.pt")
    expected = draw()
    fresh, continued = make(store, 5)
    fresh.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert_same_batches(continued(), expected)


def test_source_and_target_are_augmented_apart(store):
    # Batches of one and the same sample, so that only the augmentation can tell them apart.
    (source,) = source_batches(SourceBatches(store, settings()), np.eye(8)[0], 1, 20)
    target = target_batch(TargetBatches(store.images, TRAIN_ROWS[:1], settings()), 20)
    assert not torch.equal(source.images, target.images)


def test_a_teacher_sees_the_same_images_in_another_view(store):
    batch = target_batch(TargetBatches(store.images, TRAIN_ROWS, settings()), 20, True)
    assert channels(batch.images) == channels(batch.teacher_images) == (batch.rows % 3).tolist()
    assert not torch.equal(batch.view, batch.teacher_view)


def test_the_parts_of_a_batch_are_the_whole(store):
    whole = source_batches(SourceBatches(store, settings()), np.ones(8), 2, 6)
    parts = [
        source_batches(SourceBatches(store, settings(shard=Shard(r, 3))), np.ones(8), 2, 6)
        for r in range(3)
    ]
    for batch, *shards in zip(whole, *parts, strict=True):
        for name, value in vars(batch).items():
            assert torch.equal(torch.cat([getattr(s, name) for s in shards]), value), name
    targets = [
        target_batch(TargetBatches(store.images, TRAIN_ROWS, settings(shard=shard)), 6, True)
        for shard in (Shard(), Shard(0, 2), Shard(1, 2))
    ]
    for name, value in vars(targets[0]).items():
        assert torch.equal(torch.cat([getattr(t, name) for t in targets[1:]]), value), name


def test_labels_may_be_drawn_at_whole_cells(store):
    weights = np.eye(8)[0]
    quantised = settings(is_quantised=True)
    (batch,) = source_batches(SourceBatches(store, quantised), weights, 1, 30)
    visible = batch.maps[batch.weights > 0]
    assert torch.equal(visible.amax((1, 2)), torch.ones(len(visible)))  # a centre is a cell
    (batch,) = source_batches(SourceBatches(store, settings()), weights, 1, 30)
    assert batch.maps[batch.weights > 0].amax((1, 2)).min() < 1
