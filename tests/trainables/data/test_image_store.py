"""Image stores: splits by id, digests, reopening, data sets on disk."""

import numpy as np
import pytest

from trainables.data.domain import ImageRequest
from trainables.data.export import export
from trainables.data.image_store import open_image_store
from trainables.data.layouts.leeds import write_leeds
from trainables.data.prepared import prepared_counts
from trainables.data.render.rendered import render_domain
from trainables.data.skeleton import BODY16
from trainables.data.splits import spread_rows
from trainables.data.store_writer import write_store
from trainables.registry import DOMAINS


def build(folder, role="source", domain="people_clean", root=None, num=60, seed=0):
    folder.mkdir()
    write_store(folder, domain, ImageRequest(role, num, 32, root, seed=seed))
    return open_image_store(folder)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return build(tmp_path_factory.mktemp("stores") / "people")


def leeds_folder(root, num=8):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (num, 40, 60, 3), dtype=np.uint8)
    keypoints = rng.uniform(0, 39, (num, 16, 2)).astype(np.float32)
    write_leeds("lspet", root, images, keypoints, rng.random((num, 16)) < 0.8)
    return root


def test_a_store_holds_what_was_rendered(store):
    rendered = next(render_domain("people_clean", 60, 32, 0))
    np.testing.assert_array_equal(store.images, rendered.images)
    np.testing.assert_array_equal(store.keypoints_px, rendered.keypoints_px)
    np.testing.assert_array_equal(store.visible, rendered.visible)
    assert store.ids[0] == "people_clean/0/000000"
    assert len(set(store.ids)) == 60
    assert store.skeleton == BODY16
    assert store.image_size == 32


def test_a_store_of_several_chunks_holds_them_in_order(tmp_path):
    large = build(tmp_path / "large", num=270)
    rendered = list(render_domain("people_clean", 270, 32, 0))
    np.testing.assert_array_equal(large.images[:250], rendered[0].images)
    np.testing.assert_array_equal(large.images[250:], rendered[1].images)
    np.testing.assert_array_equal(large.keypoints_px[250:], rendered[1].keypoints_px)


@pytest.mark.parametrize("domain", ["people_clean", "lspet", "freihand", "surreal"])
def test_a_samples_split_stays_when_more_are_asked_for(domain, tmp_path):
    root = None
    if domain != "people_clean":
        root = tmp_path / "data"
        export(domain, root, 100, "hands_clean" if domain == "freihand" else "people_clean", 32)
    members = []
    for num in (60, 100):
        store = build(tmp_path / str(num), "target", domain, root, num)
        members.append(
            {store.ids[row]: name for name, rows in store.splits.items() for row in rows}
        )
    few, more = members
    assert len(few) == 60
    assert len(more) == 100
    assert few.items() < more.items()


@pytest.mark.parametrize("role", ["source", "target"])
def test_the_check_counts_what_the_store_will_hold(role, tmp_path):
    export("lspet", tmp_path / "data", 60, "people_wild", 48)
    for domain, root in (("people_clean", None), ("lspet", tmp_path / "data")):
        counts = DOMAINS[domain].load().check(ImageRequest(role, 60, 32, root))
        store = build(tmp_path / domain, role, domain, root)
        assert counts == prepared_counts(store)


def test_images_are_mapped_and_cannot_be_written(store):
    assert isinstance(store.images, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        store.images[0, 0, 0, 0] = 1


def test_the_same_store_built_twice_has_the_same_digest(store, tmp_path):
    again = build(tmp_path / "again")
    assert again.digest == store.digest
    assert again.ids == store.ids
    for name, rows in store.splits.items():
        np.testing.assert_array_equal(again.splits[name], rows)


def test_a_store_opened_twice_is_equal(tmp_path):
    first = build(tmp_path / "people", role="target", domain="people_wild")
    second = open_image_store(tmp_path / "people")
    np.testing.assert_array_equal(first.images, second.images)
    np.testing.assert_array_equal(first.keypoints_px, second.keypoints_px)
    np.testing.assert_array_equal(first.visible, second.visible)
    assert (first.ids, first.digest) == (second.ids, second.digest)
    assert list(first.splits) == list(second.splits) == ["train", "val", "test"]
    for name, rows in first.splits.items():
        np.testing.assert_array_equal(second.splits[name], rows)


def test_another_seed_gives_another_digest_and_other_ids(store, tmp_path):
    other = build(tmp_path / "other", seed=1)
    assert other.digest != store.digest
    assert not set(other.ids) & set(store.ids)


@pytest.mark.parametrize("change", ["pixel", "keypoint", "visible"])
def test_the_digest_changes_with_a_single_value(change, tmp_path, monkeypatch):
    def changed(*args):
        for chunk in render_domain(*args):
            if change == "pixel":
                chunk.images[17, 3, 5, 1] ^= 1
            elif change == "keypoint":
                chunk.keypoints_px[17, 3, 1] += 0.01
            else:
                chunk.visible[17, 3] ^= True
            yield chunk

    before = build(tmp_path / "before").digest
    monkeypatch.setattr("trainables.data.render.rendered.render_domain", changed)
    assert build(tmp_path / "after").digest != before


def test_a_data_set_on_disk_becomes_a_store(tmp_path):
    root = leeds_folder(tmp_path / "lspet")
    leeds = build(tmp_path / "store", role="target", domain="lspet", root=root, num=5)
    assert leeds.images.shape == (5, 32, 32, 3)
    assert leeds.ids == tuple(f"lspet/im{row + 1:05d}" for row in spread_rows(8, 5))
    assert leeds.visible.any()
    assert not leeds.visible[:, [6, 7]].any()
    # 60 x 40 pixels in 32 x 32: 5 rows of padding, visible joints below and above them.
    assert not leeds.images[:, :5].any()
    assert leeds.keypoints_px[leeds.visible][:, 1].min() > 4


def test_a_data_set_with_fewer_images_gives_what_it_has(tmp_path):
    root = leeds_folder(tmp_path / "lspet")
    leeds = build(tmp_path / "store", role="target", domain="lspet", root=root, num=100)
    assert len(leeds.ids) == len(leeds.images) == len(leeds.keypoints_px) == 8
    assert sum(len(rows) for rows in leeds.splits.values()) == 8


def test_a_data_set_on_disk_needs_its_folder(tmp_path):
    with pytest.raises(ValueError, match="data.source_root must name the folder of the data set"):
        build(tmp_path / "store", domain="lsp")
