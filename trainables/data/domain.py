"""What a data set must be able to do to serve as a source or target domain."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainables.config import TrialConfig
from trainables.data.archive import archive_root


@dataclass(frozen=True)
class ImageRequest:
    """Which images of a domain a trial wants.

    Attributes:
        role: ``source`` or ``target``.
        num: Number of images; a smaller data set gives all it has.
        image_size: Side S of the square images in pixels.
        root: Folder or archive of the data set, see :mod:`trainables.data.archive`; None for
            domains without one.
        options: Instance of the options class of the domain; None if it has none.
        crop: ``image`` for the whole image or ``person`` for a square around the figure.
        crop_scale: Side of that square over the longer side of the figure's box.
        num_threads: Threads that may read or decode, or processes that may draw.
        seed: Seed of drawn images.
        target: Name and request of the target data set, for a source that shows its unlabelled
            training images; None for others.
    """

    role: str
    num: int
    image_size: int
    root: Path | None = None
    options: Any = None
    crop: str = "image"
    crop_scale: float = 1.5
    num_threads: int = 1
    seed: int = 0
    target: "tuple[str, ImageRequest] | None" = None

    @property
    def folder(self) -> Path:
        """The folder of the data set, in which the members of archives can be read like files.

        Raises:
            ValueError: If it is not given, with the name of the field, or an archive is damaged.
        """
        if self.root is None:
            raise ValueError(f"data.{self.role}_root must name the folder of the data set")
        return archive_root(self.root)

    @property
    def reading(self) -> dict[str, Any]:
        """The options by name, but for ``skeleton``: what it names is compared, not its name."""
        named = {} if self.options is None else asdict(self.options)
        return {name: value for name, value in named.items() if name != "skeleton"}


def image_request(trial: TrialConfig, role: str, num_threads: int) -> ImageRequest:
    """Which images a trial wants of its ``source`` or ``target`` domain."""
    domain, root, num = trial.data.of(role)
    options = trial.registered.get(f"data.{domain}")
    target = None
    if role == "source" and getattr(options, "target_backgrounds", False):
        target = trial.data.target, image_request(trial, "target", num_threads)
    return ImageRequest(
        role=role,
        num=num,
        image_size=trial.data.image_size,
        root=None if root is None else Path(root),
        options=options,
        crop=getattr(trial.data, f"{role}_crop"),
        crop_scale=trial.data.crop_scale,
        num_threads=num_threads,
        target=target,
    )


@dataclass(frozen=True)
class LabelledImages:
    """Consecutive images of a domain with their labels.

    Attributes:
        ids: B different sample ids; they decide which split a sample belongs to, and ids that
            agree up to a ``#`` (people of one image, frames of one video) belong to the same.
        images: (B, S, S, 3) uint8, RGB.
        keypoints_px: (B, K, 2) float32, finite, in pixels of ``images``; integers are pixel
            centres. Meaningless where not visible.
        visible: (B, K) bool; False where a joint is unlabelled, hidden or outside the image.
        skipped: Name of each image that cannot be used to the reason; they come between these.
        notes: What readers of results should know of the data set, in sentences.
        published: The publisher's split of each sample, ``train``, ``val`` or ``test``, if it
            decides ours, see :func:`trainables.data.splits.membership`; None if ids alone do.
    """

    ids: tuple[str, ...]
    images: NDArray[np.uint8]
    keypoints_px: NDArray[np.float32]
    visible: NDArray[np.bool_]
    skipped: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    published: tuple[str, ...] | None = None

    @property
    def num_seen(self) -> int:
        """Samples that these are or that were skipped among them."""
        return len(self.ids) + len(self.skipped)


class Domain(ABC):
    """A data set or a renderer."""

    @abstractmethod
    def images(self, request: ImageRequest) -> Iterator[LabelledImages]:
        """Yield the images in a fixed order, as many at once as fit into memory.

        Raises:
            OSError, ValueError: If the data set is missing or damaged.
        """

    def images_from(self, request: ImageRequest, first: int) -> Iterator[LabelledImages]:
        """Yield what :meth:`images` yields after the chunk that ends with sample ``first - 1``.

        A writer that was killed continues so; this version makes the others and drops them.
        """
        seen = 0
        for chunk in self.images(request):
            if seen >= first:
                yield chunk
            seen += chunk.num_seen

    def num_cores(self, request: ImageRequest) -> int:
        """Cores that are busy while the images are made, of ``request.num_threads``."""
        return 1

    def digest(self, request: ImageRequest) -> str | None:
        """Text that changes when the files of the data set do; None if there are none.

        Images are read again when it changes.
        """
        return None

    def training_photographs(self, request: ImageRequest) -> list[Path]:
        """The image files of the training split of a target, sorted; reads no labels.

        Raises:
            OSError, ValueError: If there are none, as here, or they cannot be found.
        """
        raise ValueError("it has no photographs")

    def check(self, request: ImageRequest) -> dict[str, int]:
        """Look, before a study starts and within seconds, whether the images can be read.

        Returns:
            Name of each split to the number of its poses that can be put into a bin; empty, as
            here, if that is known only when the images are made.

        Raises:
            trainables.data.problems.DatasetError: With everything that is wrong.
            OSError, ValueError: With the first thing that is wrong.
        """
        return {}
