"""The rendered people and hands as domains; renders, and imports torch, only when asked to."""

from collections.abc import Iterator
from dataclasses import dataclass

from trainables.data.domain import Domain, ImageRequest, LabelledImages
from trainables.data.splits import split

MAX_IMAGES = 1_000_000
"""Most images that a store or a study can ask for."""


@dataclass(frozen=True)
class RenderedDomain(Domain):
    """One of :data:`trainables.data.render.rendered.LOOKS`."""

    name: str

    def images(self, request: ImageRequest) -> Iterator[LabelledImages]:
        """Yield the first ``request.num`` images, drawn with ``request.seed``."""
        from trainables.data.render.rendered import render_domain

        first = 0
        for chunk in render_domain(self.name, request.num, request.image_size, request.seed):
            rows = range(first, first := first + len(chunk.images))
            yield LabelledImages(
                self._ids(request, rows),
                chunk.images,
                chunk.keypoints_px,
                chunk.visible,
            )

    def check(self, request: ImageRequest) -> dict[str, int]:
        """Number of images of each split; hardly any shows too few joints for a bin.

        Raises:
            ValueError: If more than :data:`MAX_IMAGES` are asked for: drawing has no end.
        """
        if request.num > MAX_IMAGES:
            raise ValueError(
                f"{self.name} can draw at most {MAX_IMAGES:,} images, got {request.num:,}"
            )
        ids = self._ids(request, range(request.num))
        return {name: len(rows) for name, rows in split(ids, request.role).items()}

    def _ids(self, request: ImageRequest, rows: range) -> tuple[str, ...]:
        return tuple(f"{self.name}/{request.seed}/{row:06d}" for row in rows)


PEOPLE_CLEAN, PEOPLE_WILD = RenderedDomain("people_clean"), RenderedDomain("people_wild")
PEOPLE_WILD_HARD = RenderedDomain("people_wild_hard")
PEOPLE_SPORT = RenderedDomain("people_sport")
HANDS_CLEAN, HANDS_WILD = RenderedDomain("hands_clean"), RenderedDomain("hands_wild")
