"""Image stores that were prepared before a study, and that studies use where they lie.

A study names the folder of the store where it would name that of the data set.
"""

import json
from dataclasses import replace

import numpy as np

from trainables.data.domain import ImageRequest
from trainables.data.image_store import ImageStore, open_image_store
from trainables.data.skeleton import MIN_VISIBLE
from trainables.data.skeleton_file import skeleton_of
from trainables.data.splits import spread_rows


def prepared_store(domain: str, request: ImageRequest) -> ImageStore | None:
    """Open a prepared store for what a trial wants; None if its folder holds none.

    Of a larger store ``request.num`` samples from all over it are used.

    Raises:
        ValueError: If the store is damaged, or was prepared for something else; names what.
    """
    root = request.root
    if root is None or not (root / "store.json").is_file():
        return None
    store = open_image_store(root)
    description = json.loads((root / "store.json").read_text())
    wanted = {"domain": domain, "role": request.role, "crop": request.crop}
    if request.crop == "person":
        wanted["crop_scale"] = str(request.crop_scale)
    if request.reading:
        wanted["options"] = str(request.reading)
    found = {name: str(description[name]) for name in wanted}
    skeleton = skeleton_of(domain, request.options)
    if store.skeleton.definition() != skeleton.definition():
        names = (skeleton.name, store.skeleton.name)
        if names[0] == names[1]:
            names = (f"{names[0]} as it is defined now", f"{names[1]} as it was defined then")
        wanted["skeleton"], found["skeleton"] = names
    if store.image_size != request.image_size:
        wanted["image_size"], found["image_size"] = str(request.image_size), str(store.image_size)
    if differing := [name for name in wanted if wanted[name] != found[name]]:
        words = ", ".join(f"{n} is {found[n]}, the study wants {wanted[n]}" for n in differing)
        raise ValueError(f"{root} was prepared for something else: {words}")
    return _spread(store, request.num)


def prepared_counts(store: ImageStore) -> dict[str, int]:
    """Name of each split to the number of its poses that can be put into a bin."""
    enough = np.asarray(store.visible.sum(1) >= MIN_VISIBLE)
    return {name: int(enough[rows].sum()) for name, rows in store.splits.items()}


def _spread(store: ImageStore, num: int) -> ImageStore:
    """A store whose splits have at most ``num`` of its samples; its arrays stay on the disk."""
    if num >= len(store.images):
        return store
    kept = spread_rows(len(store.images), num)
    splits = {name: rows[np.isin(rows, kept)] for name, rows in store.splits.items()}
    return replace(store, splits=splits, digest=f"{store.digest}-spread-{num}")
