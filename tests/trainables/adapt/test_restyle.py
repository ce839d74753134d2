"""When batches are restyled, how strongly, and that the random stream does not depend on it."""

import numpy as np
import pytest
import torch

from trainables.adapt.restyle import Restyler
from trainables.config import Restyling
from trainables.distributed.shard import WHOLE, Shard


class Recorder:
    """Notes what it is asked for and marks the images it restyled."""

    def __init__(self):
        self.calls = []

    def restyle(self, images, view, towards, rows, alpha):
        self.calls.append((towards, rows.tolist(), alpha.tolist()))
        return images + 100


ROWS = {"source": np.array([3, 5, 8]), "target": np.array([20, 21])}


def make_restyler(source=0.5, target=1.0, alpha=1.0, seed=0, **other):
    recorder = Recorder()
    restyling = Restyling(source, target, alpha)
    generator = torch.Generator().manual_seed(seed)
    return Restyler(recorder, ROWS, restyling, generator, **other), recorder


def test_source_images_take_the_style_of_target_rows_and_the_teachers_of_source_rows(
    make_source, make_target
):
    restyler, recorder = make_restyler(source=1.0)
    source, target = make_source(), make_target()
    assert torch.equal(restyler.source(source), source.images + 100)
    assert torch.equal(restyler.teacher(target), target.teacher_images + 100)
    (first, first_rows, _), (second, second_rows, _) = recorder.calls
    assert (first, second) == ("target", "source")
    assert set(first_rows) <= {20, 21}
    assert set(second_rows) <= {3, 5, 8}


@pytest.mark.parametrize(("source", "target", "expected"), [(1, 0, "target"), (0, 1, "source")])
def test_each_direction_has_its_own_probability(
    source, target, expected, make_source, make_target
):
    restyler, recorder = make_restyler(source=source, target=target)
    restyler.source(make_source())
    restyler.teacher(make_target())
    assert [towards for towards, *_ in recorder.calls] == [expected]


def test_a_batch_is_restyled_with_its_probability(make_source):
    restyler, recorder = make_restyler(source=0.3)
    batch = make_source()
    restyled = [not torch.equal(restyler.source(batch), batch.images) for _ in range(400)]
    assert sum(restyled) == len(recorder.calls) == pytest.approx(120, abs=46)  # 5 deviations


def test_strengths_are_uniform_up_to_alpha_for_each_image(make_source):
    restyler, recorder = make_restyler(source=1.0, alpha=0.8)
    for _ in range(300):
        restyler.source(make_source())
    alphas = np.array([alpha for *_, alpha in recorder.calls])
    assert alphas.shape == (300, 4)
    assert 0 <= alphas.min() < 0.01
    assert 0.79 < alphas.max() <= 0.8
    assert alphas.mean() == pytest.approx(0.4, abs=0.04)  # 5 deviations of 0.23 / sqrt(1200)
    assert np.quantile(alphas, 0.25) == pytest.approx(0.2, abs=0.05)
    assert np.ptp(alphas, axis=1).min() > 0


def test_the_references_batch_has_one_strength(make_source):
    restyler, recorder = make_restyler(source=1.0, is_one_strength=True)
    for _ in range(20):
        restyler.source(make_source())
    alphas = np.array([alpha for *_, alpha in recorder.calls])
    assert np.ptp(alphas, axis=1).max() == 0
    assert np.ptp(alphas[:, 0]) > 0.5


@pytest.mark.parametrize("probability", [0.0, 0.4, 1.0])
def test_the_number_of_draws_does_not_depend_on_the_outcome(make_source, probability):
    restyler, _ = make_restyler(source=probability)
    expected, _ = make_restyler(source=0.5)
    for _ in range(5):
        restyler.source(make_source())
        expected.source(make_source())
    assert torch.equal(restyler.state_dict()["generator"], expected.state_dict()["generator"])


def test_shards_of_a_batch_are_restyled_like_the_whole(make_source):
    calls = []
    for shard, size in ((WHOLE, 8), (Shard(0, 2), 4), (Shard(1, 2), 4)):
        restyler, recorder = make_restyler(source=1.0, shard=shard)
        restyler.source(make_source(size=size))
        calls.append(recorder.calls[0])
    assert calls[0][1] == calls[1][1] + calls[2][1]
    assert calls[0][2] == calls[1][2] + calls[2][2]


def test_a_stream_continues_from_its_saved_state(make_source):
    first, recorder = make_restyler(source=1.0)
    first.source(make_source())
    state = first.state_dict()
    first.source(make_source())
    second, other = make_restyler(source=1.0, seed=9)
    second.load_state_dict(state)
    second.source(make_source())
    assert other.calls[-1] == recorder.calls[-1]
