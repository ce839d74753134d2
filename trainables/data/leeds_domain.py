"""The Leeds data sets as domains."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trainables.data.domain import Domain, ImageRequest, LabelledImages
from trainables.data.leeds import leeds_fingerprint, read_leeds
from trainables.data.leeds_check import check_leeds
from trainables.data.photographs import load_padded


@dataclass(frozen=True)
class LeedsDomain(Domain):
    """``lsp`` or ``lspet``, read from the folder with ``joints.mat`` and ``images/``."""

    name: str

    def images(self, request: ImageRequest) -> Iterator[LabelledImages]:
        """Yield all images at once."""
        labels = read_leeds(self.name, _root(request), limit=request.num)
        pixels, keypoints = load_padded(
            labels.image_paths, labels.keypoints_px, request.image_size, request.num_threads
        )
        yield LabelledImages(labels.ids, pixels, keypoints, labels.visible)

    def digest(self, request: ImageRequest) -> str:
        """See :func:`trainables.data.leeds.leeds_fingerprint`."""
        return leeds_fingerprint(_root(request))

    def check(self, request: ImageRequest) -> dict[str, int]:
        """See :func:`trainables.data.leeds_check.check_leeds`."""
        return check_leeds(self.name, _root(request), request.role, request.num)


def _root(request: ImageRequest) -> Path:
    if request.root is None:
        raise ValueError(f"data.{request.role}_root must name the folder of the data set")
    return request.root


LSP, LSPET = LeedsDomain("lsp"), LeedsDomain("lspet")
