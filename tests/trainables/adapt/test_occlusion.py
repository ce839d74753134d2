"""Adaptive occlusion: what is hidden, how often, and the loops of the paper."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference import udape_per_image
from trainables.adapt.occlusion import occlude_confident_joints
from trainables.adapt.pseudo_labels import PseudoLabels


def random_images(num, size, seed=1):
    return torch.rand((num, 3, size, size), generator=torch.Generator().manual_seed(seed))


def labels_at(keypoints, confidence, weights=None):
    """Labels of one image, repeated by the caller where it needs more."""
    keypoints, confidence = torch.tensor([keypoints]), torch.tensor([confidence])
    weights = torch.ones_like(confidence) if weights is None else torch.tensor([weights])
    return PseudoLabels(keypoints, torch.zeros(1, 2, 16, 16), confidence, weights)


def repeated(labels, num):
    return PseudoLabels(
        *(
            x.expand(num, *x.shape[1:])
            for x in (labels.keypoints_px, labels.maps, labels.confidence, labels.weights)
        )
    )


def occlude(images, labels, probability=1.0, threshold=0.5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return occlude_confident_joints(images, labels, probability, threshold, generator)


def changed_span(images, occluded):
    """Rows and columns in which the first image differs."""
    rows, columns = (occluded != images).any(1)[0].nonzero().T
    return sorted(set(rows.tolist())), sorted(set(columns.tolist()))


@pytest.mark.parametrize(
    ("x", "size", "expected"),
    [
        (100.0, 256, range(90, 110)),  # 20 pixels of 256, [x - 10, x + 10)
        (100.5, 256, range(91, 111)),
        (16.0, 32, range(15, 17)),  # 2.5 of 32, rounded to two
        (30.0, 64, range(28, 33)),  # five of 64: [27.5, 32.5)
        (3.0, 256, range(13)),  # cut at the border
        (255.4, 256, range(246, 256)),
    ],
)
def test_the_window_is_a_thirteenth_of_the_image_around_the_joint(x, size, expected):
    images = random_images(1, size)
    labels = labels_at([[x, size / 2], [1.0, 1.0]], [0.9, 0.1])
    rows, columns = changed_span(images, occlude(images, labels))
    assert columns == list(expected)
    assert len(rows) == round(20 * size / 256)


def test_the_window_is_filled_from_elsewhere_in_the_same_image_unchanged_in_shape():
    # The image's values are its coordinates, so the patch tells where it came from.
    size = 64
    ramp = torch.arange(float(size))
    image = torch.stack([ramp.expand(size, size), ramp.view(-1, 1).expand(size, size)])
    image = torch.cat([image, image[:1]]).unsqueeze(0)
    labels = labels_at([[30.0, 40.0], [1.0, 1.0]], [0.9, 0.1])
    for seed in range(20):
        patch = occlude(image, labels, seed=seed)[0, :2, 38:43, 28:33]
        origin = patch[:, :1, :1]
        assert torch.equal(patch - origin, image[0, :2, :5, :5])
        assert (patch >= 0).all()
        assert (patch <= size - 1).all()


@pytest.mark.parametrize(("confidence", "probability"), [([0.1, 0.1], 1.0), ([0.9, 0.9], 0.0)])
def test_nothing_is_hidden_without_a_known_joint_or_a_chance(confidence, probability):
    images = random_images(1, 32)
    labels = labels_at([[16.0, 10.0], [4.0, 28.0]], confidence)
    assert torch.equal(occlude(images, labels, probability), images)


@pytest.mark.parametrize("far", [[16.0, -0.6], [31.5, 4.0], [4e6, 4.0], [-4e6, -4e6]])
def test_joints_outside_the_view_are_not_hidden(far):
    images = random_images(1, 32)
    assert torch.equal(occlude(images, labels_at([far, far], [0.9, 0.9])), images)


def test_a_known_joint_may_be_hidden_though_its_label_is_not_among_the_trusted():
    images = random_images(1, 32)
    labels = labels_at([[16.0, 10.0], [4.0, 28.0]], [0.9, 0.1], weights=[0.0, 1.0])
    assert not torch.equal(occlude(images, labels), images)


def test_confidence_at_the_threshold_is_known():
    images = random_images(1, 32)
    labels = labels_at([[16.0, 10.0], [4.0, 28.0]], [0.5, 0.25])
    assert not torch.equal(occlude(images, labels, threshold=0.5), images)
    assert torch.equal(occlude(images, labels, threshold=0.51), images)


def test_images_are_hidden_as_often_as_asked_and_each_known_joint_equally_often():
    num = 4000
    images = random_images(1, 16).expand(num, 3, 16, 16)
    labels = repeated(labels_at([[4.0, 4.0], [12.0, 12.0]], [0.9, 0.8]), num)
    changed = (occlude(images, labels, probability=0.6) != images).any(1)
    first, second = changed[:, 4, 4].float().mean(), changed[:, 12, 12].float().mean()
    # Five deviations of a share of 0.3 of 4000, less the patches that come from the window.
    assert abs(first - 0.3) < 0.037
    assert abs(second - 0.3) < 0.037
    assert not (changed[:, 4, 4] & changed[:, 12, 12]).any()


def test_the_callers_images_are_left_as_they_are_and_their_memory_format_is_kept():
    images = random_images(4, 32).contiguous(memory_format=torch.channels_last)
    before = images.clone()
    labels = repeated(labels_at([[16.0, 10.0], [4.0, 28.0]], [0.9, 0.9]), 4)
    occluded = occlude(images, labels)
    assert torch.equal(images, before)
    assert occluded.is_contiguous(memory_format=torch.channels_last)


def test_the_generator_advances_alike_whatever_is_known():
    images = random_images(1, 32)
    states = []
    for confidence in ([0.1, 0.1], [0.9, 0.9]):
        generator = torch.Generator().manual_seed(0)
        labels = labels_at([[16.0, 10.0], [4.0, 28.0]], confidence)
        occlude_confident_joints(images, labels, 1.0, 0.5, generator)
        states.append(generator.get_state())
    assert torch.equal(*states)


def test_no_value_is_read_on_the_host():
    # Tensors on the meta device have no values; reading one is an error.
    with torch.device("meta"):
        images, maps = torch.empty(4, 3, 32, 32), torch.empty(4, 2, 16, 16)
        labels = PseudoLabels(torch.empty(4, 2, 2), maps, torch.empty(4, 2), torch.empty(4, 2))
    assert occlude(images, labels).shape == (4, 3, 32, 32)


@settings(max_examples=40)
@given(st.integers(0, 2**31), st.sampled_from([16, 32, 50, 64]), st.floats(0, 1), st.floats(0, 1))
def test_images_are_those_of_the_loops(seed, size, probability, threshold):
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand((5, 3, size, size), generator=generator)
    keypoints = (torch.rand((5, 4, 2), generator=generator) * 1.4 - 0.2) * size
    confidence = torch.rand((5, 4), generator=generator)
    labels = PseudoLabels(keypoints, torch.zeros(5, 4, 8, 8), confidence, torch.ones(5, 4))
    fast = occlude(images, labels, probability, threshold, seed)
    generator.manual_seed(seed)
    slow = udape_per_image.occlude(images, labels, probability, threshold, generator)
    assert torch.equal(fast, slow)
