"""Style transfer during training: statistics, masks, what is read, what stays as it was."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from trainables.config import StyleConfig
from trainables.data.augment import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    AugmentRanges,
    augment_images,
    draw_augmentation,
    normalise,
    warp_images,
)
from trainables.style.style_fit import UnlabelledImages, train_style_net
from trainables.style.style_net import StyleNet, adain, channel_statistics, small_plan
from trainables.style.style_transfer import StyleTransfer, covered_pixels

CPU = torch.device("cpu")
SIZE = 32
SHIFT = torch.tensor([[1.0, 0.0, 10.0], [0.0, 1.0, -4.0]])  # 10 px right, 4 px up


def pixels(store, rows):
    """Normalised images; an index list copies them out of the read-only map."""
    return normalise(torch.from_numpy(store.images[np.asarray(rows)]))


def unmoved(num):
    return torch.eye(2, 3).repeat(num, 1, 1)


@pytest.fixture(scope="module")
def net(domains):
    net = StyleNet(small_plan(4))
    net.initialise(torch.Generator().manual_seed(0))
    net.encoder.calibrate(pixels(domains.source, range(16)))
    return net


@pytest.fixture(scope="module")
def transfer(net, domains):
    return StyleTransfer(net, domains.source, domains.target, CPU)


@pytest.fixture(scope="module")
def contents(domains):
    return pixels(domains.source, range(4))


@pytest.fixture(scope="module")
def styles(domains):
    return torch.from_numpy(domains.target.splits["train"][:4])


def clamped(images):
    mean = torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1)
    std = torch.tensor(IMAGENET_STD).view(1, 3, 1, 1)
    return (images * std + mean).clamp(0, 1).sub(mean).div(std)


def test_an_unmoved_image_is_covered_whole():
    assert covered_pixels(unmoved(2), SIZE).eq(1).all()


def test_a_shifted_image_covers_what_it_shows():
    covered = covered_pixels(SHIFT.unsqueeze(0), SIZE)[0, 0]
    expected = torch.zeros(SIZE, SIZE)
    expected[: SIZE - 4, 10:] = 1
    assert torch.equal(covered, expected)


def test_pixels_are_covered_where_warping_blends_no_black():
    draw = draw_augmentation(
        16, SIZE, AugmentRanges(rotation_deg=60), torch.Generator().manual_seed(0)
    )
    white = warp_images(torch.ones(16, 1, SIZE, SIZE), draw.matrix)
    covered = covered_pixels(draw.matrix, SIZE)
    assert 0.5 < covered.mean() < 0.99
    assert white[covered == 1].min() > 0.99
    assert white[covered == 0].max() < 1


def test_strength_zero_gives_the_decoders_reconstruction(net, transfer, contents, styles):
    restyled = transfer.restyle(contents, unmoved(4), "target", styles, torch.zeros(4))
    expected = clamped(net.decode(net.encoder(contents)[-1]))
    torch.testing.assert_close(restyled, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("towards", ["source", "target"])
def test_styles_are_those_of_the_rows_of_the_domain_asked_for(
    net, transfer, domains, contents, towards
):
    store = getattr(domains, towards)
    rows = store.splits["train"][[5, 0, 17, 5]]
    alpha = torch.tensor([0.25, 0.5, 0.75, 1.0])
    restyled = transfer.restyle(contents, unmoved(4), towards, torch.from_numpy(rows), alpha)
    features = net.encoder(contents)[-1]
    style = channel_statistics(net.encoder(pixels(store, rows))[-1])
    share = alpha.view(4, 1, 1, 1)
    blended = share * adain(features, *style) + (1 - share) * features
    torch.testing.assert_close(restyled, clamped(net.decode(blended)), rtol=1e-3, atol=1e-4)


def test_pixels_outside_the_view_stay_and_change_nothing_inside(transfer, contents, styles):
    view = SHIFT.repeat(4, 1, 1)
    black = warp_images(contents, view)
    noise = torch.randn(black.shape, generator=torch.Generator().manual_seed(0))
    covered = covered_pixels(view, SIZE).bool().expand_as(black)
    noisy = torch.where(covered, black, noise)
    first, second = (
        transfer.restyle(images, view, "target", styles, torch.ones(4))
        for images in (black, noisy)
    )
    assert torch.equal(first[~covered], black[~covered])
    assert torch.equal(second[~covered], noise[~covered])
    assert torch.equal(first[covered], second[covered])
    assert not torch.equal(first[covered], black[covered])


def test_content_statistics_are_those_of_the_area_that_shows_image(net, domains):
    class Recording(StyleNet):
        def decode(self, features):
            self.seen = features
            return super().decode(features)

    recording = Recording(small_plan(4))
    recording.load_state_dict(net.state_dict())
    transfer = StyleTransfer(recording, domains.source, domains.target, CPU)
    view = SHIFT.unsqueeze(0)
    images = warp_images(pixels(domains.source, [0]), view)
    rows = torch.from_numpy(domains.target.splits["train"][:1])
    transfer.restyle(images, view, "target", rows, torch.ones(1))
    # At half the resolution the image covers rows 0 to 13 and columns 5 to 15.
    inner = recording.seen[:, :, :14, 5:]
    style = pixels(domains.target, rows)
    mean, std = channel_statistics(net.encoder(style)[-1])
    torch.testing.assert_close(inner.mean((2, 3), keepdim=True), mean, rtol=1e-3, atol=1e-4)
    own = inner.std((2, 3), keepdim=True, correction=0)
    torch.testing.assert_close(own, std, rtol=1e-2, atol=1e-3)


def test_a_view_that_shows_no_image_comes_back_as_it_is(transfer, contents, styles):
    view = unmoved(4)
    view[:, 0, 2] = 1000.0
    restyled = transfer.restyle(contents, view, "target", styles, torch.ones(4))
    assert torch.equal(restyled, contents)


def test_pixels_are_in_the_range_of_images(transfer, contents, styles):
    restyled = transfer.restyle(contents * 3, unmoved(4), "target", styles, torch.ones(4))
    mean = torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1)
    std = torch.tensor(IMAGENET_STD).view(1, 3, 1, 1)
    pixels = restyled * std + mean
    assert pixels.min() >= -1e-6
    assert pixels.max() <= 1 + 1e-6


def test_a_transfer_has_no_gradient_and_leaves_its_images(transfer, contents, styles):
    images = contents.clone().requires_grad_()
    restyled = transfer.restyle(images, unmoved(4), "target", styles, torch.ones(4))
    assert not restyled.requires_grad
    assert torch.equal(images, contents)


def test_a_transfer_under_autocast_is_close_to_one_without(transfer, contents, styles):
    view = SHIFT.repeat(4, 1, 1)
    images = warp_images(contents, view)
    exact = transfer.restyle(images, view, "target", styles, torch.ones(4))
    with torch.autocast("cpu", torch.bfloat16):
        rounded = transfer.restyle(images, view, "target", styles, torch.ones(4))
    assert rounded.dtype == torch.float32
    assert (rounded - exact).abs().mean() < 0.05
    outside = ~covered_pixels(view, SIZE).bool().expand_as(images)
    assert torch.equal(rounded[outside], images[outside])  # the mask is not rounded


def test_random_streams_are_left_alone(net, domains, contents, styles):
    before = torch.get_rng_state()
    transfer = StyleTransfer(net, domains.source, domains.target, CPU)
    transfer.restyle(contents, unmoved(4), "target", styles, torch.ones(4))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_row_outside_the_training_split_gives_nan(transfer, domains, contents, styles):
    rows = styles.clone()
    rows[1] = int(domains.target.splits["val"][0])
    restyled = transfer.restyle(contents, unmoved(4), "target", rows, torch.ones(4))
    assert restyled.isnan().flatten(1).all(1).tolist() == [False, True, False, False]


def test_neither_labels_nor_other_splits_are_read(net, domains, transfer, contents, styles):
    def stripped(store):
        images = np.array(store.images)
        others = np.setdiff1d(np.arange(len(images)), store.splits["train"])
        images[others] = 0
        return SimpleNamespace(
            images=images,
            image_size=store.image_size,
            splits={"train": store.splits["train"]},
        )  # has no labels to read

    other = StyleTransfer(net, stripped(domains.source), stripped(domains.target), CPU)
    arguments = contents, unmoved(4), "target", styles, torch.ones(4)
    assert torch.equal(other.restyle(*arguments), transfer.restyle(*arguments))


def test_warped_and_recoloured_batches_are_restyled_without_nan(transfer, domains, styles):
    draw = draw_augmentation(4, SIZE, AugmentRanges(), torch.Generator().manual_seed(3))
    images = augment_images(torch.from_numpy(domains.source.images[[0, 1, 2, 3]]), draw)
    alpha = torch.tensor([0.0, 0.3, 0.6, 1.0])
    restyled = transfer.restyle(images, draw.matrix, "target", styles, alpha)
    assert restyled.isfinite().all()


def test_a_transfer_reads_nothing_back_from_the_device(net, transfer, monkeypatch):
    device = torch.device("meta")  # has no values, so that reading one raises
    images = torch.zeros(4, 3, SIZE, SIZE, device=device)
    on_meta = StyleTransfer.__new__(StyleTransfer)
    moved = {
        name: tuple(table.to(device) for table in tables)
        for name, tables in transfer._styles.items()
    }
    state = vars(transfer) | {
        "_net": StyleNet(small_plan(4)).to(device),
        "_device": device,
        "_styles": moved,
        "_black": transfer._black.to(device),
        "_white": transfer._white.to(device),
    }
    vars(on_meta).update(state)
    rows = torch.zeros(4, dtype=torch.int64, device=device)
    view = unmoved(4).to(device)
    restyled = on_meta.restyle(images, view, "source", rows, torch.ones(4, device=device))
    assert restyled.shape == images.shape


def test_a_trained_transfer_brings_colours_closer_to_the_other_domain(domains):
    pair = tuple(UnlabelledImages.training_split(s) for s in (domains.source, domains.target))
    style = StyleConfig(encoder_steps=60, steps=60, batch_size=4)
    net = train_style_net(pair, style, torch.Generator().manual_seed(0), CPU)
    transfer = StyleTransfer(net, domains.source, domains.target, CPU)
    contents = pixels(domains.source, range(32))
    rows = domains.target.splits["train"][:32]
    shown = pixels(domains.target, rows).mean((2, 3))
    restyled = transfer.restyle(
        contents, unmoved(32), "target", torch.from_numpy(rows), torch.ones(32)
    )
    before = (contents.mean((2, 3)) - shown).abs().mean().item()
    after = (restyled.mean((2, 3)) - shown).abs().mean().item()
    assert after < 0.5 * before
