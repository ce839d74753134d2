"""The rendered people and hands as domains; renders, and imports torch, only when asked to."""

from collections.abc import Iterator
from dataclasses import dataclass

from trainables.data.domain import Domain, ImageRequest, LabelledImages


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
                tuple(f"{self.name}/{request.seed}/{row:06d}" for row in rows),
                chunk.images,
                chunk.keypoints_px,
                chunk.visible,
            )


PEOPLE_CLEAN, PEOPLE_WILD = RenderedDomain("people_clean"), RenderedDomain("people_wild")
PEOPLE_WILD_HARD = RenderedDomain("people_wild_hard")
PEOPLE_SPORT = RenderedDomain("people_sport")
HANDS_CLEAN, HANDS_WILD = RenderedDomain("hands_clean"), RenderedDomain("hands_wild")
