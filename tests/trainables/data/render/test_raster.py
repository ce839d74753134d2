"""The z-buffer against a loop over pixels and triangles, and known pictures."""

import numpy as np
import torch

from trainables.data.render.raster import rasterise


def nearest_by_loops(vertices, faces, size):
    """Triangle and depth of every pixel (H, W) of one image, in float64."""
    face, depth = np.full((size, size), -1), np.full((size, size), np.inf)
    for index, corners in enumerate(np.asarray(vertices, float)[faces]):
        (ax, ay, az), (bx, by, bz), (cx, cy, cz) = corners
        total = (cx - ax) * (by - ay) - (cy - ay) * (bx - ax)
        if total <= 0:  # its back is seen
            continue
        for y in range(size):
            for x in range(size):
                u = (bx - cx) * (y - cy) - (by - cy) * (x - cx)
                v = (cx - ax) * (y - ay) - (cy - ay) * (x - ax)
                w = (ax - bx) * (y - by) - (ay - by) * (x - bx)
                if min(u, v, w) < 0:
                    continue
                z = total / (u / az + v / bz + w / cz)
                if z < depth[y, x]:
                    face[y, x], depth[y, x] = index, z
    return face, depth


def test_random_triangles_equal_a_loop_over_pixels():
    rng = np.random.default_rng(0)
    size, faces = 24, np.arange(60).reshape(20, 3)
    vertices = np.concatenate(
        [rng.uniform(-6, 30, (3, 60, 2)), rng.uniform(1, 3, (3, 60, 1))], -1
    ).astype(np.float32)
    surface = rasterise(torch.from_numpy(vertices), torch.from_numpy(faces), size)
    seen = np.full((3, size, size), -1)
    seen.reshape(-1)[surface.pixel] = surface.face
    depth = np.full((3, size, size), np.inf)
    depth.reshape(-1)[surface.pixel] = surface.depth
    for image in range(3):
        face, expected = nearest_by_loops(vertices[image], faces, size)
        assert (face >= 0).sum() > 100
        # Rounding may decide otherwise on an edge.
        assert (seen[image] != face).sum() <= 2
        same = seen[image] == face
        np.testing.assert_allclose(depth[image][same], expected[same], rtol=1e-4)


def test_a_triangle_covers_the_pixels_whose_centres_it_contains():
    vertices = torch.tensor([[[1.0, 1.0, 2.0], [1.0, 4.0, 2.0], [4.0, 1.0, 2.0]]])
    surface = rasterise(vertices, torch.tensor([[0, 1, 2]]), 6)
    pixels = {(int(p) % 6, int(p) // 6) for p in surface.pixel}
    assert pixels == {(x, y) for x in range(1, 5) for y in range(1, 5) if x + y <= 5}
    torch.testing.assert_close(surface.depth, torch.full((10,), 2.0))


def test_a_triangle_seen_from_behind_is_not_drawn():
    vertices = torch.tensor([[[1.0, 1.0, 2.0], [4.0, 1.0, 2.0], [1.0, 4.0, 2.0]]])
    assert len(rasterise(vertices, torch.tensor([[0, 1, 2]]), 6).pixel) == 0


def test_weights_find_the_place_on_a_slanted_triangle():
    # Corners at depths 1 and 3: halfway on the screen lies nearer than halfway on the triangle.
    vertices = torch.tensor([[[0.0, 0.0, 1.0], [0.0, 8.0, 1.0], [8.0, 0.0, 3.0]]])
    surface = rasterise(vertices, torch.tensor([[0, 1, 2]]), 9)
    row = (surface.pixel == 4).nonzero().squeeze()  # x = 4, y = 0
    assert surface.depth[row] == 1 / ((1 / 1 + 1 / 3) / 2)
    torch.testing.assert_close(surface.weights[row], torch.tensor([0.75, 0.0, 0.25]))
