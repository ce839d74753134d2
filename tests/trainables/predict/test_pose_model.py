"""A network in a folder predicts in images of any size what the run's network predicts."""

import dataclasses
import json

import cv2
import numpy as np
import pytest
import torch

from tests.trainables.adapt.tiny_run import LITE, make_config, make_run
from trainables.adapt.methods import build_net
from trainables.checkpoint import save_states
from trainables.data.crop import cropped, moved, moved_back, whole_window
from trainables.data.skeleton import BODY16
from trainables.evaluation.evaluate import predict_with_confidence
from trainables.predict.pose_model import load_pose_model, save_pose_model

ORIGIN = {"study": "s", "run": 3, "epoch": 2}


def saved(folder, config, net=None):
    net = net or build_net(config, 16)
    save_pose_model(folder, net.state_dict(), config, BODY16, ORIGIN)
    return net


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"adapt.loss": "mse", "adapt.method": "source_only"},
        LITE,
        {"parity": True, "adapt.method": "regda"},
    ],
)
def test_a_loaded_model_predicts_what_the_run_s_network_does(fields, domains, tmp_path):
    config = make_config(**fields)
    run = make_run(config, domains)
    while not run.is_done:
        run.run_epoch()
    net = run.net
    save_pose_model(tmp_path / "model", net.state_dict(), config, BODY16, ORIGIN)
    model = load_pose_model(tmp_path / "model")
    rows = domains.target.splits["val"][:40]  # more than one batch
    keypoints_px, confidence = model.predict(list(domains.target.images[rows]))
    expected = predict_with_confidence(net, domains.target, rows, config.adapt.loss)
    np.testing.assert_array_equal(keypoints_px, expected[0].numpy())
    np.testing.assert_allclose(confidence, expected[1].numpy(), rtol=1e-4)
    assert model.skeleton == BODY16
    assert model.description["origin"] == ORIGIN


@pytest.mark.parametrize(("width", "height"), [(64, 64), (128, 64), (50, 130), (20, 7)])
def test_keypoints_return_from_the_square_to_the_image(width, height):
    window = whole_window(width, height)
    rng = np.random.default_rng(0)
    points = (rng.random((16, 2)) * [width, height]).astype(np.float32)
    there = moved(points, window, 64)
    np.testing.assert_allclose(moved_back(there, window, 64), points, atol=1e-3)


class Brightest(torch.nn.Module):
    """A network whose every map has its peak at the brightest cell of the image."""

    is_reference = False

    def __init__(self):
        super().__init__()
        self.anything = torch.nn.Parameter(torch.zeros(1))

    def forward(self, images):
        grey = torch.nn.functional.avg_pool2d(images.mean(1, keepdim=True), 2)
        return grey.expand(-1, 16, -1, -1)


@pytest.mark.parametrize(("width", "height"), [(320, 240), (90, 200), (32, 32), (16, 10)])
def test_a_spot_is_found_where_it_is_in_an_image_of_any_size(width, height, tmp_path):
    saved(tmp_path / "model", make_config())
    model = dataclasses.replace(load_pose_model(tmp_path / "model"), net=Brightest())
    image = np.zeros((height, width, 3), np.uint8)
    spot = np.array([width * 0.7, height * 0.3])
    cv2.circle(image, tuple(spot.astype(int).tolist()), max(width, height) // 20, (255,) * 3, -1)
    keypoints_px, _ = model.predict([image, image[:, ::-1]])
    cell_px = max(width, height) / 16
    assert np.abs(keypoints_px[0] - spot).max() <= cell_px
    mirrored = [width - 1 - spot[0], spot[1]]
    assert np.abs(keypoints_px[1] - mirrored).max() <= cell_px


def test_an_image_is_prepared_as_the_data_of_training_are(tmp_path):
    saved(tmp_path / "model", make_config())
    model = load_pose_model(tmp_path / "model")
    image = np.random.default_rng(0).integers(0, 256, (80, 50, 3), dtype=np.uint8)
    window = whole_window(50, 80)
    in_square, confidence = model.predict([cropped(image, window, 32)])
    expected = moved_back(in_square[0], window, 32)
    found, same = model.predict([image])
    np.testing.assert_array_equal(found[0], expected)
    np.testing.assert_array_equal(same, confidence)


def test_no_image_gives_no_pose(tmp_path):
    saved(tmp_path / "model", make_config())
    keypoints_px, confidence = load_pose_model(tmp_path / "model").predict([])
    assert (keypoints_px.shape, confidence.shape) == ((0, 16, 2), (0, 16))


@pytest.mark.parametrize(
    "image", [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3)), np.zeros((0, 8, 3), np.uint8)]
)
def test_what_is_no_image_is_named(image, tmp_path):
    saved(tmp_path / "model", make_config())
    model = load_pose_model(tmp_path / "model")
    with pytest.raises(ValueError, match=r"images\[1\] must be \(H, W, 3\) uint8"):
        model.predict([np.zeros((8, 8, 3), np.uint8), image])


def test_a_model_replaces_an_earlier_one_whole(tmp_path):
    saved(tmp_path / "model", make_config())
    net = saved(tmp_path / "model", make_config(seed=1))
    weights = load_pose_model(tmp_path / "model").net.state_dict()
    assert all(map(torch.equal, weights.values(), net.state_dict().values()))
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    names = sorted(path.name for path in (tmp_path / "model").iterdir())
    assert names == ["digests.json", "model.json", "net.pt"]


class Bomb:
    def __reduce__(self):
        return (print, ("this code must not run",))


def no_description(folder):
    (folder / "model.json").unlink()


def other_version(folder):
    change(folder, version=99)


def other_network(folder):
    description = json.loads((folder / "model.json").read_text())
    change(folder, network=description["network"] | {"net.width": 8})


def no_skeleton(folder):
    change(folder, skeleton={})


def changed_weights(folder):
    content = bytearray((folder / "net.pt").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "net.pt").write_bytes(content)


def change(folder, **fields):
    path = folder / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (no_description, "is not the folder of a model"),
        (other_version, "has a model of version 99, not 1"),
        (other_network, "does not hold a whole model: .*size mismatch"),
        (no_skeleton, "does not hold a whole model"),
        (changed_weights, "does not match the digest"),
    ],
)
def test_a_folder_without_a_whole_model_is_named_in_one_sentence(harm, message, tmp_path):
    saved(tmp_path / "model", make_config())
    harm(tmp_path / "model")
    with pytest.raises(ValueError, match=message) as error:
        load_pose_model(tmp_path / "model")
    assert str(tmp_path / "model") in str(error.value)
    assert "\n" not in str(error.value)


def test_pickled_code_is_not_run(tmp_path, capsys):
    saved(tmp_path / "model", make_config())
    save_states(tmp_path / "model", {"net": {"bomb": Bomb()}})
    with pytest.raises(ValueError, match="does not hold a whole model"):
        load_pose_model(tmp_path / "model")
    assert capsys.readouterr().out == ""
