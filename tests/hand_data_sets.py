"""Rendered samples, and reading data sets as a trial does."""

from functools import cache

import numpy as np
import pytest

from trainables.data.domain import ImageRequest
from trainables.data.render.rendered import render_domain


@cache
def rendered(domain, num=5, size=160):
    """Images, keypoints and visibility of some rendered samples."""
    chunk = next(render_domain(domain, num, size, 0))
    return chunk.images, chunk.keypoints_px, chunk.visible


def read(domain, root, num=1000, size=160, role="target", **request):
    """Ids, images, keypoints, visibility and notes of a data set."""
    chunks = list(domain.images(ImageRequest(role, num, size, root, **request)))
    return (
        sum((chunk.ids for chunk in chunks), ()),
        *(
            np.concatenate([getattr(chunk, name) for chunk in chunks])
            for name in ("images", "keypoints_px", "visible")
        ),
        sum((chunk.notes for chunk in chunks), ()),
    )


def refusal(domain, root, **request):
    """What a trial and the check before a study say about a data set, which must agree."""
    texts = []
    for use in (lambda asked: list(domain.images(asked)), domain.check):
        with pytest.raises((ValueError, FileNotFoundError)) as caught:
            use(ImageRequest("target", 1000, 160, root, **request))
        texts.append(str(caught.value))
    assert texts[1].startswith(texts[0])  # a check also counts what is left
    return texts[0]


def empty_image(root, pattern):
    """Cut one image to zero bytes and return its name."""
    path = sorted(root.rglob(pattern))[1]
    path.write_bytes(b"")
    return path.name
