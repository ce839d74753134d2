"""The rendered people and hands as domains; renders, and imports torch, only when asked to."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trainables.config.data_options import SportOptions
from trainables.data.domain import Domain, ImageRequest, LabelledImages
from trainables.data.splits import split
from trainables.registry import DOMAINS

_FIELD = "data.people_sport.target_backgrounds"


@dataclass(frozen=True)
class RenderedDomain(Domain):
    """One of :data:`trainables.data.render.rendered.LOOKS`."""

    name: str

    def images(self, request: ImageRequest) -> Iterator[LabelledImages]:
        """Yield the first ``request.num`` images, drawn with ``request.seed``."""
        from trainables.data.render.rendered import render_domain

        first = 0
        backgrounds, poses = _material(request)
        notes = _notes(request)
        drawing = (self.name, request.num, request.image_size, request.seed, backgrounds, poses)
        for chunk in render_domain(*drawing, request.num_threads):
            rows = range(first, first := first + len(chunk.images))
            yield LabelledImages(
                self._ids(request, rows),
                chunk.images,
                chunk.keypoints_px,
                chunk.visible,
                notes=notes,
            )

    def num_cores(self, request: ImageRequest) -> int:
        """Those of the processes that draw."""
        from trainables.data.render.draw_chunks import num_drawers
        from trainables.data.render.scene import CHUNK

        return num_drawers(-(-request.num // CHUNK), request.num_threads)

    def digest(self, request: ImageRequest) -> str:
        """16 hex digits that change with the meshes and with the user's photographs or poses."""
        from trainables.data.render.material import material_digest

        backgrounds, poses = _material(request)
        files = sorted(Path(__file__).parent.glob("*_mesh.npz"))
        return material_digest(backgrounds or (), files if poses is None else [*files, poses])

    def check(self, request: ImageRequest) -> dict[str, int]:
        """Number of images of each split.

        It counts the few that will show too few joints for a bin: that is known when they are
        drawn.

        Raises:
            OSError, ValueError: If the user's photographs or poses cannot be read.
        """
        backgrounds, poses = _material(request)
        if backgrounds is not None or poses is not None:
            from trainables.data.render.material import check_photographs, read_poses

            if backgrounds is not None:
                check_photographs(backgrounds)
            if poses is not None:
                read_poses(poses)
        ids = self._ids(request, range(request.num))
        return {name: len(rows) for name, rows in split(ids, request.role).items()}

    def _ids(self, request: ImageRequest, rows: range) -> tuple[str, ...]:
        return tuple(f"{self.name}/{request.seed}/{row:06d}" for row in rows)


def _material(request: ImageRequest) -> tuple[list[Path] | None, Path | None]:
    """The photographs for backgrounds and the user's file of poses."""
    options = request.options
    if not isinstance(options, SportOptions):
        return None, None
    poses = None if options.poses is None else Path(options.poses).expanduser()
    found: list[Path] = []
    if options.backgrounds is not None:
        from trainables.data.render.material import photographs

        found += photographs(Path(options.backgrounds).expanduser())
    if options.target_backgrounds:
        if request.target is None:
            raise ValueError(f"{_FIELD} must be false where people_sport itself is the target")
        found += _target_photographs(*request.target)
    return found or None, poses


def _target_photographs(name: str, request: ImageRequest) -> list[Path]:
    """Unlabelled training photographs of the target data set."""
    if request.root is not None and (request.root / "store.json").is_file():
        raise ValueError(
            f"{_FIELD} must be false with a prepared store ({request.root}), which has no whole "
            "photographs; name a folder of them in data.people_sport.backgrounds"
        )
    try:
        domain: Domain = DOMAINS[name].load()
        return domain.training_photographs(request)
    except ValueError as error:
        raise ValueError(f"{_FIELD} must be false for data.target {name}: {error}") from error


def _notes(request: ImageRequest) -> tuple[str, ...]:
    if request.target is None:
        return ()
    return (f"backgrounds are edges of unlabelled training photographs of {request.target[0]}",)


PEOPLE_CLEAN, PEOPLE_WILD = RenderedDomain("people_clean"), RenderedDomain("people_wild")
PEOPLE_WILD_HARD = RenderedDomain("people_wild_hard")
PEOPLE_SPORT = RenderedDomain("people_sport")
HANDS_CLEAN, HANDS_WILD = RenderedDomain("hands_clean"), RenderedDomain("hands_wild")
