"""Small data sets of people in their publishers' layouts, and the domains that read them."""

import csv
import json

import numpy as np

from trainables.data.domain import ImageRequest
from trainables.data.export import LAYOUTS
from trainables.data.human36m import HUMAN36M
from trainables.data.layouts.jpeg import write_jpeg
from trainables.data.leeds import LSP, LSPET
from trainables.data.mpii import LABELS, MPII
from trainables.data.render.rendered import render_domain
from trainables.data.surreal import SURREAL

DOMAINS = {"human36m": HUMAN36M, "lsp": LSP, "lspet": LSPET, "mpii": MPII, "surreal": SURREAL}
SIDE = 64


def write_mpii(out, images, keypoints_px, visible):
    """Write samples as the reader of MPII reads them; unlabelled joints have empty fields."""
    (out / "images").mkdir(parents=True)
    with (out / LABELS).open("w", newline="") as file:
        for i, image in enumerate(images):
            write_jpeg(out / "images" / f"{i:09d}.jpg", image)
            points = np.where(visible[i][:, None], keypoints_px[i] + 1, np.nan)
            fields = ["" if np.isnan(value) else repr(float(value)) for value in points.ravel()]
            csv.writer(file).writerow([f"{i:09d}.jpg", *fields])


def rewrite_json(path, change):
    """Let ``change`` work on what a label file holds."""
    records = json.loads(path.read_text())
    change(records)
    path.write_text(json.dumps(records))


def write_people(name, out, num=12, seed=0):
    """Write rendered people, some joints of which are hidden; returns what was rendered."""
    (chunk,) = render_domain("people_clean", num, SIDE, seed)
    visible = chunk.visible.copy()
    visible[np.arange(num), np.arange(num) % 16] = False
    LAYOUTS.get(name, write_mpii)(out, chunk.images, chunk.keypoints_px, visible)
    return chunk.images, chunk.keypoints_px, visible


def read_all(name, root, size=SIDE, **request):
    """All samples of a data set as one: ids, images, keypoints, visible, notes."""
    asked = ImageRequest("source", request.pop("num", 10**6), size, root, **request)
    chunks = list(DOMAINS[name].images(asked))
    parts = zip(*((c.images, c.keypoints_px, c.visible) for c in chunks), strict=True)
    ids = tuple(name for chunk in chunks for name in chunk.ids)
    notes = tuple(note for chunk in chunks for note in chunk.notes)
    return ids, *map(np.concatenate, parts), notes


def image_files(root):
    """The image files of a data set, in a fixed order."""
    return sorted(root.rglob("*.jpg"))
